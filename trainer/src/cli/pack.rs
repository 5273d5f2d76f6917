//! `coffer-train pack`.

use std::path::PathBuf;

use anyhow::Context;
use coffer_client::dataset::Index;
use coffer_client::dataset::pack::Existing;
use coffer_client::place::{Address, Place};
use coffer_train::dataset::Split;
use coffer_train::dataset::mnist;
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
    let existing = if args.replace { Existing::Replace } else { Existing::Refuse };
    pack_into(session, &place, &args.source, existing).map(drop)
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
    existing: Existing,
) -> anyhow::Result<Index> {
    let source = choose(session, args)?;
    let what = format!("packing {}", source.name());
    let mut progress = session.output.progress(&what, 0, true);
    let done = pack(&source, place, args.shard_samples, existing, |split: Split, samples| {
        progress.at(samples, format!("{split} samples"));
    });
    let index = session.runtime.block_on(done).context("can't pack the dataset")?;
    drop(progress);
    let shards = || index.splits.values().flatten();
    let packed = Packed {
        dataset: place.address().to_owned(),
        source: &index.source,
        version: index.version.to_string(),
        train: index.samples(&Split::Train.name()),
        test: index.samples(&Split::Test.name()),
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

fn choose(session: &Session, args: &SourceArgs) -> anyhow::Result<Source> {
    if args.synthetic {
        return Ok(Source::SYNTHETIC);
    }
    if args.download {
        return download(session, args);
    }
    if let Some(directory) = &args.mnist_dir {
        return Ok(Source::Mnist(directory.clone()));
    }
    let candidates = std::env::var_os("MNIST_DIR")
        .map(PathBuf::from)
        .into_iter()
        .chain(["../shared/mnist", "data/mnist"].map(PathBuf::from));
    Ok(match Source::find(candidates) {
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
                 directory with its four files by --mnist-dir, or get them by --download",
            );
            Source::SYNTHETIC
        }
    })
}

/// Has MNIST's files in the chosen directory.
fn download(session: &Session, args: &SourceArgs) -> anyhow::Result<Source> {
    let directory = args.mnist_dir.clone().unwrap_or_else(|| PathBuf::from("data/mnist"));
    let mirrors = match args.mnist_url.as_slice() {
        [] => mnist::MIRRORS.map(str::to_owned).to_vec(),
        named => named.to_vec(),
    };
    let files = mnist::files();
    let total = usize::try_from(files.iter().map(|file| file.bytes).sum::<u64>())?;
    let mut progress = session.output.progress("downloading MNIST (bytes)", total, true);
    let fetched = mnist::fetch(&files, &mirrors, &directory, |bytes| {
        progress.at(usize::try_from(bytes).unwrap_or(total), String::new());
    });
    let fetched = session.runtime.block_on(fetched)?;
    drop(progress);
    session
        .output
        .note(&format!("MNIST is in {} ({fetched} files downloaded)", directory.display()));
    Ok(Source::Mnist(directory))
}
