//! Reads a dataset through, and tells which of its shards are as they should be.

use std::num::NonZeroUsize;

use futures::{Stream, StreamExt, stream};
use tokio::task::spawn_blocking;

use super::error::DatasetError;
use super::fetch::Dataset;
use super::index::ShardEntry;
use super::name::SplitName;
use super::shard::samples;

/// A shard that was checked.
#[derive(Debug)]
pub struct Checked {
    /// Its split.
    pub split: SplitName,
    /// The shard as the index describes it.
    pub entry: ShardEntry,
    /// What is wrong with it, if anything: [`DatasetError::Corrupt`] or [`DatasetError::Missing`].
    pub problem: Option<DatasetError>,
}

/// Checks all shards of `splits`, `parallel` at a time, each of which is in memory then: size, hash,
/// tar, number of samples. They come in the order of the index.
///
/// The stream's errors are of stores that can't be reached: nothing is known of the shard then.
pub fn verify(
    dataset: &Dataset,
    splits: Vec<SplitName>,
    parallel: NonZeroUsize,
) -> impl Stream<Item = Result<Checked, DatasetError>> {
    let dataset = dataset.clone();
    let entries: Vec<(SplitName, ShardEntry)> = splits
        .into_iter()
        .flat_map(|split| {
            let of_split = |entry: &ShardEntry| (split.clone(), entry.clone());
            dataset.shards(&split).iter().map(of_split).collect::<Vec<_>>()
        })
        .collect();
    stream::iter(entries)
        .map(move |(split, entry)| {
            let dataset = dataset.clone();
            async move {
                match check(&dataset, &entry).await {
                    Ok(()) => Ok(Checked { split, entry, problem: None }),
                    Err(error) if error.is_of_one_shard() => {
                        Ok(Checked { split, entry, problem: Some(error) })
                    }
                    Err(error) => Err(error),
                }
            }
        })
        .buffered(parallel.get())
}

async fn check(dataset: &Dataset, entry: &ShardEntry) -> Result<(), DatasetError> {
    let content = dataset.fetch(entry).await?;
    let wanted = entry.samples;
    let read = spawn_blocking(move || samples(&content, wanted).map(drop)).await;
    read.map_err(|_| DatasetError::Stopped)?.map_err(|damage| DatasetError::Corrupt {
        object: dataset.address_of(entry),
        damage: damage.into(),
    })
}
