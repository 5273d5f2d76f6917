//! Batches come in a determined order, can be taken up anywhere, and damage is named.

use crate::support::{TRAIN, count, damage, dataset, delete, memory, runtime, train};
use coffer_client::dataset::SplitName;
use coffer_client::dataset::pack::{Existing, PackError, Packing};
use coffer_client::dataset::shard::ShardWriter;
use coffer_client::place::Place;
use coffer_train::dataset::{PIXELS, Split};
use coffer_train::stream::{
    Batch, Cursor, Dataset, Holdout, Loader, LoaderConfig, OnCorrupt, Order, ReadOptions,
    StreamError, Subset, Workers,
};
use coffer_train::train::Run;
use std::collections::BTreeMap;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

fn config(order: Order) -> LoaderConfig {
    LoaderConfig {
        split: Split::Train,
        subset: Subset::All,
        order,
        batch: count(16),
        workers: Workers::ALONE,
        prefetch: count(3),
        on_corrupt: OnCorrupt::Refuse,
    }
}

fn shuffled(seed: u64) -> LoaderConfig {
    config(Order::Shuffled { seed, window: count(70) })
}

fn batches(
    runtime: &Runtime,
    dataset: &Dataset,
    config: LoaderConfig,
    from: Cursor,
    until: u64,
) -> Result<Vec<Batch>, StreamError> {
    let mut loader = Loader::start(runtime.handle(), dataset, config, from, until)?;
    std::iter::from_fn(|| loader.next_batch().transpose()).collect()
}

fn samples(batches: &[Batch]) -> Vec<(&[u8], u8)> {
    let pixels = batches.iter().flat_map(|batch| batch.pixels.chunks(PIXELS));
    pixels.zip(batches.iter().flat_map(|batch| &batch.labels).copied()).collect()
}

#[test]
fn every_epoch_has_each_sample_once_in_its_own_order() {
    let runtime = runtime();
    let dataset = dataset(&runtime, &memory());
    let all = batches(&runtime, &dataset, shuffled(1), Cursor::default(), 2).unwrap();
    assert_eq!(all, batches(&runtime, &dataset, shuffled(1), Cursor::default(), 2).unwrap());
    let ends: Vec<usize> = (0..all.len()).filter(|at| all[*at].last).collect();
    assert_eq!(ends, [12, 25], "200 samples make 13 batches, the last of 8");
    let (first, second) = all.split_at(13);
    let sequential = config(Order::Sequential);
    let plain = batches(&runtime, &dataset, sequential, Cursor::default(), 1).unwrap();
    let mut wanted = samples(&plain);
    assert_eq!(wanted.len(), TRAIN);
    assert_ne!(samples(first), wanted);
    assert_ne!(samples(first), samples(second));
    wanted.sort_unstable();
    for epoch in [first, second] {
        let mut found = samples(epoch);
        found.sort_unstable();
        assert!(found == wanted);
    }
}

#[test]
fn any_batch_can_be_the_first() {
    let runtime = runtime();
    let dataset = dataset(&runtime, &memory());
    let all = batches(&runtime, &dataset, shuffled(1), Cursor::default(), 2).unwrap();
    for at in 0..all.len() {
        let rest = batches(&runtime, &dataset, shuffled(1), all[at].start, 2).unwrap();
        assert!(rest == all[at..], "from batch {at}");
    }
}

#[test]
fn held_out_samples_are_never_learned_from_and_any_batch_can_be_the_first() {
    let runtime = runtime();
    let dataset = dataset(&runtime, &memory());
    let holdout = Holdout { seed: 1, share: 0.2 };
    let all = |config, from| batches(&runtime, &dataset, config, from, 2).unwrap();
    let kept = LoaderConfig { subset: Subset::Kept(holdout), ..shuffled(1) };
    let held = LoaderConfig { subset: Subset::Held(holdout), ..config(Order::Sequential) };
    let (kept_batches, held_batches) = (all(kept, Cursor::default()), all(held, Cursor::default()));
    let (learned, validated) = (samples(&kept_batches), samples(&held_batches));
    // Two epochs of 200 samples; each shard of 30 gives 6, the last one of 20 gives 4.
    assert_eq!((learned.len(), validated.len()), (320, 80));
    assert_eq!(validated[..40], validated[40..]);
    assert!(!learned.iter().any(|sample| validated.contains(sample)));
    assert_eq!(kept_batches.iter().filter(|batch| batch.last).count(), 2);
    for at in 0..kept_batches.len() {
        assert!(all(kept, kept_batches[at].start) == kept_batches[at..], "from batch {at}");
    }
}

