//! The loader: tasks that run ahead of the training loop and hand it samples.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_util::task::AbortOnDropHandle;

use super::counters::count;
use super::decode::Decode;
use super::error::{Damage, DatasetError};
use super::fetch::Dataset;
use super::index::ShardEntry;
use super::name::SplitName;
use super::plan::{Course, Cursor, Order, Window};
use super::shard::{self, Sample};
use super::subset::Subset;
use super::workers::Workers;

/// Samples that wait between the loader and its consumer. They're in memory anyway, as a part of
/// the window that is being read.
const READY: usize = 1024;

/// What to do about a shard that is damaged or missing, or a sample that can't be decoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnCorrupt {
    /// Fail, and name it.
    #[default]
    Refuse,
    /// Warn, count and pass over it. The others keep their order, and the samples passed over count
    /// in the cursor, so that a run can still be resumed at the same place.
    Skip,
}

impl std::str::FromStr for OnCorrupt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "refuse" => Ok(Self::Refuse),
            "skip" => Ok(Self::Skip),
            _ => Err("write refuse or skip".to_owned()),
        }
    }
}

/// What a loader delivers, and how far it runs ahead.
#[derive(Debug, Clone)]
pub struct LoaderConfig {
    /// Split to read.
    pub split: SplitName,
    /// Which of its samples.
    pub subset: Subset,
    /// Order of the samples.
    pub order: Order,
    /// Whose share of each epoch's shards.
    pub workers: Workers,
    /// Shards that are fetched ahead.
    pub prefetch: NonZeroUsize,
    /// What to do about damage.
    pub on_corrupt: OnCorrupt,
}

/// What a loader delivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery<T> {
    /// A sample.
    Sample {
        /// Its place; [`Cursor::next`] of it is where to go on after it.
        at: Cursor,
        /// The sample, decoded.
        item: T,
    },
    /// An epoch is over; the next one, if any, follows. No sample comes before this where all that
    /// was left of the epoch after the place to go on from is damaged, and may be.
    EndOfEpoch(u64),
}

type Delivered<T> = Result<Delivery<T>, DatasetError>;

/// Delivers the samples of one epoch after the other; reads ahead, across the ends of epochs too.
///
/// What it delivers, in what order, follows from index, configuration and cursor alone. Memory is
/// bounded by the window that is being read and the shards on their way. Dropping it ends its tasks.
pub struct Loader<T> {
    deliveries: mpsc::Receiver<Delivered<T>>,
    dataset: Dataset,
    _producer: AbortOnDropHandle<()>,
}

impl<T: Send + 'static> Loader<T> {
    /// Starts loading from `from` to the end of epoch `until - 1`, on `runtime`.
    ///
    /// # Errors
    /// If there are fewer shards than workers.
    pub fn start(
        runtime: &Handle,
        dataset: &Dataset,
        decode: impl Decode<Item = T>,
        config: LoaderConfig,
        from: Cursor,
        until: u64,
    ) -> Result<Self, DatasetError> {
        let shards = dataset.shards(&config.split).len();
        if shards < config.workers.count().get() {
            let dataset = dataset.place().address().to_owned();
            let (split, workers) = (config.split, config.workers);
            return Err(DatasetError::TooFewShards { dataset, split, shards, workers });
        }
        let (sender, deliveries) = mpsc::channel(READY);
        let work = Work { dataset: dataset.clone(), decode: Arc::new(decode), config };
        let producer = AbortOnDropHandle::new(runtime.spawn(produce(work, from, until, sender)));
        Ok(Self { deliveries, dataset: dataset.clone(), _producer: producer })
    }

    /// The next delivery, or none after the last epoch.
    ///
    /// # Errors
    /// If a shard is damaged or out of reach; the loader has ended then.
    pub async fn next(&mut self) -> Result<Option<Delivery<T>>, DatasetError> {
        if let Ok(ready) = self.deliveries.try_recv() {
            return ready.map(Some);
        }
        let start = Instant::now();
        let delivery = self.deliveries.recv().await.transpose();
        self.dataset.counters().waited(start.elapsed());
        delivery
    }

    /// As [`Loader::next`], for code that isn't async.
    ///
    /// # Errors
    /// As [`Loader::next`].
    ///
    /// # Panics
    /// Within async code, as anything that blocks there.
    pub fn blocking_next(&mut self) -> Result<Option<Delivery<T>>, DatasetError> {
        if let Ok(ready) = self.deliveries.try_recv() {
            return ready.map(Some);
        }
        let start = Instant::now();
        let delivery = self.deliveries.blocking_recv().transpose();
        self.dataset.counters().waited(start.elapsed());
        delivery
    }
}

/// What the tasks of a loader share.
struct Work<D> {
    dataset: Dataset,
    decode: Arc<D>,
    config: LoaderConfig,
}

impl<D> Clone for Work<D> {
    fn clone(&self) -> Self {
        let (dataset, decode) = (self.dataset.clone(), Arc::clone(&self.decode));
        Self { dataset, decode, config: self.config.clone() }
    }
}

async fn produce<D: Decode>(
    work: Work<D>,
    from: Cursor,
    until: u64,
    sender: mpsc::Sender<Delivered<D::Item>>,
) {
    if let Err(Some(error)) = work.deliver(from, until, &sender).await {
        // A receiver that is gone doesn't want to know.
        let _ = sender.send(Err(error)).await;
    }
}

