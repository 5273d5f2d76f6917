//! `checkpoint ls`.

use super::super::table::table;
use super::super::timestamp;
use super::{Places, Run, marks, open, short};
use crate::exit::Failure;
use coffer_client::Error;
use coffer_client::checkpoint::{Checkpoints, Entry, Manifest, Root, compare};
use coffer_client::place::Address;
use futures::stream::{self, StreamExt};
use indicatif::HumanBytes;
use serde_json::json;

/// Manifests that are read at the same time.
const AT_ONCE: usize = 8;

pub(super) async fn run(session: &Places<'_>, run: &Address) -> Result<(), Failure> {
    let Run { checkpoints, root, .. } = open(session, run).await?;
    let manifests = manifests(session, &checkpoints, &root).await?;
    let before = std::iter::once(None).chain(manifests.iter().map(Option::as_ref));
    let rows: Vec<Row<'_>> = root
        .checkpoints()
        .iter()
        .zip(manifests.iter().zip(before))
        .map(|(entry, (manifest, before))| Row {
            entry,
            marks: marks(&root, entry),
            new: manifest.as_ref().map(|manifest| compare::new_bytes(manifest, before)),
        })
        .collect();
    if session.output.json {
        for row in &rows {
            session.output.result("", || row.json())?;
        }
        return Ok(());
    }
    let head = ["CHECKPOINT", "EPOCH", "CREATED", "SIZE", "NEW", "MARKS", "METRICS"];
    let lines = rows.iter().map(Row::cells);
    let lines: Vec<_> = std::iter::once(head.map(str::to_owned)).chain(lines).collect();
    session.output.result(table(&lines), || json!(null))
}

/// The manifests of all checkpoints; none where it is damaged, which is told.
async fn manifests(
    session: &Places<'_>,
    checkpoints: &Checkpoints,
    root: &Root,
) -> Result<Vec<Option<Manifest>>, Failure> {
    let read = root.checkpoints().iter().map(|entry| checkpoints.manifest(entry));
    let mut read = stream::iter(read).buffered(AT_ONCE);
    let mut manifests = Vec::new();
    while let Some(manifest) = read.next().await {
        manifests.push(match manifest {
            Err(error) if error.is_corruption() => {
                session.output.error("", &Error::from(error));
                None
            }
            other => Some(other.map_err(Error::from)?),
        });
    }
    Ok(manifests)
}

struct Row<'a> {
    entry: &'a Entry,
    marks: Vec<&'static str>,
    /// Bytes that the one before doesn't have.
    new: Option<u64>,
}

impl Row<'_> {
    fn cells(&self) -> [String; 7] {
        let entry = self.entry;
        let metrics = entry.metrics.iter().map(|(name, value)| format!("{name} {}", figure(value)));
        [
            entry.id.to_string(),
            short(entry.position),
            timestamp(Some(entry.created.time())),
            HumanBytes(entry.bytes).to_string(),
            self.new.map_or_else(|| "?".to_owned(), |bytes| HumanBytes(bytes).to_string()),
            self.marks.join(", "),
            metrics.collect::<Vec<_>>().join(", "),
        ]
    }

    fn json(&self) -> serde_json::Value {
        let entry = self.entry;
        json!({
            "checkpoint": entry.id,
            "save": entry.save,
            "manifest": entry.manifest,
            "epoch": entry.position.epoch,
            "sample": entry.position.sample,
            "created": entry.created,
            "bytes": entry.bytes,
            "new_bytes": self.new,
            "metrics": entry.metrics,
            "latest": self.marks.contains(&"latest"),
            "best": self.marks.contains(&"best"),
            "pinned": entry.pinned,
        })
    }
}

/// A figure to six digits, more or less.
pub(super) fn figure(value: f64) -> String {
    let rounded = format!("{value:.5}");
    let fits = value == 0.0 || (1e-3..1e9).contains(&value.abs());
    if fits { trimmed(&rounded).to_owned() } else { format!("{value:.5e}") }
}

/// Without zeros that say nothing.
fn trimmed(decimal: &str) -> &str {
    decimal.trim_end_matches('0').trim_end_matches('.')
}
