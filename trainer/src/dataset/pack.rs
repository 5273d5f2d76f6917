//! Packs a source of digits into shards.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use coffer_client::dataset::Index;
use coffer_client::dataset::pack::{Existing, PackError, Packing};
use coffer_client::dataset::shard::{ShardError, ShardWriter};
use coffer_client::place::Place;
use tokio_util::sync::CancellationToken;

use super::Split;
use super::digit::{encode, meta};
use super::picture::PictureError;
use super::source::{SampleIter, Source, SourceError};

/// Why digits can't be packed.
#[derive(Debug, thiserror::Error)]
pub enum DigitPackError {
    /// The source is damaged or missing.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A picture can't be encoded.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// A sample can't be put into a shard.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// The dataset can't be written.
    #[error(transparent)]
    Pack(#[from] PackError),
}

/// Packs both splits of `source` into shards of `per_shard` samples at `to`, one after the other,
/// then writes the index: a dataset without an index isn't there. `progress` is called after each
/// shard with the split and the samples packed so far.
///
/// The same source and `per_shard` give the same shards, and so the same dataset version.
///
/// # Errors
/// If the source can't be read, the store refuses a shard, or there is a dataset that isn't to be
/// replaced.
pub async fn pack(
    source: &Source,
    to: &Place,
    per_shard: NonZeroUsize,
    existing: Existing,
    mut progress: impl FnMut(Split, usize),
) -> Result<Index, DigitPackError> {
    let packing = Packing::begin(to, existing, CancellationToken::new()).await?;
    let mut splits = BTreeMap::new();
    for split in Split::ALL {
        let samples = Arc::new(Mutex::new(source.samples(split)?.enumerate().peekable()));
        let mut shards = Vec::new();
        let mut packed = 0;
        while lock(&samples).peek().is_some() {
            let samples = Arc::clone(&samples);
            let fill = move |shard: &mut ShardWriter<_>| {
                for (at, sample) in lock(&samples).by_ref().take(per_shard.get()) {
                    shard.push(&encode(format!("{at:08}"), &sample?)?)?;
                }
                Ok::<(), DigitPackError>(())
            };
            let shard = packing.shard(&split.name(), shards.len(), fill).await?;
            packed += shard.entry.samples;
            shards.push(shard);
            progress(split, packed);
        }
        splits.insert(split.name(), shards);
    }
    Ok(packing.publish(source.name(), meta(), splits).await?)
}

type Numbered = std::iter::Peekable<std::iter::Enumerate<SampleIter>>;

fn lock(samples: &Mutex<Numbered>) -> std::sync::MutexGuard<'_, Numbered> {
    samples.lock().unwrap_or_else(PoisonError::into_inner)
}
