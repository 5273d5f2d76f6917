//! `dataset verify`.

use super::{Places, chosen, open};
use crate::args::Verify;
use crate::exit::Failure;
use coffer_client::dataset::{Checked, DatasetError, verify};
use coffer_client::transfer::Progress;
use futures::TryStreamExt;
use indicatif::HumanBytes;
use serde_json::json;
use std::pin::pin;

pub(super) async fn run(session: &Places<'_>, args: &Verify) -> Result<(), Failure> {
    let output = session.output;
    let dataset = open(session, &args.place).await?;
    let splits = chosen(&dataset, &args.splits)?;
    let shards = || splits.iter().flat_map(|split| dataset.shards(split));
    let count = shards().count() as u64;
    output.bar.found(count, shards().map(|shard| shard.bytes).sum());
    let (mut samples, mut bytes, mut bad) = (0, 0, 0_u64);
    let mut checked = pin!(verify(&dataset, splits.clone(), args.parallel));
    while let Some(Checked { split, entry, problem }) = checked.try_next().await? {
        output.bar.advance(entry.bytes);
        output.bar.object_done();
        samples += entry.samples;
        bytes += entry.bytes;
        bad += u64::from(problem.is_some());
        let state = match &problem {
            None => "sound",
            Some(DatasetError::Missing { .. }) => "missing",
            Some(_) => "damaged",
        };
        let json = || {
            json!({
                "split": split.as_str(),
                "shard": entry.name.as_str(),
                "samples": entry.samples,
                "bytes": entry.bytes,
                "state": state,
                "problem": problem.as_ref().map(ToString::to_string),
            })
        };
        match &problem {
            Some(problem) => output.result(problem, json)?,
            // People want to know of those that are not; programs get a line for each.
            None if output.json => output.done("", json)?,
            None => {}
        }
    }
    output.bar.finish();
    let sound = if bad == 0 { "all sound".to_owned() } else { format!("{bad} NOT sound") };
    let text = format!(
        "{}: {count} shards, {samples} samples, {}: {sound}",
        args.place,
        HumanBytes(bytes)
    );
    output.result(text, || {
        json!({
            "dataset": args.place.to_string(),
            "version": dataset.index().version.to_string(),
            "shards": count,
            "samples": samples,
            "bytes": bytes,
            "not_sound": bad,
        })
    })?;
    if bad == 0 { Ok(()) } else { Err(Failure::Damaged) }
}
