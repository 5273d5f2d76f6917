//! `checkpoint verify`.

use super::{Places, Run, listed, open};
use crate::exit::Failure;
use coffer_client::checkpoint::{CheckpointAddress, Checkpoints, Entry};
use coffer_client::transfer::Progress;
use coffer_client::{Error, ErrorKind};
use indicatif::HumanBytes;
use serde_json::json;

pub(super) async fn run(
    session: &Places<'_>,
    wanted: &CheckpointAddress,
    all: bool,
) -> Result<(), Failure> {
    let Run { checkpoints, root, sound } = open(session, &wanted.run).await?;
    let entries = if all {
        root.checkpoints().to_vec()
    } else {
        vec![listed(&checkpoints, &root, wanted.checkpoint)?]
    };
    let bar = &session.output.bar;
    for entry in &entries {
        bar.found(1, entry.bytes);
    }
    let mut damaged = u64::from(!sound);
    for entry in &entries {
        damaged += u64::from(!is_whole(session, &checkpoints, wanted, entry).await?);
        bar.object_done();
    }
    bar.finish();
    match damaged {
        0 => Ok(()),
        failed => Err(Failure::Partly { failed, kind: Some(ErrorKind::Damaged) }),
    }
}

/// Reads all of a checkpoint, and tells what is wrong with it.
async fn is_whole(
    session: &Places<'_>,
    checkpoints: &Checkpoints,
    wanted: &CheckpointAddress,
    entry: &Entry,
) -> Result<bool, Failure> {
    let output = session.output;
    let mut progress = |bytes| output.bar.advance(bytes);
    let problems = checkpoints.verify(entry, &mut progress).await.map_err(Error::from)?;
    let address = CheckpointAddress { run: wanted.run.clone(), checkpoint: entry.id.into() };
    let count = problems.len();
    let mut told = Vec::new();
    for problem in problems {
        let error = Error::from(problem.error);
        output.error("", &error);
        told.push(json!({"part": problem.part, "problem": error.to_string()}));
    }
    let json = || {
        json!({
            "checkpoint": entry.id,
            "address": address.to_string(),
            "bytes": entry.bytes,
            "whole": count == 0,
            "problems": told,
        })
    };
    let text = match count {
        0 => format!("whole: {address} ({})", HumanBytes(entry.bytes)),
        1 => format!("damaged: {address} (1 problem)"),
        more => format!("damaged: {address} ({more} problems)"),
    };
    output.result(text, json)?;
    Ok(count == 0)
}
