//! A small dataset, and all that a loader delivers of it.

use crate::store::Store;
use coffer_client::RetryPolicy;
use coffer_client::dataset::pack::{Existing, PackError, Packing};
use coffer_client::dataset::shard::ShardWriter;
use coffer_client::dataset::{
    Cursor, Dataset, DatasetError, Delivery, Index, Loader, LoaderConfig, OnCorrupt, Order, Raw,
    ReadOptions, Sample, SplitName, Subset, Workers,
};
use coffer_client::object_store::path::Path;
use coffer_client::object_store::{ObjectStoreExt, PutPayload};
use coffer_client::place::Place;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::Duration;
use tokio::runtime::{Handle, Runtime};
use tokio_util::sync::CancellationToken;

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

pub(crate) fn count(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

pub(crate) fn sample(at: usize) -> Sample {
    let content = |text: String| text.into_bytes().into();
    let fields = [("cls", content((at % 10).to_string())), ("txt", content("x".repeat(at)))];
    let fields = fields.map(|(name, content)| (name.to_owned(), content)).into();
    Sample { key: format!("s{at:04}"), fields }
}

/// Packs shards of these many samples as the split `train`.
pub(crate) async fn pack(
    place: &Place,
    sizes: &[usize],
    existing: Existing,
) -> Result<Index, PackError> {
    let packing = Packing::begin(place, existing, CancellationToken::new()).await?;
    let (mut shards, mut at) = (Vec::new(), 0);
    for (number, size) in sizes.iter().enumerate() {
        let range = at..at + size;
        at = range.end;
        let fill = move |shard: &mut ShardWriter<_>| {
            range.into_iter().for_each(|at| shard.push(&sample(at)).unwrap());
            Ok::<(), PackError>(())
        };
        shards.push(packing.shard(&SplitName::train(), number, fill).await?);
    }
    packing.publish("test", BTreeMap::new(), BTreeMap::from([(SplitName::train(), shards)])).await
}

/// Impatient: a test should not wait.
pub(crate) fn options() -> ReadOptions {
    let retry = RetryPolicy {
        retries: 3,
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(5),
        give_up_after: Duration::from_secs(60),
    };
    ReadOptions { cache: None, retry, stall: Duration::from_millis(300) }
}

pub(crate) async fn dataset(store: &Store, sizes: &[usize], options: ReadOptions) -> Dataset {
    pack(&store.place(), sizes, Existing::Refuse).await.unwrap();
    Dataset::open(&store.place(), options).await.unwrap()
}

pub(crate) fn config(seed: u64, window: usize) -> LoaderConfig {
    LoaderConfig {
        split: SplitName::train(),
        subset: Subset::All,
        order: Order::Shuffled { seed, window: count(window) },
        workers: Workers::ALONE,
        prefetch: count(2),
        on_corrupt: OnCorrupt::Refuse,
    }
}

/// Everything from `from` to the end of epoch `until - 1`: samples with their places; `None` where
/// an epoch ends.
pub(crate) async fn all(
    dataset: &Dataset,
    config: LoaderConfig,
    from: Cursor,
    until: u64,
) -> Result<Vec<Option<(Cursor, Sample)>>, DatasetError> {
    let mut loader = Loader::start(&Handle::current(), dataset, Raw, config, from, until)?;
    let mut found = Vec::new();
    while let Some(delivery) = loader.next().await? {
        found.push(match delivery {
            Delivery::Sample { at, item } => Some((at, item)),
            Delivery::EndOfEpoch(_) => None,
        });
    }
    Ok(found)
}

/// The keys alone.
pub(crate) fn keys(found: &[Option<(Cursor, Sample)>]) -> Vec<String> {
    found.iter().flatten().map(|(_, sample)| sample.key.clone()).collect()
}

pub(crate) async fn read(place: &Place, name: &str) -> Vec<u8> {
    place.read(name, u64::MAX).await.unwrap().to_vec()
}

pub(crate) async fn write(place: &Place, name: &str, content: Vec<u8>) {
    place.store().put(&Path::from(name), PutPayload::from(content)).await.unwrap();
}

pub(crate) async fn delete(place: &Place, name: &str) {
    place.store().delete(&Path::from(name)).await.unwrap();
}

/// Flips one bit in the middle of an object.
pub(crate) async fn damage(place: &Place, name: &str) {
    let mut content = read(place, name).await;
    let middle = content.len() / 2;
    content[middle] ^= 1;
    write(place, name, content).await;
}
