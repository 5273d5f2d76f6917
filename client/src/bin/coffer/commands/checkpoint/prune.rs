//! `checkpoint prune`.

use super::super::table::table;
use super::{Places, short};
use crate::args::Prune;
use crate::exit::Failure;
use coffer_client::Error;
use coffer_client::checkpoint::retention::Reason;
use coffer_client::checkpoint::{CheckpointId, Checkpoints, Entry, Pruned, Root};
use indicatif::HumanBytes;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

pub(super) async fn run(session: &Places<'_>, args: &Prune) -> Result<(), Failure> {
    let checkpoints =
        Checkpoints::open(&session.client.open(&args.run).await.map_err(Error::from)?);
    let retention = args.retention();
    // The root may change until it is moved: what counts is the last one that was judged.
    let judged: Mutex<Option<Root>> = Mutex::new(None);
    let choice = |root: &Root| -> BTreeSet<CheckpointId> {
        *judged.lock().unwrap_or_else(PoisonError::into_inner) = Some(root.clone());
        retention.removes(root)
    };
    let pruned = if args.dry_run {
        checkpoints.would_prune(&choice, args.grace).await
    } else {
        checkpoints.prune(&choice, args.grace).await
    };
    let pruned = pruned.map_err(Error::from)?;
    let root = judged.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(root) = &root {
        report(session, args, &retention.judge(root))?;
    }
    summarize(session, args, &pruned)
}

fn report(
    session: &Places<'_>,
    args: &Prune,
    judged: &[(&Entry, Vec<Reason>)],
) -> Result<(), Failure> {
    if session.output.json {
        for (entry, reasons) in judged {
            let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
            session.output.done("", || {
                json!({
                    "checkpoint": entry.id,
                    "bytes": entry.bytes,
                    "keep": !reasons.is_empty(),
                    "reasons": reasons,
                    "dry_run": args.dry_run,
                })
            })?;
        }
        return Ok(());
    }
    let mut rows = vec![["CHECKPOINT", "EPOCH", "SIZE", "", "WHY"].map(str::to_owned)];
    for (entry, reasons) in judged {
        let fate = match (reasons.is_empty(), args.dry_run) {
            (true, true) => "would go",
            (true, false) => "gone",
            (false, _) => "stays",
        };
        let why: Vec<String> = reasons.iter().map(ToString::to_string).collect();
        let why = if why.is_empty() { "no rule keeps it".to_owned() } else { why.join(", ") };
        let size = HumanBytes(entry.bytes).to_string();
        rows.push([entry.id.to_string(), short(entry.position), size, fate.to_owned(), why]);
    }
    session.output.done(table(&rows), || json!(null))
}

fn summarize(session: &Places<'_>, args: &Prune, pruned: &Pruned) -> Result<(), Failure> {
    let (removed, objects, bytes) = (pruned.removed.len(), pruned.objects, pruned.bytes);
    let word = if args.dry_run { "would free" } else { "freed" };
    let noun = if objects == 1 { "object" } else { "objects" };
    let text = format!("{word} {} in {objects} {noun}", HumanBytes(bytes));
    session.output.done(text, || {
        json!({
            "removed": removed,
            "freed_objects": objects,
            "freed_bytes": bytes,
            "dry_run": args.dry_run,
        })
    })
}