#[test]
fn a_damaged_shard_stops_the_run_and_is_named() {
    let runtime = runtime();
    let place = memory();
    let dataset = dataset(&runtime, &place);
    damage(&runtime, &place, "train-000002.tar");
    let error = train(&runtime, &dataset, &memory(), 1, |_| ()).unwrap_err();
    assert!(error.is_corruption());
    let text = error.to_string();
    assert!(text.starts_with("corrupt shard memory://test/train-000002.tar: "), "{text}");
}

#[test]
fn a_missing_shard_and_a_missing_dataset_are_named() {
    let runtime = runtime();
    let place = memory();
    let dataset = dataset(&runtime, &place);
    delete(&runtime, &place, "train-000005.tar");
    let missing = batches(&runtime, &dataset, shuffled(1), Cursor::default(), 1).unwrap_err();
    assert!(missing.to_string().contains("memory://test/train-000005.tar"), "{missing}");
    let none = runtime.block_on(Dataset::open(&memory(), ReadOptions::default())).unwrap_err();
    assert!(none.to_string().contains("no dataset at memory://test"), "{none}");
}

#[test]
fn a_run_that_may_skip_passes_over_damage_and_gives_the_same_numbers_again() {
    let runtime = runtime();
    let place = memory();
    let dataset = dataset(&runtime, &place);
    damage(&runtime, &place, "train-000002.tar");
    delete(&runtime, &place, "train-000004.tar");
    let skip = |epochs, to: &Place| {
        let skipping = |run: &mut Run<'_>| run.on_corrupt = OnCorrupt::Skip;
        train(&runtime, &dataset, to, epochs, skipping).unwrap().0
    };
    let (whole, cut) = (memory(), memory());
    let uninterrupted = skip(2, &whole);
    assert_eq!(dataset.stats().skipped_samples, 2 * 60);
    assert_eq!(uninterrupted.history[0].steps, 9, "140 samples are left, 16 to a batch");
    skip(1, &cut);
    let resumed = skip(2, &cut);
    assert_eq!(resumed.history[1].train, uninterrupted.history[1].train);
}

#[test]
fn an_epoch_of_which_nothing_sound_is_left_ends_before_the_next_begins() {
    let runtime = runtime();
    let place = memory();
    let dataset = dataset(&runtime, &place);
    delete(&runtime, &place, "train-000006.tar");
    let sequential = config(Order::Sequential);
    let config = LoaderConfig { on_corrupt: OnCorrupt::Skip, ..sequential };
    // The first six of seven shards have been learned from.
    let from = Cursor { epoch: 0, sample: 180 };
    let mut loader = Loader::start(runtime.handle(), &dataset, config, from, 2).unwrap();
    assert_eq!(loader.next_batch().unwrap(), None);
    let next = loader.next_batch().unwrap().unwrap();
    assert_eq!(next.start, Cursor { epoch: 1, sample: 0 });
}

#[test]
fn workers_learn_from_shares_that_make_up_the_whole() {
    let runtime = runtime();
    let dataset = dataset(&runtime, &memory());
    let share = |worker: &str| {
        let workers = worker.parse().unwrap();
        let config = LoaderConfig { workers, ..shuffled(1) };
        batches(&runtime, &dataset, config, Cursor::default(), 1).unwrap()
    };
    let shares = ["0/3", "1/3", "2/3"].map(share);
    assert!(shares.iter().all(|batches| batches.last().unwrap().last));
    let mut all: Vec<_> = shares.iter().flat_map(|batches| samples(batches)).collect();
    let whole = batches(&runtime, &dataset, shuffled(1), Cursor::default(), 1).unwrap();
    let mut wanted = samples(&whole);
    all.sort_unstable();
    wanted.sort_unstable();
    assert!(all == wanted);

    let alone = memory();
    train(&runtime, &dataset, &alone, 1, |_| ()).unwrap();
    let other = |run: &mut Run<'_>| run.config.workers = "1/2".parse().unwrap();
    let error = train(&runtime, &dataset, &alone, 2, other).unwrap_err().to_string();
    assert!(error.contains("worker: 0/1, not 1/2"), "{error}");
}

#[test]
fn a_dataset_of_something_else_is_refused() {
    let (runtime, place) = (runtime(), memory());
    runtime.block_on(async {
        let packing =
            Packing::begin(&place, Existing::Refuse, CancellationToken::new()).await.unwrap();
        let fill = |shard: &mut ShardWriter<_>| {
            shard.field("a", "txt", 1, &b"x"[..]).unwrap();
            Ok::<(), PackError>(())
        };
        let shard = packing.shard(&SplitName::train(), 0, fill).await.unwrap();
        let splits = BTreeMap::from([(SplitName::train(), vec![shard])]);
        packing.publish("texts", BTreeMap::new(), splits).await.unwrap();
        let error = Dataset::open(&place, ReadOptions::default()).await.unwrap_err();
        assert!(matches!(error, StreamError::NotDigits { .. }), "{error}");
    });
}
