//! `coffer-train pack`.

use std::path::PathBuf;

use anyhow::Context;
use coffer_client::place::{Address, Place};
use coffer_train::dataset::Split;
use coffer_train::dataset::index::Index;
use coffer_train::dataset::pack::pack;
use coffer_train::dataset::source::Source;
use serde::Serialize;

use super::Session;
use super::args::{Pack, SourceArgs};

#[derive(Serialize)]
struct Packed<'a> {
    dataset: String,
    source: &'a str,
    version: String,
    train: usize,
    test: usize,
    shards: usize,
    bytes: u64,
}

pub(super) fn run(session: &Session, args: &Pack) -> anyhow::Result<()> {
    let place = create(session, &args.to)?;
    pack_into(session, &place, &args.source).map(drop)
}

/// Opens a place for writing.
pub(super) fn create(session: &Session, address: &Address) -> anyhow::Result<Place> {
    Ok(session.runtime.block_on(session.opener.create(address))?)
}

/// Packs the chosen source into `place` and reports it.
pub(super) fn pack_into(
    session: &Session,
    place: &Place,
    args: &SourceArgs,
) -> anyhow::Result<Index> {
    let source = choose(session, args);
    let what = format!("packing {}", source.name());
    let mut progress = session.output.progress(&what, 0, true);
    let done = pack(&source, place, args.shard_samples, |split: Split, samples| {
        progress.at(samples, format!("{split} samples"));
    });
    let index = session.runtime.block_on(done).context("can't pack the dataset")?;
    drop(progress);
    let shards = || index.splits.values().flatten();
    let packed = Packed {
        dataset: place.address().to_owned(),
        source: &index.source,
        version: index.version.to_string(),
        train: index.samples(Split::Train),
        test: index.samples(Split::Test),
        shards: shards().count(),
        bytes: shards().map(|shard| shard.bytes).sum(),
    };
    let text = format!(
        "packed {} + {} samples of {} into {} shards ({} bytes) at {}",
        packed.train, packed.test, packed.source, packed.shards, packed.bytes, packed.dataset
    );
    session.output.result(&text, &packed);
    Ok(index)
}

fn choose(session: &Session, args: &SourceArgs) -> Source {
    if args.synthetic {
        return Source::SYNTHETIC;
    }
    if let Some(directory) = &args.mnist_dir {
        return Source::Mnist(directory.clone());
    }
    let candidates = std::env::var_os("MNIST_DIR")
        .map(PathBuf::from)
        .into_iter()
        .chain(["../shared/mnist", "data/mnist"].map(PathBuf::from));
    match Source::find(candidates) {
        Some(source) => {
            if let Source::Mnist(directory) = &source {
                session.output.note(&format!("reading MNIST from {}", directory.display()));
            }
            source
        }
        None => {
            session.output.warn(
                "MNIST isn't in $MNIST_DIR, ../shared/mnist or data/mnist: drawing digits \
                 instead. Losses on them can't be compared with those on MNIST; name the \
                 directory with its four files by --mnist-dir",
            );
            Source::SYNTHETIC
        }
    }
}
