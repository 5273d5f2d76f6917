//! Opens packed datasets, and fetches and verifies their shards.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use object_store::path::Path;
use object_store::{ObjectStoreExt, Result as StoreResult};
use tokio::task::spawn_blocking;

use super::cache::Cache;
use super::counters::{Counters, ReadStats, count};
use super::error::{Damage, DatasetError};
use super::index::{INDEX, Index, ShardEntry};
use super::name::SplitName;
use crate::place::{Place, PlaceError};
use crate::{Digest, RetryPolicy};

/// Largest index that is read: room for a hundred thousand shards.
const INDEX_LIMIT: u64 = 32 << 20;

/// How shards are read.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// Where shards are kept for the next epoch or process, if anywhere.
    pub cache: Option<Cache>,
    /// When to read again what the store did not give. The client has its own retries below that;
    /// these bridge what outlasts them.
    pub retry: RetryPolicy,
    /// How long to wait for the next byte.
    pub stall: Duration,
}

impl Default for ReadOptions {
    /// No cache; patience for an outage of some minutes.
    fn default() -> Self {
        let retry = RetryPolicy {
            retries: 8,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
            give_up_after: Duration::from_secs(900),
        };
        Self { cache: None, retry, stall: Duration::from_secs(120) }
    }
}

/// A packed dataset in a store. Clones share the counters.
#[derive(Debug, Clone)]
pub struct Dataset {
    place: Place,
    index: Arc<Index>,
    options: ReadOptions,
    counters: Arc<Counters>,
}

impl Dataset {
    /// Opens the dataset at `place`.
    ///
    /// # Errors
    /// [`DatasetError::NoDataset`] if there is no index; others if it can't be read or used.
    pub async fn open(place: &Place, options: ReadOptions) -> Result<Self, DatasetError> {
        let json = match place.read(INDEX, INDEX_LIMIT).await {
            Err(error) if error.is_not_found() => {
                return Err(DatasetError::NoDataset(place.address().to_owned()));
            }
            other => other?,
        };
        let index = Index::parse(&json)
            .map_err(|source| DatasetError::Index { object: place.address_of(INDEX), source })?;
        let (place, index) = (place.clone(), Arc::new(index));
        Ok(Self { place, index, options, counters: Arc::default() })
    }

    /// What the dataset holds.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The place where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The shards of `split`; none if there is no such split.
    pub fn shards(&self, split: &SplitName) -> &[ShardEntry] {
        self.index.shards(split)
    }

    /// What reading has cost so far.
    pub fn stats(&self) -> ReadStats {
        self.counters.snapshot()
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The full address of a shard.
    pub fn address_of(&self, entry: &ShardEntry) -> String {
        self.place.address_of(entry.name.as_str())
    }

    /// Fetches one shard whole, from the cache if it's there, and checks it against the index.
    ///
    /// # Errors
    /// If it can't be read, or isn't the shard that the index describes; each names the shard.
    pub async fn fetch(&self, entry: &ShardEntry) -> Result<Bytes, DatasetError> {
        let digest = entry.blake3;
        if let Some(cache) = self.options.cache.clone() {
            let found = spawn_blocking(move || cache.get(digest)).await;
            if let Some(content) = found.map_err(|_| DatasetError::Stopped)? {
                count(&self.counters.cache_hits, 1);
                count(&self.counters.cache_bytes, length(&content));
                return Ok(content);
            }
            count(&self.counters.cache_misses, 1);
        }
        let content = self.read(entry).await?;
        if let Some(cache) = self.options.cache.clone() {
            let content = content.clone();
            let put = spawn_blocking(move || cache.put(digest, &content)).await;
            put.map_err(|_| DatasetError::Stopped)?;
        }
        Ok(content)
    }

    /// Reads a shard from the store. What fails is tried again, patiently if the store is to blame,
    /// and once if it sent something else than the index says: a transfer may have done that.
    async fn read(&self, entry: &ShardEntry) -> Result<Bytes, DatasetError> {
        let mut pauses = self.options.retry.pauses();
        let mut doubted = false;
        loop {
            let error = match self.read_once(entry).await {
                Ok(content) => return Ok(content),
                Err(error) => error,
            };
            let corrupt = matches!(error, DatasetError::Corrupt { .. });
            if corrupt && !doubted {
                doubted = true;
            } else if let Some(pause) = error.is_transient().then(|| pauses.next()).flatten() {
                tokio::time::sleep(pause).await;
            } else {
                return Err(error);
            }
            count(&self.counters.retries, 1);
            tracing::warn!("reading again: {error}");
        }
    }

    async fn read_once(&self, entry: &ShardEntry) -> Result<Bytes, DatasetError> {
        let object = self.address_of(entry);
        let failed = |source| match source {
            object_store::Error::NotFound { .. } => {
                DatasetError::Missing { object: object.clone() }
            }
            source => PlaceError::Read { object: object.clone(), source }.into(),
        };
        let corrupt = |damage| DatasetError::Corrupt { object: object.clone(), damage };
        let path = Path::from(entry.name.as_str());
        let store = self.place.store();
        let answer = self.in_time(&object, store.get(&path)).await?.map_err(failed)?;
        let wanted = entry.bytes;
        let wrong_size = |found| corrupt(Damage::Size { wanted, found });
        if answer.meta.size != wanted {
            return Err(wrong_size(answer.meta.size));
        }
        // The index is checked, but not by whoever else may have written the object's size.
        let mut content = BytesMut::with_capacity(usize::try_from(wanted).unwrap_or(0));
        let mut chunks = answer.into_stream();
        while let Some(chunk) = self.in_time(&object, chunks.next()).await? {
            let chunk: Bytes = StoreResult::map_err(chunk, failed)?;
            count(&self.counters.network_bytes, length(&chunk));
            content.extend_from_slice(&chunk);
            if length(&content) > wanted {
                return Err(wrong_size(length(&content)));
            }
        }
        if length(&content) != wanted {
            return Err(wrong_size(length(&content)));
        }
        let content = content.freeze();
        let hashed = content.clone();
        let found = spawn_blocking(move || Digest::of(&hashed)).await;
        let found = found.map_err(|_| DatasetError::Stopped)?;
        if found != entry.blake3 {
            return Err(corrupt(Damage::Hash { wanted: entry.blake3, found }));
        }
        Ok(content)
    }

    async fn in_time<T>(
        &self,
        object: &str,
        work: impl Future<Output = T>,
    ) -> Result<T, DatasetError> {
        let limit = self.options.stall;
        let late = |_| DatasetError::Stalled { object: object.to_owned(), limit };
        tokio::time::timeout(limit, work).await.map_err(late)
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
