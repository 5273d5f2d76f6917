//! Cuts the stream of digits into batches.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use coffer_client::dataset::{self as packed, Cursor, Delivery, OnCorrupt, Order};
use coffer_client::dataset::{Subset, Workers};
use tokio::runtime::Handle;

use super::{Dataset, StreamError};
use crate::dataset::digit::Digits;
use crate::dataset::{PIXELS, Sample, Split};

/// What a loader delivers, and how far it runs ahead.
#[derive(Debug, Clone, Copy)]
pub struct LoaderConfig {
    /// Split to read.
    pub split: Split,
    /// Which of its samples.
    pub subset: Subset,
    /// Order of the samples.
    pub order: Order,
    /// Whose share of each epoch's shards.
    pub workers: Workers,
    /// Samples per batch; the last batch of an epoch may be smaller.
    pub batch: NonZeroUsize,
    /// Shards that are fetched ahead.
    pub prefetch: NonZeroUsize,
    /// What to do about damaged and missing shards.
    pub on_corrupt: OnCorrupt,
}

/// Some samples of one epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Where the batch starts.
    pub start: Cursor,
    /// Where what follows it starts: what comes before has been used, or passed over.
    pub end: Cursor,
    /// Its pixels, [`PIXELS`] bytes per sample.
    pub pixels: Vec<u8>,
    /// Its labels, one per sample.
    pub labels: Vec<u8>,
    /// Whether it's the last of its epoch.
    pub last: bool,
}

/// Delivers batches of one epoch after the other; reads ahead, across the ends of epochs too.
///
/// Dropping it ends its tasks.
pub struct Loader {
    samples: packed::Loader<Sample>,
    batch: NonZeroUsize,
    /// The batch that is being filled. A full one waits for what follows: whether it's the last of
    /// its epoch shows only then.
    open: Option<Batch>,
    waited: Duration,
}

impl Loader {
    /// Starts loading from `from` to the end of epoch `until - 1`, on `runtime`.
    ///
    /// # Errors
    /// If there are fewer shards than workers.
    pub fn start(
        runtime: &Handle,
        dataset: &Dataset,
        config: LoaderConfig,
        from: Cursor,
        until: u64,
    ) -> Result<Self, StreamError> {
        let LoaderConfig { split, subset, order, workers, batch, prefetch, on_corrupt } = config;
        let split = split.name();
        let config = packed::LoaderConfig { split, subset, order, workers, prefetch, on_corrupt };
        let samples =
            packed::Loader::start(runtime, dataset.packed(), Digits, config, from, until)?;
        Ok(Self { samples, batch, open: None, waited: Duration::ZERO })
    }

    /// The next batch; none after the last epoch, and where an epoch that was gone on with has nothing
    /// left that can be read. Blocks; call it outside of async code.
    ///
    /// # Errors
    /// If a shard is damaged or out of reach; the loader has ended then.
    pub fn next_batch(&mut self) -> Result<Option<Batch>, StreamError> {
        loop {
            let start = Instant::now();
            let delivery = self.samples.blocking_next()?;
            self.waited += start.elapsed();
            match delivery {
                Some(Delivery::Sample { at, item }) => {
                    let full = self.open.take_if(|open| open.labels.len() == self.batch.get());
                    self.push(at, &item);
                    if full.is_some() {
                        return Ok(full);
                    }
                }
                Some(Delivery::EndOfEpoch(_)) => {
                    return Ok(self.open.take().map(|batch| Batch { last: true, ..batch }));
                }
                None => return Ok(self.open.take()),
            }
        }
    }

    /// Time spent waiting for samples since the last call of this.
    pub fn take_waited(&mut self) -> Duration {
        std::mem::take(&mut self.waited)
    }

    fn push(&mut self, at: Cursor, sample: &Sample) {
        let batch = self.batch.get();
        let open = self.open.get_or_insert_with(|| Batch {
            start: at,
            end: at,
            pixels: Vec::with_capacity(batch * PIXELS),
            labels: Vec::with_capacity(batch),
            last: false,
        });
        open.pixels.extend_from_slice(sample.pixels.as_slice());
        open.labels.push(sample.label);
        open.end = at.next();
    }
}
