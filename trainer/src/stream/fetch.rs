//! Opens packed datasets, and fetches, verifies and decodes their shards.

use std::sync::Arc;

use coffer_client::Digest;
use coffer_client::place::Place;

use super::StreamError;
use crate::dataset::Split;
use crate::dataset::index::{INDEX, Index, ShardEntry};
use crate::dataset::shard::{self, Decoded};

/// Largest index that is read: room for a hundred thousand shards.
const INDEX_LIMIT: u64 = 32 << 20;

/// A packed dataset in a store.
#[derive(Debug, Clone)]
pub struct Dataset {
    place: Place,
    index: Arc<Index>,
}

impl Dataset {
    /// Opens the dataset at `place`.
    ///
    /// # Errors
    /// [`StreamError::NoDataset`] if there is no index; others if it can't be read or used.
    pub async fn open(place: &Place) -> Result<Self, StreamError> {
        let json = match place.read(INDEX, INDEX_LIMIT).await {
            Err(error) if error.is_not_found() => {
                return Err(StreamError::NoDataset(place.address().to_owned()));
            }
            other => other?,
        };
        let index = Index::parse(&json)
            .map_err(|source| StreamError::Index { object: place.address_of(INDEX), source })?;
        Ok(Self { place: place.clone(), index: Arc::new(index) })
    }

    /// What the dataset holds.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        self.place.address()
    }

    /// The shards of `split`.
    pub fn shards(&self, split: Split) -> &[ShardEntry] {
        self.index.shards(split)
    }

    /// Fetches one shard, checks it against the index, and decodes it.
    ///
    /// # Errors
    /// If it can't be read, isn't the shard that the index describes, or can't be decoded; each
    /// names the shard.
    pub async fn fetch(&self, entry: ShardEntry) -> Result<Decoded, StreamError> {
        let object = self.place.address_of(&entry.name);
        let content = self.place.read(&entry.name, entry.bytes).await?;
        let work = tokio::task::spawn_blocking(move || {
            let found = Digest::of(&content);
            if found != entry.blake3 {
                let wanted = entry.blake3;
                return Err(StreamError::Corrupt { object, wanted, found });
            }
            shard::decode(&content, entry.samples)
                .map_err(|source| StreamError::Shard { object, source })
        });
        work.await.map_err(|_| StreamError::Stopped)?
    }
}
