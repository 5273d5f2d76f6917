//! What reading a dataset has cost so far.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

/// Counters of one [`Dataset`](super::Dataset) and its clones, all loaders together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct ReadStats {
    /// Bytes of shards that came from the store, those read in vain included.
    pub network_bytes: u64,
    /// Bytes of shards that came from the cache.
    pub cache_bytes: u64,
    /// Shards that came from the cache.
    pub cache_hits: u64,
    /// Shards that were not in the cache, or damaged there.
    pub cache_misses: u64,
    /// Reads that were made again, since the store failed or sent something else than the index
    /// says.
    pub retries: u64,
    /// Shards that were passed over, since they're damaged or missing; once in each epoch.
    pub skipped_shards: u64,
    /// Samples that were passed over, those of such shards included.
    pub skipped_samples: u64,
    /// Seconds that consumers waited for samples.
    pub waited_seconds: f64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) network_bytes: AtomicU64,
    pub(super) cache_bytes: AtomicU64,
    pub(super) cache_hits: AtomicU64,
    pub(super) cache_misses: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) skipped_shards: AtomicU64,
    pub(super) skipped_samples: AtomicU64,
    waited_nanos: AtomicU64,
}

/// Adds to a counter.
pub(super) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

impl Counters {
    pub(super) fn waited(&self, time: Duration) {
        count(&self.waited_nanos, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(super) fn snapshot(&self) -> ReadStats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ReadStats {
            network_bytes: of(&self.network_bytes),
            cache_bytes: of(&self.cache_bytes),
            cache_hits: of(&self.cache_hits),
            cache_misses: of(&self.cache_misses),
            retries: of(&self.retries),
            skipped_shards: of(&self.skipped_shards),
            skipped_samples: of(&self.skipped_samples),
            waited_seconds: Duration::from_nanos(of(&self.waited_nanos)).as_secs_f64(),
        }
    }
}
