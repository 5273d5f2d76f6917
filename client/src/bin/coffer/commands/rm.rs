//! `rm`, and deleting all there is below an address.

use super::tally::Tally;
use crate::args::Rm;
use crate::exit::Failure;
use crate::session::Session;
use coffer_client::transfer::Filter;
use coffer_client::{Error, S3Url};
use futures::TryStreamExt;
use serde_json::json;
use std::pin::pin;

/// How many keys one request names.
const BATCH: usize = 1000;

pub(crate) async fn run(session: &Session<'_>, args: &Rm) -> Result<(), Failure> {
    let (address, selection) = (&args.address, &args.selection);
    let mut tally = Tally::default();
    if args.recursive {
        let filter = Filter::new(&selection.include, &selection.exclude)
            .map_err(|error| Failure::Usage(error.to_string()))?;
        delete_all(session, address, &filter, selection.dry_run, &mut tally).await?;
    } else if address.is_prefix() {
        let usage = format!("{address} names no object; to delete all below it, add --recursive");
        return Err(Failure::Usage(usage));
    } else {
        if !selection.dry_run {
            session.client.delete(address).await.map_err(Failure::at(address))?;
        }
        report(session, address, selection.dry_run)?;
    }
    tally.result()
}

/// Deletes what `filter` takes of the objects below `address`, taken as a folder.
pub(crate) async fn delete_all(
    session: &Session<'_>,
    address: &S3Url,
    filter: &Filter,
    dry_run: bool,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let root = S3Url::new(address.bucket(), &address.folder()).map_err(Error::from)?;
    let mut objects = pin!(session.client.list_objects(&root));
    let mut batch = Vec::new();
    loop {
        let object = objects.try_next().await.map_err(Failure::at(address))?;
        let last = object.is_none();
        if let Some(object) = object {
            let relative = object.key.strip_prefix(root.key()).unwrap_or(&object.key);
            if filter.takes(relative) {
                batch.push(object.key);
            }
        }
        if batch.len() == BATCH || (last && !batch.is_empty()) {
            delete_batch(session, address.bucket(), &std::mem::take(&mut batch), dry_run, tally)
                .await?;
        }
        if last || tally.lost() {
            return Ok(());
        }
    }
}

async fn delete_batch(
    session: &Session<'_>,
    bucket: &str,
    keys: &[String],
    dry_run: bool,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let failures = if dry_run {
        Vec::new()
    } else {
        let at = Failure::at(format!("s3://{bucket}"));
        session.client.delete_many(bucket, keys).await.map_err(at)?
    };
    let failed: std::collections::HashSet<String> =
        failures.iter().map(|failure| failure.key.clone()).collect();
    for failure in failures {
        let target = format!("s3://{bucket}/{}", failure.key);
        tally.failed(session.output, &target, &failure.error);
    }
    for key in keys.iter().filter(|key| !failed.contains(*key)) {
        tally.done();
        report(session, format_args!("s3://{bucket}/{key}"), dry_run)?;
    }
    Ok(())
}

fn report(
    session: &Session<'_>,
    target: impl std::fmt::Display,
    dry_run: bool,
) -> Result<(), Failure> {
    let word = if dry_run { "would delete" } else { "deleted" };
    let json = || json!({"op": "delete", "target": target.to_string(), "dry_run": dry_run});
    session.output.done(format_args!("{word}: {target}"), json)
}
