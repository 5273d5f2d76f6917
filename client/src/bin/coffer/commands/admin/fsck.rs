//! `admin fsck`.

use super::table;
use crate::exit::Failure;
use crate::session::Session;
use coffer_client::Error;
use coffer_client::admin::{AilingPart, FsckOptions, FsckRecord, FsckSummary, Risk};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;

/// The most objects in the table for people. Programs read them all.
const MOST_ROWS: usize = 1000;

pub(crate) async fn run(
    session: &Session<'_>,
    bucket: Option<String>,
    repair: bool,
) -> Result<(), Failure> {
    let output = session.output;
    let place = session.client.profile().endpoint.to_string();
    let options = FsckOptions { bucket, repair };
    let mut check = session.client.fsck(&options).await.map_err(Failure::at(&place))?;
    let (mut ailing, mut summary) = (Ailing::default(), None);
    while let Some(record) = check.next().await.map_err(Failure::at(&place))? {
        if output.json && !matches!(record, FsckRecord::Progress(_)) {
            let json = to_json(&record)?;
            output.result("", || json)?;
        }
        match record {
            FsckRecord::Progress(at) => output.bar.share(
                at.done,
                format!("{} parts, {} shards, {} not whole", at.parts, at.shards, ailing.parts),
            ),
            FsckRecord::Node(node) => {
                output.remark(format_args!("node {} can't be asked: {}", node.name, node.why));
            }
            FsckRecord::Part(part) => ailing.add(&part),
            FsckRecord::Orphan(orphan) => output.remark(format_args!(
                "blob {} belongs to no object: {} shards",
                orphan.blob, orphan.shards
            )),
            FsckRecord::Summary(told) => summary = Some(told),
            FsckRecord::Failed { why } => return Err(Failure::Incomplete { why }),
        }
    }
    // The check does not end without one.
    let Some(summary) = summary else { return Ok(()) };
    output.bar.finish();
    if !output.json {
        if let Some(rows) = ailing.table() {
            output.result(rows, || json!(null))?;
        }
        output.result(describe(&summary), || json!(null))?;
    }
    match summary.worst() {
        Risk::Whole => Ok(()),
        Risk::Degraded | Risk::AtRisk => Err(Failure::Ailing { readable: true }),
        Risk::Unavailable | Risk::Lost => Err(Failure::Ailing { readable: false }),
    }
}

fn to_json(value: &impl Serialize) -> Result<serde_json::Value, Failure> {
    Ok(serde_json::to_value(value).map_err(|e| Error::Request(e.to_string()))?)
}

/// Objects that are not whole, each with its worst part.
#[derive(Default)]
struct Ailing {
    parts: u64,
    objects: BTreeMap<(String, String), AilingPart>,
    not_shown: u64,
}

impl Ailing {
    fn add(&mut self, part: &AilingPart) {
        self.parts += 1;
        let version = match (&part.version, &part.upload) {
            (Some(version), _) => version.clone(),
            (None, Some((upload, number))) => format!("upload {upload}, part {number}"),
            (None, None) => "-".to_owned(),
        };
        let name = (format!("s3://{}/{}", part.bucket, part.key), version);
        if self.objects.len() >= MOST_ROWS && !self.objects.contains_key(&name) {
            self.not_shown += 1;
            return;
        }
        let known = self.objects.entry(name).or_insert_with(|| part.clone());
        let order = |p: &AilingPart| (p.risk, std::cmp::Reverse(p.worst.sound));
        if order(part) > order(known) {
            *known = part.clone();
        }
    }

    fn table(&self) -> Option<String> {
        if self.objects.is_empty() {
            return None;
        }
        let head = ["RISK", "LEFT", "NEEDED", "OF", "NOT SOUND", "OBJECT", "VERSION"];
        let mut rows = vec![head.map(str::to_owned)];
        for ((object, version), part) in &self.objects {
            let worst = &part.worst;
            let kinds = [
                (worst.missing, "missing"),
                (worst.damaged, "damaged"),
                (worst.owed, "owed"),
                (worst.unreachable, "unreachable"),
            ];
            let kinds = kinds.iter().filter(|(count, _)| *count > 0);
            let kinds: Vec<String> = kinds.map(|(count, kind)| format!("{count} {kind}")).collect();
            rows.push([
                part.risk.to_string(),
                worst.sound.to_string(),
                worst.needed.to_string(),
                worst.shards.to_string(),
                kinds.join(", "),
                object.clone(),
                version.clone(),
            ]);
        }
        let mut text = table(&rows);
        if self.not_shown > 0 {
            text += &format!("\n... and {} parts more; --json shows all", self.not_shown);
        }
        Some(text)
    }
}

/// A few lines for people.
fn describe(summary: &FsckSummary) -> String {
    let parts = |risk| summary.parts.get(&risk).copied().unwrap_or(0);
    let counts = |of: &BTreeMap<String, u64>| {
        let some = of.iter().filter(|(_, count)| **count > 0);
        let some: Vec<String> = some.map(|(kind, count)| format!("{count} {kind}")).collect();
        if some.is_empty() { "none".to_owned() } else { some.join(", ") }
    };
    let mut lines = vec![
        format!(
            "parts: {} whole, {} degraded, {} at risk, {} unavailable, {} lost",
            parts(Risk::Whole),
            parts(Risk::Degraded),
            parts(Risk::AtRisk),
            parts(Risk::Unavailable),
            parts(Risk::Lost)
        ),
        format!("shards: {} listed; not sound: {}", summary.shards, counts(&summary.ailing)),
    ];
    if let Some(leftovers) = &summary.leftovers {
        lines.push(format!("shards that no object needs: {}", counts(leftovers)));
        lines.push(format!("blobs that belong to no object: {}", summary.orphans));
    }
    if summary.orphans_not_listed > 0 {
        lines.push(format!("and shards of more such blobs: {}", summary.orphans_not_listed));
    }
    lines.push(format!("findings of scrubs that wait: {}", summary.findings));
    if summary.silent_nodes > 0 {
        lines.push(format!("nodes that could not be asked: {}", summary.silent_nodes));
    }
    if summary.queued + summary.not_queued > 0 {
        lines.push(format!(
            "shards that repair was told of: {} ({} more did not fit)",
            summary.queued, summary.not_queued
        ));
    }
    lines.join("\n")
}
