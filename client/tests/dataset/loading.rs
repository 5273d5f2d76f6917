//! Every sample to one worker, the rest of the sequence from any cut, the network once.

use crate::store::Store;
use crate::support::{all, config, count, dataset, keys, options, runtime, sample};
use coffer_client::dataset::{
    Cache, Cursor, Dataset, DatasetError, Holdout, LoaderConfig, Order, ReadOptions, Subset,
    Workers,
};
use proptest::prelude::*;
use std::sync::OnceLock;

/// Made once for all cases: what they share isn't changed by reading.
fn shared() -> &'static (tokio::runtime::Runtime, Dataset, usize) {
    static SHARED: OnceLock<(tokio::runtime::Runtime, Dataset, usize)> = OnceLock::new();
    SHARED.get_or_init(|| {
        let (runtime, sizes) = (runtime(), [5, 9, 1, 7, 4, 8, 3]);
        let dataset = runtime.block_on(dataset(&Store::default(), &sizes, options()));
        (runtime, dataset, sizes.iter().sum())
    })
}

prop_compose! {
    fn configs()(
        seed: u64, window in 1usize..50, sequential: bool, prefetch in 1usize..9,
        workers in 1usize..6, share in prop::option::of(0.0f64..0.9), held: bool,
    ) -> (LoaderConfig, usize) {
        let subset = share.map_or(Subset::All, |share| {
            let holdout = Holdout { seed, share };
            if held && share > 0.6 { Subset::Held(holdout) } else { Subset::Kept(holdout) }
        });
        let mut config = LoaderConfig { prefetch: count(prefetch), subset, ..config(seed, window) };
        if sequential {
            config.order = Order::Sequential;
        }
        (config, workers)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_cut_gives_the_rest_whatever_the_prefetch(
        (config, workers) in configs(), worker: prop::sample::Index, cut: prop::sample::Index,
        other_prefetch in 1usize..9,
    ) {
        let (runtime, dataset, _) = shared();
        let workers = Workers::new(worker.index(workers), count(workers)).unwrap();
        let config = LoaderConfig { workers, ..config };
        let run = |config: &LoaderConfig, from| {
            runtime.block_on(all(dataset, config.clone(), from, 3)).unwrap()
        };
        let whole = run(&config, Cursor::default());
        let ends = whole.iter().filter(|delivery| delivery.is_none()).count();
        let samples: Vec<usize> =
            (0..whole.len()).filter(|at| whole[*at].is_some()).collect();
        if samples.is_empty() {
            return Ok(());
        }
        prop_assert!(ends <= 3);
        let cut = samples[cut.index(samples.len())];
        let (at, _) = whole[cut].clone().unwrap();
        let other = LoaderConfig { prefetch: count(other_prefetch), ..config };
        prop_assert_eq!(&run(&other, at)[..], &whole[cut..]);
        // After the last sample of an epoch, its end is not told again.
        let rest = &whole[cut + 1..];
        let rest = if rest.first() == Some(&None) { &rest[1..] } else { rest };
        prop_assert_eq!(&run(&other, at.next())[..], rest);
    }

    #[test]
    fn workers_share_each_epoch((config, workers) in configs()) {
        let (runtime, dataset, total) = shared();
        let config = LoaderConfig { subset: Subset::All, ..config };
        let mut seen = Vec::new();
        for index in 0..workers {
            let workers = Workers::new(index, count(workers)).unwrap();
            let config = LoaderConfig { workers, ..config.clone() };
            let from = Cursor { epoch: 4, sample: 0 };
            let found = runtime.block_on(all(dataset, config, from, 5)).unwrap();
            prop_assert_eq!(found.last(), Some(&None));
            prop_assert!(found.iter().flatten().all(|(_, sample)| sample.fields.len() == 2));
            seen.append(&mut keys(&found));
        }
        seen.sort();
        let wanted: Vec<String> = (0..*total).map(|at| sample(at).key).collect();
        prop_assert_eq!(seen, wanted);
    }
}

#[test]
fn more_workers_than_shards_are_refused() {
    let (runtime, dataset, _) = shared();
    let config = LoaderConfig { workers: "3/8".parse().unwrap(), ..config(1, 10) };
    let error = runtime.block_on(all(dataset, config, Cursor::default(), 1)).unwrap_err();
    assert!(matches!(error, DatasetError::TooFewShards { shards: 7, .. }), "{error}");
}

#[test]
fn with_a_cache_several_epochs_and_runs_read_the_network_once() {
    let (runtime, store) = (runtime(), Store::default());
    let dir = tempfile::tempdir().unwrap();
    let cached =
        |limit| ReadOptions { cache: Some(Cache::open(dir.path(), limit).unwrap()), ..options() };
    let dataset = runtime.block_on(dataset(&store, &[10; 6], cached(1 << 20)));
    let plain = runtime.block_on(async {
        let plain = Dataset::open(&store.place(), options()).await.unwrap();
        all(&plain, config(1, 20), Cursor::default(), 3).await.unwrap()
    });
    assert_eq!(store.reads(".tar"), 18, "without a cache, each epoch reads each shard");
    let found = runtime.block_on(all(&dataset, config(1, 20), Cursor::default(), 3)).unwrap();
    assert!(found == plain);
    assert_eq!(store.reads(".tar"), 18 + 6);
    let stats = dataset.stats();
    assert_eq!((stats.cache_misses, stats.cache_hits), (6, 12));
    assert_eq!(stats.cache_bytes, 2 * stats.network_bytes);

    // Another run, which shares the directory, and finds one shard damaged there.
    let file = std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
    std::fs::write(file, b"rubbish").unwrap();
    let again = runtime.block_on(Dataset::open(&store.place(), cached(1 << 20))).unwrap();
    assert!(runtime.block_on(all(&again, config(1, 20), Cursor::default(), 3)).unwrap() == plain);
    assert_eq!(store.reads(".tar"), 18 + 6 + 1);

    // One that is too small for all still serves, within its limit.
    let bytes = again.shards(&"train".parse().unwrap())[0].bytes;
    let small = runtime.block_on(Dataset::open(&store.place(), cached(2 * bytes))).unwrap();
    assert!(runtime.block_on(all(&small, config(1, 20), Cursor::default(), 3)).unwrap() == plain);
    let kept: u64 = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(kept <= 2 * bytes, "{kept}");
}

/// A disk that is full, or worse, costs the cache and nothing else.
#[test]
fn without_room_for_the_cache_it_goes_on() {
    let (runtime, store) = (runtime(), Store::default());
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("cache");
    let cache = Some(Cache::open(&folder, 1 << 20).unwrap());
    std::fs::remove_dir(&folder).unwrap();
    std::fs::write(&folder, b"in the way").unwrap();
    let dataset = runtime.block_on(dataset(&store, &[10; 3], ReadOptions { cache, ..options() }));
    let found = runtime.block_on(all(&dataset, config(1, 20), Cursor::default(), 2)).unwrap();
    assert_eq!(found.iter().flatten().count(), 60);
    assert_eq!(store.reads(".tar"), 6);
}

/// Shards are fetched ahead, but not more of them than was asked for.
#[test]
fn a_consumer_that_stops_stops_the_reads() {
    let (runtime, store) = (runtime(), Store::default());
    let dataset = runtime.block_on(dataset(&store, &[400; 20], options()));
    runtime.block_on(async {
        let handle = tokio::runtime::Handle::current();
        let decode = coffer_client::dataset::Raw;
        let from = Cursor::default();
        let config = LoaderConfig { prefetch: count(3), ..config(1, 400) };
        let mut loader =
            coffer_client::dataset::Loader::start(&handle, &dataset, decode, config, from, 9)
                .unwrap();
        loader.next().await.unwrap();
        // Whatever it would do, it has had the time for.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        // 1024 samples wait in line, three windows; one is half sent, and three shards are ahead.
        assert!(store.reads(".tar") <= 3 + 1 + 3 + 1, "{}", store.reads(".tar"));
        assert!(store.reads(".tar") >= 4);
    });
}
