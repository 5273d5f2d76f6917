//! Batches come in a determined order, can be taken up anywhere, and damage is named.

use crate::support::{TRAIN, count, damage, dataset, delete, memory, runtime, train};
use coffer_train::dataset::{PIXELS, Split};
use coffer_train::stream::{
    Batch, Cursor, Dataset, Holdout, Loader, LoaderConfig, Order, StreamError, Subset,
};
use tokio::runtime::Runtime;

fn config(order: Order) -> LoaderConfig {
    LoaderConfig {
        split: Split::Train,
        subset: Subset::All,
        order,
        batch: count(16),
        prefetch: count(3),
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
    let mut loader = Loader::start(runtime.handle(), dataset, config, from, until);
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
    let none = runtime.block_on(Dataset::open(&memory())).unwrap_err();
    assert!(none.to_string().contains("no dataset at memory://test"), "{none}");
}
