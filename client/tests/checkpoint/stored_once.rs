//! Content that doesn't change is stored once, and goes with the last checkpoint that has it.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use coffer_client::Digest;
use coffer_client::checkpoint::{CHUNK, CheckpointId, Checkpoints, Cut, GRACE, Selector};

use crate::support::{memory, small, snapshot, stored};

/// So many chunks and a bit, each of its own.
fn content(chunks: usize, seed: u8) -> Vec<u8> {
    let size = usize::try_from(CHUNK).unwrap();
    let byte = |at: usize| u8::try_from((at / size) % 251).unwrap() ^ seed;
    (0..chunks * size + 5).map(byte).collect()
}

fn sum(sizes: impl IntoIterator<Item = u64>) -> u64 {
    sizes.into_iter().sum()
}

#[tokio::test]
async fn a_second_save_writes_only_the_chunks_that_changed() {
    let (store, place) = memory();
    let checkpoints = Checkpoints::open(&place);
    let (mut saver, _) = checkpoints.resume().await.unwrap();
    let (frozen, mut weights) = (Bytes::from(content(3, 0x10)), content(2, 0x20));
    let cut = |step, weights: &Vec<u8>| {
        let weights = Bytes::from(weights.clone());
        Cut::of(snapshot(step, &[("frozen", frozen.clone()), ("weights", weights)]))
    };
    let first = saver.save(&cut(1, &weights), &|_| ()).await.unwrap();
    assert_eq!(first.written, 5 * CHUNK + 10);
    let before = stored(&*store).await;

    weights[usize::try_from(CHUNK).unwrap() + 7] ^= 1;
    let seen = std::sync::Mutex::new(0);
    let second = cut(2, &weights);
    let saved = saver.save(&second, &|bytes| *seen.lock().unwrap() += bytes).await.unwrap();
    assert_eq!(saved.written, CHUNK);
    assert_eq!(saved.entry.bytes, 5 * CHUNK + 10);
    assert_eq!(*seen.lock().unwrap(), second.bytes(), "progress ends at all bytes");
    let after = stored(&*store).await;
    let new = after.iter().filter(|(name, _)| !before.contains_key(*name)).map(|(_, size)| *size);
    assert_eq!(new.filter(|size| *size == CHUNK).count(), 1);

    // A trainer that is started anew knows as much.
    let (mut saver, found) = checkpoints.resume().await.unwrap();
    let loaded = found.unwrap().loaded;
    assert_eq!(loaded.parts["weights"], weights);
    assert_eq!(loaded.manifest.parts["weights"].blake3, Digest::of(&weights));
    assert_eq!(saver.save(&cut(3, &weights), &|_| ()).await.unwrap().written, 0);

    // The first goes, but not what the others have of it.
    let first = |_: &_| [CheckpointId(1)].into();
    let pruned = checkpoints.prune(&first, GRACE).await.unwrap();
    assert_eq!(pruned.objects, 2, "its manifest, and the chunk that changed");
    for step in [2, 3] {
        let loaded = checkpoints.choose(Selector::Step(step)).await.unwrap().loaded;
        assert!(loaded.parts["frozen"] == frozen && loaded.parts["weights"] == weights);
    }
    let chunks = stored(&*store).await.into_iter().filter(|(name, _)| !name.ends_with(".json"));
    assert_eq!(sum(chunks.map(|(_, size)| size)), 5 * CHUNK + 10);
}

#[tokio::test]
async fn a_part_that_repeats_itself_is_stored_once_and_an_empty_one_needs_nothing() {
    let (store, place) = memory();
    let checkpoints = Checkpoints::open(&place);
    let (mut saver, _) = checkpoints.resume().await.unwrap();
    let zeros = Bytes::from(vec![0; usize::try_from(3 * CHUNK).unwrap()]);
    let cut = Cut::of(snapshot(1, &[("zeros", zeros.clone()), ("empty", Bytes::new())]));
    assert_eq!(saver.save(&cut, &|_| ()).await.unwrap().written, CHUNK);
    let loaded = checkpoints.choose(Selector::Latest).await.unwrap().loaded;
    assert!(loaded.parts["zeros"] == zeros && loaded.parts["empty"].is_empty());
    assert_eq!(stored(&*store).await.len(), 3);
}

#[tokio::test]
async fn leftovers_go_after_the_grace_time_and_unlisted_saves_begin_anew() {
    let (store, place) = memory();
    let checkpoints = Checkpoints::open(&place);
    crate::support::save(&checkpoints, [1]).await;
    let (mut saver, _) = checkpoints.resume().await.unwrap();
    // A save that was killed: its root never came.
    let root = crate::support::read(&*store, "checkpoints/index.json").await;
    crate::support::save(&checkpoints, [2]).await;
    crate::support::write(&*store, "checkpoints/index.json", root).await;
    let before = stored(&*store).await.len();
    let none = |_: &_| BTreeSet::new();
    assert_eq!(checkpoints.prune(&none, GRACE).await.unwrap().objects, 0, "it may go on");
    assert_eq!(checkpoints.prune(&none, Duration::ZERO).await.unwrap().objects, 2);
    assert_eq!(stored(&*store).await.len(), before - 2);
    // This one has seen an older root, and writes on.
    saver.save(&small(2), &|_| ()).await.unwrap();
    assert!(checkpoints.choose(Selector::Latest).await.unwrap().passed_over.is_empty());
}

#[tokio::test]
async fn the_pinned_the_best_and_the_latest_stay() {
    let (_, place) = memory();
    let checkpoints = Checkpoints::open(&place);
    let (mut saver, _) = checkpoints.resume().await.unwrap();
    for step in 1..6 {
        let mut snapshot = snapshot(step, &[("weights", Bytes::from(vec![0; 9]))]);
        snapshot.best = step == 2;
        saver.save(&Cut::of(snapshot), &|_| ()).await.unwrap();
    }
    checkpoints.pin(CheckpointId(4), true).await.unwrap();
    let all = |root: &coffer_client::checkpoint::Root| {
        root.checkpoints().iter().map(|entry| entry.id).collect()
    };
    checkpoints.prune(&all, GRACE).await.unwrap();
    let ids = || async {
        let root = checkpoints.root().await.unwrap().unwrap();
        root.checkpoints().iter().map(|entry| entry.id.0).collect::<Vec<_>>()
    };
    assert_eq!(ids().await, [2, 4, 5]);
    assert_eq!(checkpoints.find(Selector::Best).await.unwrap().id, CheckpointId(2));
    checkpoints.pin(CheckpointId(4), false).await.unwrap();
    checkpoints.prune(&all, GRACE).await.unwrap();
    assert_eq!(ids().await, [2, 5]);
    let missing = checkpoints.pin(CheckpointId(4), true).await.unwrap_err();
    assert!(missing.to_string().contains("step-00000004"), "{missing}");
}
