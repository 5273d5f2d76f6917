//! What is damaged is named by its full address, and passed over.

use std::collections::BTreeSet;
use std::time::Duration;

use coffer_client::Digest;
use coffer_client::checkpoint::{CheckpointError, CheckpointId, Checkpoints, Entry, Selector};
use coffer_client::place::Place;
use object_store::ObjectStoreExt;
use object_store::path::Path;

use crate::support::{damage, memory, read, save, small, stored, write};

const ROOT: &str = "checkpoints/index.json";

async fn latest(checkpoints: &Checkpoints) -> Entry {
    checkpoints.find(Selector::Latest).await.unwrap()
}

/// Names of the manifest and of a chunk that only this checkpoint has.
async fn own_objects(checkpoints: &Checkpoints, entry: &Entry) -> [String; 2] {
    let manifest = checkpoints.manifest(entry).await.unwrap();
    let chunk = manifest.parts["weights"].chunks[0];
    assert_eq!(chunk.save, entry.save);
    let folder = format!("checkpoints/saves/{}", entry.save);
    [format!("{folder}/manifest.json"), format!("{folder}/{}", chunk.blake3)]
}

#[tokio::test]
async fn a_damaged_or_missing_object_of_the_latest_is_named_and_the_one_before_is_used() {
    for missing in [false, true] {
        for which in 0..2 {
            let (store, place) = memory();
            let checkpoints = Checkpoints::open(&place);
            save(&checkpoints, 1..4).await;
            let name = &own_objects(&checkpoints, &latest(&checkpoints).await).await[which];
            if missing {
                store.delete(&Path::from(name.as_str())).await.unwrap();
            } else {
                damage(&*store, name).await;
            }
            let (mut saver, found) = checkpoints.resume().await.unwrap();
            let found = found.unwrap();
            assert_eq!(found.loaded.entry.id, CheckpointId(2));
            assert_eq!(found.passed_over.len(), 1);
            let address = format!("memory://run/{name}");
            assert!(found.passed_over[0].contains(&address), "{}", found.passed_over[0]);

            let entry = latest(&checkpoints).await;
            let problems = checkpoints.verify(&entry, &mut |_| ()).await.unwrap();
            assert_eq!(problems.len(), 1);
            assert!(problems[0].error.to_string().contains(&address));
            assert_eq!(problems[0].part.as_deref(), [None, Some("weights")][which]);

            // It's saved again, refers to nothing that is damaged, and what follows is sound.
            saver.save(&small(3), &|_| ()).await.unwrap();
            let (_, found) = checkpoints.resume().await.unwrap();
            let found = found.unwrap();
            assert_eq!((found.loaded.entry.id, found.passed_over), (CheckpointId(3), vec![]));
            assert_eq!(found.loaded.manifest.lineage.parent.unwrap().checkpoint, CheckpointId(2));
            assert_eq!(checkpoints.root().await.unwrap().unwrap().checkpoints().len(), 3);
        }
    }
}

#[tokio::test]
async fn a_chunk_that_is_shared_and_damaged_is_not_used_again() {
    let (store, place) = memory();
    let checkpoints = Checkpoints::open(&place);
    save(&checkpoints, 1..3).await;
    let first = checkpoints.find(Selector::Step(1)).await.unwrap();
    let frozen = checkpoints.manifest(&first).await.unwrap().parts["frozen"].chunks[0];
    let name = format!("checkpoints/saves/{}/{}", frozen.save, frozen.blake3);
    damage(&*store, &name).await;
    let error = checkpoints.resume().await.unwrap_err();
    assert!(matches!(error, CheckpointError::NoneUsable { .. }), "{error}");
    assert!(error.is_corruption() && error.to_string().contains(&name), "{error}");
}

/// What a trainer goes on from isn't always the latest, and may be deleted meanwhile.
#[tokio::test]
async fn what_a_save_refers_to_may_be_deleted_while_it_writes() {
    let (store, place) = memory();
    let checkpoints = Checkpoints::open(&place);
    save(&checkpoints, 1..4).await;
    damage(&*store, &own_objects(&checkpoints, &latest(&checkpoints).await).await[1]).await;
    let (mut saver, found) = checkpoints.resume().await.unwrap();
    assert_eq!(found.unwrap().loaded.entry.id, CheckpointId(2));
    let both = |_: &_| [CheckpointId(1), CheckpointId(2)].into();
    checkpoints.prune(&both, Duration::ZERO).await.unwrap();
    let saved = saver.save(&small(3), &|_| ()).await.unwrap();
    assert_eq!(saved.written, small(3).bytes(), "it refers to nothing");
    assert!(checkpoints.choose(Selector::Latest).await.unwrap().passed_over.is_empty());
}

#[tokio::test]
async fn a_damaged_or_missing_root_is_named_and_made_anew() {
    for content in [None, Some("{"), Some("")] {
        let (store, place) = memory();
        let checkpoints = Checkpoints::open(&place);
        save(&checkpoints, 1..4).await;
        match content {
            None => store.delete(&Path::from(ROOT)).await.unwrap(),
            Some(content) => write(&*store, ROOT, content.into()).await,
        }
        let (mut saver, found) = checkpoints.resume().await.unwrap();
        let found = found.unwrap();
        assert_eq!(found.loaded.entry.id, CheckpointId(3));
        assert!(found.passed_over[0].contains(&format!("memory://run/{ROOT}")));
        if content.is_some() {
            assert!(checkpoints.root().await.is_err());
            assert!(checkpoints.prune(&|_| BTreeSet::new(), Duration::ZERO).await.is_err());
        }
        saver.save(&small(4), &|_| ()).await.unwrap();
        let root = checkpoints.root().await.unwrap().unwrap();
        let ids: Vec<u64> = root.checkpoints().iter().map(|entry| entry.id.0).collect();
        assert_eq!((ids, root.latest().id), (vec![1, 2, 3, 4], CheckpointId(4)));
        assert_eq!(root.best(), None);
    }
}

