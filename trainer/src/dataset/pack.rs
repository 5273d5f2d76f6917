//! Packs a source into shards and uploads them, one shard in memory at a time.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use bytes::Bytes;
use coffer_client::Digest;
use coffer_client::place::{Place, PlaceError};

use super::Split;
use super::index::{INDEX, Index, IndexError, ShardEntry};
use super::shard::{ShardError, ShardWriter};
use super::source::{Source, SourceError};

/// Why a dataset can't be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The source is damaged or missing.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A sample can't be put into a shard.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// The store refused an object.
    #[error(transparent)]
    Store(#[from] PlaceError),
    /// The index has no JSON form.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A split of the source holds no sample.
    #[error("the source has no {0} samples")]
    Empty(Split),
}

/// Packs both splits of `source` into shards of `per_shard` samples under `to`, then writes the
/// index: a dataset without an index isn't complete. `progress` is called after each shard with
/// the split and the samples packed so far.
///
/// The same source and `per_shard` give the same bytes, and so the same dataset version.
///
/// # Errors
/// If the source can't be read or the store refuses a shard.
pub async fn pack(
    source: &Source,
    to: &Place,
    per_shard: NonZeroUsize,
    mut progress: impl FnMut(Split, usize),
) -> Result<Index, PackError> {
    let mut splits = BTreeMap::new();
    for split in Split::ALL {
        let mut shards: Vec<ShardEntry> = Vec::new();
        let mut samples = source.samples(split)?.peekable();
        let mut packed = 0;
        while samples.peek().is_some() {
            let mut writer = ShardWriter::default();
            for sample in samples.by_ref().take(per_shard.get()) {
                writer.push(&format!("{packed:08}"), &sample?)?;
                packed += 1;
            }
            let name = format!("{split}-{:06}.tar", shards.len());
            shards.push(upload(to, name, writer).await?);
            progress(split, packed);
        }
        if shards.is_empty() {
            return Err(PackError::Empty(split));
        }
        splits.insert(split, shards);
    }
    let index = Index::new(source.name(), splits);
    to.write(INDEX, Bytes::from(index.to_json()?)).await?;
    Ok(index)
}

async fn upload(to: &Place, name: String, writer: ShardWriter) -> Result<ShardEntry, PackError> {
    let samples = writer.samples();
    let content = Bytes::from(writer.finish()?);
    let blake3 = Digest::of(&content);
    let bytes = u64::try_from(content.len()).unwrap_or(u64::MAX);
    to.write(&name, content).await?;
    Ok(ShardEntry { name, samples, bytes, blake3 })
}