impl<D: Decode> Work<D> {
    /// Sends all deliveries. Fails with `None` if nobody receives them any more.
    async fn deliver(
        &self,
        from: Cursor,
        until: u64,
        sender: &mpsc::Sender<Delivered<D::Item>>,
    ) -> Result<(), Option<DatasetError>> {
        let Course { order, .. } = self.course();
        let entries = self.dataset.shards(&self.config.split).to_vec();
        let mut shards = Box::pin(self.clone().loaded(from, until));
        let (mut wanted, mut delivered) = (false, false);
        for visit in self.course().visits(entries.clone(), from, until) {
            let mut items = Vec::with_capacity(visit.window.samples);
            for _ in &visit.window.shards {
                let shard = shards.next().await.unwrap_or(Err(DatasetError::Stopped));
                items.append(&mut shard.map_err(Some)?);
            }
            let picks = self.picks(&visit.window, &entries);
            let permutation = visit.window.permutation(order).into_iter().enumerate();
            for (place, sample) in permutation.skip(visit.used) {
                wanted |= picks.get(sample) == Some(&true);
                let Some(item) = items.get_mut(sample).and_then(Option::take) else { continue };
                let at = Cursor { epoch: visit.window.epoch, sample: visit.first + place };
                sender.send(Ok(Delivery::Sample { at, item })).await.map_err(|_| None)?;
                delivered = true;
            }
            if visit.last {
                let epoch = visit.window.epoch;
                let whole = from <= (Cursor { epoch, sample: 0 });
                if !std::mem::take(&mut delivered) && whole {
                    let dataset = self.dataset.place().address().to_owned();
                    return Err(Some(DatasetError::NothingLeft { dataset, epoch: epoch + 1 }));
                }
                // After the last sample of an epoch, its end has been told before.
                if std::mem::take(&mut wanted) {
                    sender.send(Ok(Delivery::EndOfEpoch(epoch))).await.map_err(|_| None)?;
                }
            }
        }
        Ok(())
    }

    /// Which of a window's samples are in the subset, in the order of its shards.
    fn picks(&self, window: &Window, entries: &[ShardEntry]) -> Vec<bool> {
        let entry = |number: &usize| Some((*number, entries.get(*number)?));
        let shards = window.shards.iter().filter_map(entry);
        shards.flat_map(|(number, entry)| self.config.subset.picks(number, entry.samples)).collect()
    }

    fn course(&self) -> Course {
        let LoaderConfig { order, workers, subset, .. } = self.config;
        Course { order, workers, subset }
    }

    /// The decoded shards of all visits in order, each a task that starts `prefetch` shards ahead.
    fn loaded(self, from: Cursor, until: u64) -> impl Stream<Item = LoadedShard<D::Item>> {
        let entries = self.dataset.shards(&self.config.split).to_vec();
        let prefetch = self.config.prefetch.get();
        let visits = self.course().visits(entries.clone(), from, until);
        let shards = visits
            .flat_map(|visit| visit.window.shards)
            .filter_map(move |number| Some((number, entries.get(number)?.clone())));
        stream::iter(shards)
            .map(move |(number, entry)| {
                let work = self.clone();
                AbortOnDropHandle::new(tokio::spawn(async move { work.load(number, entry).await }))
            })
            .buffered(prefetch)
            .map(|done| done.unwrap_or(Err(DatasetError::Stopped)))
    }

    /// Fetches and decodes one shard.
    async fn load(self, number: usize, entry: ShardEntry) -> LoadedShard<D::Item> {
        let picks = self.config.subset.picks(number, entry.samples);
        let skip = self.config.on_corrupt == OnCorrupt::Skip;
        let (dataset, samples) = (self.dataset.clone(), entry.samples);
        let wanted = picks.iter().filter(|wanted| **wanted).count();
        let loaded = match dataset.fetch(&entry).await {
            Ok(content) => {
                let decoded = spawn_blocking(move || self.decode(&entry, &content, &picks)).await;
                decoded.unwrap_or(Err(DatasetError::Stopped))
            }
            Err(error) => Err(error),
        };
        match loaded {
            Err(error) if skip && error.is_of_one_shard() => {
                count(&dataset.counters().skipped_shards, 1);
                count(&dataset.counters().skipped_samples, wanted as u64);
                tracing::warn!("skipping {wanted} samples: {error}");
                Ok(std::iter::repeat_with(|| None).take(samples).collect())
            }
            loaded => loaded,
        }
    }

    fn decode(&self, entry: &ShardEntry, content: &Bytes, picks: &[bool]) -> LoadedShard<D::Item> {
        let object = self.dataset.address_of(entry);
        let corrupt = |damage| DatasetError::Corrupt { object: object.clone(), damage };
        let samples =
            shard::samples(content, entry.samples).map_err(|error| corrupt(error.into()))?;
        let decode = |(sample, wanted): (Sample, &bool)| {
            if !wanted {
                return Ok(None);
            }
            let key = sample.key.clone();
            match self.decode.decode(sample) {
                Ok(item) => Ok(Some(item)),
                Err(source) => {
                    let error = corrupt(Damage::Sample { key, source });
                    if self.config.on_corrupt == OnCorrupt::Refuse {
                        return Err(error);
                    }
                    count(&self.dataset.counters().skipped_samples, 1);
                    tracing::warn!("skipping a sample: {error}");
                    Ok(None)
                }
            }
        };
        samples.into_iter().zip(picks).map(decode).collect()
    }
}

/// The samples of a shard; those that aren't to be delivered are left out.
type LoadedShard<T> = Result<Vec<Option<T>>, DatasetError>;
