//! `dataset pack`.

use super::{Places, in_full};
use crate::args::{Pack, SplitSource};
use crate::exit::Failure;
use coffer_client::Error;
use coffer_client::dataset::pack::files::Plan;
use coffer_client::dataset::pack::{Existing, PackError, Packing, ShardLimit};
use coffer_client::dataset::{Index, SplitName};
use coffer_client::place::Address;
use coffer_client::transfer::{LocalFile, Progress, walk};
use indicatif::HumanBytes;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(super) async fn run(session: &Places<'_>, args: Pack) -> Result<(), Failure> {
    let output = session.output;
    let (sources, address) = args.sources_and_place().map_err(Failure::Usage)?;
    // Refused before long work on the files.
    let place =
        session.until_signal(async { Ok::<_, Error>(session.client.create(&address).await?) });
    let place = place.await.map_err(in_full)?;
    let existing = if args.replace { Existing::Replace } else { Existing::Refuse };
    let packing =
        Packing::begin(&place, existing, session.cancel.clone()).await.map_err(in_full)?;
    let plan = session.until_signal(plan(&args, sources)).await?;
    tell_passed_over(session, &plan);
    output.bar.found(0, plan.bytes());
    let name = args.name.clone().unwrap_or_else(|| last_name(&address));
    let limit = match args.shard_samples {
        Some(samples) => ShardLimit::Samples(samples),
        None => ShardLimit::Bytes(args.shard_size),
    };
    let progress = |split: &SplitName, shard: &coffer_client::dataset::pack::Packed| {
        output.bar.found(1, 0);
        output.bar.advance(shard.entry.bytes);
        output.bar.object_done();
        tracing::debug!("packed {} of split {split}", shard.entry.name);
        Ok(())
    };
    let packed = plan.pack(packing, &name, limit, args.parallel, progress).await;
    let index = packed.map_err(in_full)?;
    output.bar.finish();
    report(session, place.address(), &index)
}

fn report(session: &Places<'_>, place: &str, index: &Index) -> Result<(), Failure> {
    let shards = || index.splits.values().flatten();
    let (count, bytes) = (shards().count(), shards().map(|shard| shard.bytes).sum::<u64>());
    let samples: BTreeMap<&str, usize> =
        index.splits.keys().map(|split| (split.as_str(), index.samples(split))).collect();
    let told: Vec<_> =
        samples.iter().map(|(split, samples)| format!("{samples} {split}")).collect();
    let text = format!(
        "packed {} samples into {count} shards ({}) at {place}\nversion {}",
        told.join(" + "),
        HumanBytes(bytes),
        index.version
    );
    session.output.done(text, || {
        json!({
            "op": "pack",
            "dataset": place,
            "version": index.version.to_string(),
            "samples": samples,
            "shards": count,
            "bytes": bytes,
        })
    })
}

/// Finds the files, and makes samples of them.
async fn plan(args: &Pack, sources: Vec<SplitSource>) -> Result<Plan, Failure> {
    let mut files: BTreeMap<SplitName, Vec<LocalFile>> = BTreeMap::new();
    for SplitSource { split, path } in sources {
        files.entry(split).or_default().append(&mut found(&path).await?);
    }
    let as_failure = |error| in_full(PackError::Files(error));
    let mut plan = Plan::new(files).map_err(as_failure)?;
    if args.labels_from_folders {
        plan.label_by_folders().map_err(as_failure)?;
    }
    if let Some(seed) = args.shuffle_seed {
        plan.shuffle(seed);
    }
    Ok(plan)
}

/// The files of a folder, or the file itself.
async fn found(path: &Path) -> Result<Vec<LocalFile>, Failure> {
    let failed = |source| in_full(Error::File { action: "pack", path: path.to_owned(), source });
    let metadata = tokio::fs::metadata(path).await.map_err(failed)?;
    if !metadata.is_dir() {
        let name = path.file_name().and_then(|name| name.to_str());
        let not_text = || failed(std::io::Error::other("its name is not UTF-8, as keys must be"));
        let relative = name.ok_or_else(not_text)?.to_owned();
        return Ok(vec![LocalFile { path: path.to_owned(), relative, size: metadata.len() }]);
    }
    let (mut files, mut walk) = (Vec::new(), walk(path.to_owned()));
    while let Some(file) = walk.recv().await {
        files.push(file.map_err(in_full)?);
    }
    Ok(files)
}

fn tell_passed_over(session: &Places<'_>, plan: &Plan) {
    let passed_over: &[PathBuf] = plan.passed_over();
    if let Some(first) = passed_over.first() {
        session.output.remark(format_args!(
            "passing over {} files that are hidden or have no extension, such as {}",
            passed_over.len(),
            first.display()
        ));
    }
}

fn last_name(place: &Address) -> String {
    let address = place.to_string();
    address.rsplit('/').next().unwrap_or(&address).to_owned()
}
