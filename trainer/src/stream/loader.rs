//! The loader: tasks that run ahead of the training loop and hand it batches.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt, stream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::plan::{Cursor, Order, Window, windows};
use super::subset::Subset;
use super::{Dataset, StreamError};
use crate::dataset::shard::Decoded;
use crate::dataset::{PIXELS, Split};

/// Batches that wait between the loader and the training loop.
const READY_BATCHES: usize = 32;

/// What a loader delivers, and how far it runs ahead.
#[derive(Debug, Clone, Copy)]
pub struct LoaderConfig {
    /// Split to read.
    pub split: Split,
    /// Which of its samples.
    pub subset: Subset,
    /// Order of the samples.
    pub order: Order,
    /// Samples per batch; the last batch of an epoch may be smaller.
    pub batch: NonZeroUsize,
    /// Shards that are fetched ahead.
    pub prefetch: NonZeroUsize,
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
    batches: mpsc::Receiver<Result<Batch, StreamError>>,
    waited: Duration,
    _producer: AbortOnDropHandle<()>,
}

impl Loader {
    /// Starts loading from `from` to the end of epoch `until - 1`, on `runtime`.
    pub fn start(
        runtime: &Handle,
        dataset: &Dataset,
        config: LoaderConfig,
        from: Cursor,
        until: u64,
    ) -> Self {
        let (sender, batches) = mpsc::channel(READY_BATCHES);
        let producer = produce(dataset.clone(), config, from, until, sender);
        let producer = AbortOnDropHandle::new(runtime.spawn(producer));
        Self { batches, waited: Duration::ZERO, _producer: producer }
    }

    /// The next batch, or none after the last epoch. Blocks; call it outside of async code.
    ///
    /// # Errors
    /// If a shard is damaged or out of reach; the loader has ended then.
    pub fn next_batch(&mut self) -> Result<Option<Batch>, StreamError> {
        if let Ok(ready) = self.batches.try_recv() {
            return ready.map(Some);
        }
        let start = Instant::now();
        let batch = self.batches.blocking_recv().transpose();
        self.waited += start.elapsed();
        batch
    }

    /// Time spent waiting for batches since the last call of this.
    pub fn take_waited(&mut self) -> Duration {
        std::mem::take(&mut self.waited)
    }
}

async fn produce(
    dataset: Dataset,
    config: LoaderConfig,
    from: Cursor,
    until: u64,
    sender: mpsc::Sender<Result<Batch, StreamError>>,
) {
    if let Err(Some(error)) = deliver(&dataset, config, from, until, &sender).await {
        // A receiver that is gone doesn't want to know.
        let _ = sender.send(Err(error)).await;
    }
}

/// Sends all batches. Fails with `None` if nobody receives them any more.
async fn deliver(
    dataset: &Dataset,
    config: LoaderConfig,
    from: Cursor,
    until: u64,
    sender: &mpsc::Sender<Result<Batch, StreamError>>,
) -> Result<(), Option<StreamError>> {
    let mut shards = Box::pin(fetched(dataset, config, from, until));
    let mut cutter = Cutter { batch: config.batch, open: None };
    for (window, used) in to_visit(dataset, config, from, until) {
        let mut samples = Decoded::default();
        let mut wanted = Vec::with_capacity(window.samples);
        for number in &window.shards {
            let shard = shards.next().await.unwrap_or(Err(StreamError::Stopped)).map_err(Some)?;
            samples.pixels.extend_from_slice(&shard.pixels);
            samples.labels.extend_from_slice(&shard.labels);
            wanted.extend(config.subset.picks(*number, shard.labels.len()));
        }
        let order = window.permutation(config.order).into_iter().enumerate();
        let picked: Vec<(usize, usize)> =
            order.filter(|(_, sample)| wanted.get(*sample) == Some(&true)).collect();
        let end = picked.len();
        for (number, (place, sample)) in picked.into_iter().enumerate() {
            if place < used.len() {
                continue;
            }
            let start = Cursor { epoch: window.epoch, sample: used.start + place };
            let last = window.last && number + 1 == end;
            if let Some(batch) = cutter.push(start, &samples, sample, last) {
                sender.send(Ok(batch)).await.map_err(|_| None)?;
            }
        }
    }
    Ok(())
}

/// The windows from `from` on, each with a range: it starts at the window's first sample within
/// its epoch, and its length is the number of the window's samples that have been used or passed
/// over. Windows without a sample that is wanted are left out.
fn to_visit(
    dataset: &Dataset,
    config: LoaderConfig,
    from: Cursor,
    until: u64,
) -> impl Iterator<Item = (Window, Range<usize>)> + use<> {
    let shards = dataset.shards(config.split).to_vec();
    (from.epoch..until).flat_map(move |epoch| {
        let done = if epoch == from.epoch { from.sample } else { 0 };
        let mut end = 0;
        let mut found: Vec<(Window, Range<usize>)> = windows(&shards, config.order, epoch)
            .into_iter()
            .map(|window| {
                let first = end;
                end += window.samples;
                let used = done.clamp(first, end);
                (window, first..used)
            })
            .filter(|(window, _)| {
                let entries = window.shards.iter().filter_map(|shard| shards.get(*shard));
                config.subset.samples(entries) > 0
            })
            .collect();
        if let Some((window, _)) = found.last_mut() {
            window.last = true;
        }
        found.into_iter().filter(|(window, used)| used.len() < window.samples)
    })
}

/// The shards of all windows in order, each a task that starts `prefetch` shards ahead.
fn fetched(
    dataset: &Dataset,
    config: LoaderConfig,
    from: Cursor,
    until: u64,
) -> impl Stream<Item = Result<Decoded, StreamError>> + use<> {
    let entries = dataset.shards(config.split).to_vec();
    let dataset = dataset.clone();
    let shards = to_visit(&dataset, config, from, until)
        .flat_map(|(window, _)| window.shards)
        .filter_map(move |shard| entries.get(shard).cloned());
    stream::iter(shards)
        .map(move |entry| {
            let dataset = dataset.clone();
            AbortOnDropHandle::new(tokio::spawn(async move { dataset.fetch(entry).await }))
        })
        .buffered(config.prefetch.get())
        .map(|done| done.unwrap_or(Err(StreamError::Stopped)))
}

/// Cuts the stream of samples into batches, which may reach across windows but not epochs.
struct Cutter {
    batch: NonZeroUsize,
    open: Option<Batch>,
}

impl Cutter {
    /// Adds sample `at` of `samples`; returns the batch if that fills or ends it.
    fn push(&mut self, start: Cursor, samples: &Decoded, at: usize, last: bool) -> Option<Batch> {
        let mut open = self.open.take().unwrap_or_else(|| Batch {
            start,
            end: start,
            pixels: Vec::with_capacity(self.batch.get() * PIXELS),
            labels: Vec::with_capacity(self.batch.get()),
            last: false,
        });
        let pixels = samples.pixels.get(at * PIXELS..(at + 1) * PIXELS).unwrap_or_default();
        open.pixels.extend_from_slice(pixels);
        open.labels.extend(samples.labels.get(at));
        open.end = Cursor { sample: start.sample + 1, ..start };
        open.last = last;
        if last || open.labels.len() == self.batch.get() {
            return Some(open);
        }
        self.open = Some(open);
        None
    }
}