#[tokio::test]
async fn a_root_of_another_format_is_left_alone() {
    let (store, place) = memory();
    let checkpoints = Checkpoints::open(&place);
    save(&checkpoints, [1]).await;
    let root = String::from_utf8(read(&*store, ROOT).await).unwrap();
    write(&*store, ROOT, root.replace("checkpoint/2", "checkpoint/3").into()).await;
    let error = checkpoints.resume().await.unwrap_err();
    assert!(matches!(error, CheckpointError::Format { .. }), "{error}");
    assert!(!error.is_corruption(), "nothing is to be made anew");
}

/// As if a save had been killed after its manifest, or after a chunk: the root doesn't list it.
#[tokio::test]
async fn what_is_not_listed_is_not_there() {
    let (store, place) = memory();
    let checkpoints = Checkpoints::open(&place);
    save(&checkpoints, [1]).await;
    let root = read(&*store, ROOT).await;
    save(&checkpoints, [2]).await;
    write(&*store, ROOT, root).await;
    let (_, found) = checkpoints.resume().await.unwrap();
    let found = found.unwrap();
    assert_eq!((found.loaded.entry.id, found.passed_over), (CheckpointId(1), vec![]));
    let missing = checkpoints.choose(Selector::Step(2)).await.unwrap_err();
    assert!(matches!(missing, CheckpointError::Missing { .. }), "{missing}");
    assert!(missing.to_string().contains("step-00000002"), "{missing}");
}

/// It's unknown what a damaged manifest refers to.
#[tokio::test]
async fn nothing_is_deleted_beside_a_damaged_manifest_until_its_checkpoint_goes() {
    let (store, place) = memory();
    let checkpoints = Checkpoints::open(&place);
    save(&checkpoints, 1..4).await;
    let second = checkpoints.find(Selector::Step(2)).await.unwrap();
    damage(&*store, &own_objects(&checkpoints, &second).await[0]).await;
    let before = stored(&*store).await;
    let error = checkpoints.prune(&|_| [CheckpointId(1)].into(), Duration::ZERO).await.unwrap_err();
    assert!(error.to_string().contains(&second.save.to_string()), "{error}");
    assert_eq!(stored(&*store).await, before);
    let both = |_: &_| [CheckpointId(1), CheckpointId(2)].into();
    assert_eq!(checkpoints.prune(&both, Duration::ZERO).await.unwrap().removed.len(), 2);
    assert!(checkpoints.choose(Selector::Latest).await.unwrap().passed_over.is_empty());
}

/// Local directories know no conditional writes; what comes one after the other is told apart there.
#[tokio::test]
async fn directories_work_too() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::directory(dir.path()).unwrap();
    let checkpoints = Checkpoints::open(&place);
    save(&checkpoints, 1..4).await;
    let (mut one, found) = checkpoints.resume().await.unwrap();
    assert_eq!(found.unwrap().loaded.parts["weights"], "weights after 3 steps");
    let (mut other, _) = checkpoints.resume().await.unwrap();
    one.save(&small(4), &|_| ()).await.unwrap();
    let raced = other.save(&small(4), &|_| ()).await.unwrap_err();
    assert!(matches!(raced, CheckpointError::Raced { .. }), "{raced}");
    checkpoints.pin(CheckpointId(1), true).await.unwrap();
    one.save(&small(5), &|_| ()).await.unwrap();
    let all = |_: &_| (1..6).map(CheckpointId).collect();
    checkpoints.prune(&all, Duration::ZERO).await.unwrap();
    let root = checkpoints.root().await.unwrap().unwrap();
    let ids: Vec<u64> = root.checkpoints().iter().map(|entry| entry.id.0).collect();
    assert_eq!(ids, [1, 5]);
    assert!(checkpoints.choose(Selector::Step(1)).await.is_ok());
}

/// A root whose parts contradict each other isn't taken.
#[tokio::test]
async fn contradictions_are_refused() {
    let (store, place) = memory();
    let checkpoints = Checkpoints::open(&place);
    save(&checkpoints, 1..3).await;
    let root = String::from_utf8(read(&*store, ROOT).await).unwrap();
    for (from, to) in [
        ("\"latest\": \"step-00000002\"", "\"latest\": \"step-00000009\""),
        ("\"id\": \"step-00000001\"", "\"id\": \"step-00000002\""),
        ("\"sample\": 1", "\"sample\": -1"),
        ("\"sweeps\"", "\"swops\""),
    ] {
        assert!(root.contains(from), "{root}");
        write(&*store, ROOT, root.replace(from, to).into()).await;
        let error = checkpoints.root().await.unwrap_err();
        assert!(error.is_corruption(), "{error}");
    }
    // Right by its hash, but somebody else's.
    write(&*store, ROOT, root.clone().into()).await;
    let [one, two] = [1, 2].map(Selector::Step);
    let (one, two) = (checkpoints.find(one).await.unwrap(), checkpoints.find(two).await.unwrap());
    let error = checkpoints.manifest(&Entry { id: one.id, ..two }).await.unwrap_err();
    assert!(error.to_string().contains("another checkpoint"), "{error}");
    assert_ne!(one.manifest, Digest::of(b""));
}
