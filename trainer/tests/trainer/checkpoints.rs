//! Damaged checkpoints are named and passed over, and learned again; stores that fail or hang, and
//! trainers that race, end a run with an error and no loss. How they're stored is tested in the
//! client.

#[path = "../../../client/tests/support/hooked.rs"]
mod hooked;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use coffer_client::checkpoint::{Activity, Cut, Manifest, Snapshot};
use coffer_client::place::Place;
use coffer_train::checkpoint::{CheckpointError, CheckpointId, Checkpoints, STATE, Selector};
use coffer_train::train::{Event, Run, RunError};
use futures::FutureExt;
use object_store::Error;
use object_store::memory::InMemory;
use tokio::sync::{Notify, watch};

use crate::support::{damage, dataset, load, memory, runtime, steps, train, watched};
use hooked::{Fate, Hook, Hooked, Request};

fn every(steps: u64) -> impl Fn(&mut Run<'_>) {
    move |run| run.saving.every = NonZeroU64::new(steps)
}

#[test]
fn a_damaged_newest_checkpoint_is_named_and_what_it_had_is_learned_again() {
    let runtime = runtime();
    let dataset = dataset(&runtime, &memory());
    for part in ["model.safetensors", "optimizer.safetensors", STATE, "manifest.json"] {
        let place = memory();
        let (whole, _) = train(&runtime, &dataset, &place, 3, |_| ()).unwrap();
        let sound = load(&runtime, &place, Selector::Latest);
        let save = sound.entry.save;
        let name = sound.manifest.parts.get(part).map_or(part.to_owned(), |part| {
            assert_eq!(part.chunks.len(), 1);
            part.chunks[0].blake3.to_string()
        });
        let name = format!("checkpoints/saves/{save}/{name}");
        damage(&runtime, &place, &name);

        let (again, warnings) = train(&runtime, &dataset, &place, 3, |_| ()).unwrap();
        assert_eq!(warnings.len(), 1);
        let expected = format!("corrupt checkpoint: memory://test/{name}: ");
        assert!(warnings[0].starts_with(&expected), "{}", warnings[0]);
        assert_eq!(again.history[2].test, whole.history[2].test, "the epoch is learned again");
        let anew = load(&runtime, &place, Selector::Latest);
        assert_eq!(anew.entry.id, sound.entry.id);
        assert!(anew.parts["model.safetensors"] == sound.parts["model.safetensors"]);
    }
}

#[test]
fn with_every_checkpoint_damaged_nothing_is_overwritten() {
    let runtime = runtime();
    let (dataset, place) = (dataset(&runtime, &memory()), memory());
    train(&runtime, &dataset, &place, 2, |_| ()).unwrap();
    let manifests = [1, 2].map(|epoch| {
        let save = load(&runtime, &place, Selector::Epoch(epoch)).entry.save;
        format!("checkpoints/saves/{save}/manifest.json")
    });
    manifests.iter().for_each(|name| damage(&runtime, &place, name));
    let error = train(&runtime, &dataset, &place, 2, |_| ()).unwrap_err();
    assert!(error.is_corruption());
    assert!(error.to_string().contains(&manifests[1]), "{error}");
}

#[test]
fn lineage_tells_where_a_checkpoint_came_from() {
    let runtime = runtime();
    let (dataset, place) = (dataset(&runtime, &memory()), memory());
    train(&runtime, &dataset, &place, 1, |_| ()).unwrap();
    let (outcome, _) = train(&runtime, &dataset, &place, 2, |_| ()).unwrap();
    let [one, two] = [1, 2].map(|epoch| load(&runtime, &place, Selector::Epoch(epoch)));
    let (first, second) = (one.manifest.lineage, two.manifest.lineage);
    assert_eq!(first.run, second.run, "the run's id lasts");
    let parent = second.parent.unwrap();
    assert_eq!((first.parent, parent.checkpoint), (None, one.entry.id));
    assert_eq!(parent.manifest, one.entry.manifest);
    let data = second.dataset.unwrap();
    assert_eq!((data.address.as_str(), data.version), ("memory://test", dataset.index().version));
    assert_eq!(second.config["seed"], 5);
    assert_eq!(second.program.name, "coffer-train");
    let metrics = two.entry.metrics;
    assert_eq!(metrics.get("test_loss"), Some(outcome.history[1].test.total()));
    assert_eq!(metrics.get("train_loss"), Some(outcome.history[1].train.total()));
}

#[test]
fn checkpoints_are_taken_every_so_many_steps_and_old_ones_deleted() {
    let runtime = runtime();
    let (dataset, place) = (dataset(&runtime, &memory()), memory());
    let (status, stalls) = (watch::Sender::default(), AtomicUsize::new(0));
    let mut saved = Vec::new();
    let change = |run: &mut Run<'_>| {
        every(4)(run);
        run.saving.status = status.clone();
        // The newest three and the ends of epochs.
        run.saving.retain = Some(Arc::new(|root| {
            let old = root.checkpoints().iter().rev().skip(3);
            let old = old.filter(|entry| entry.position.ended_epoch().is_none());
            old.map(|entry| entry.id).collect()
        }));
    };
    let (outcome, _) = watched(&runtime, &dataset, &place, 2, change, |event, _| match event {
        Event::Saving { .. } => drop(stalls.fetch_add(1, Ordering::Relaxed)),
        Event::Saved(written) => {
            assert!(written.unpruned.is_none());
            saved.push(written.saved.entry.id.0);
        }
        _ => (),
    })
    .unwrap();
    // Thirteen steps an epoch.
    assert_eq!(saved, [4, 8, 12, 13, 16, 20, 24, 26]);
    assert_eq!(stalls.into_inner(), saved.len());
    assert_eq!(steps(&runtime, &place), [13, 20, 24, 26]);
    assert_eq!(outcome.checkpoint, Some(CheckpointId(26)));
    let status = status.borrow().clone();
    assert_eq!((status.activity, status.saves), (Activity::Idle, 8));
    assert!(outcome.history.iter().all(|record| record.timing.stall_seconds > 0.0));
}

/// A store that takes no more of checkpoints once it is broken, and the same without a fault.
fn breaking() -> (Place, Place, Arc<AtomicBool>) {
    let (inner, broken) = (Arc::new(InMemory::new()), Arc::new(AtomicBool::new(false)));
    let flag = Arc::clone(&broken);
    let hook: Hook = Arc::new(move |request, name, _| {
        let breaks = flag.load(Ordering::SeqCst)
            && request == Request::Put
            && name.starts_with("checkpoints/");
        let full = Error::Generic { store: "test", source: "disk full".into() };
        async move { if breaks { Err(full) } else { Ok(Fate::Answered) } }.boxed()
    });
    let plain = Place::new(Arc::clone(&inner) as _, "memory://test");
    (Place::new(Arc::new(Hooked::new(inner, hook)), "memory://test"), plain, broken)
}

#[test]
fn a_store_that_fails_in_the_background_ends_the_run_and_loses_nothing() {
    let runtime = runtime();
    let dataset = dataset(&runtime, &memory());
    let (place, plain, broken) = breaking();
    let status = watch::Sender::default();
    let change = |run: &mut Run<'_>| {
        every(3)(run);
        run.saving.status = status.clone();
    };
    let error = watched(&runtime, &dataset, &place, 9, change, |event, _| {
        if let Event::Saved(written) = event {
            broken.store(written.saved.entry.id == CheckpointId(6), Ordering::SeqCst);
        }
    })
    .unwrap_err();
    assert!(matches!(error, RunError::Checkpoint(_)), "{error}");
    assert!(error.to_string().contains("disk full"), "{error}");
    assert!(error.to_string().contains("memory://test/checkpoints/saves/"), "{error}");
    assert!(
        matches!(&status.borrow().activity, Activity::Failed(why) if why.contains("disk full"))
    );
    assert_eq!(steps(&runtime, &plain), [3, 6]);
    let (outcome, warnings) = train(&runtime, &dataset, &plain, 1, |_| ()).unwrap();
    assert_eq!((outcome.checkpoint, warnings), (Some(CheckpointId(13)), vec![]));
}

/// While the store hangs, learning goes on to where the next checkpoint is due.
#[test]
fn learning_does_not_wait_for_the_store_before_the_next_checkpoint_is_due() {
    let runtime = runtime();
    let dataset = dataset(&runtime, &memory());
    let (inner, gate) = (Arc::new(InMemory::new()), Arc::new(Notify::new()));
    let (opened, waits) = (Arc::new(AtomicBool::new(false)), Arc::clone(&gate));
    let open = Arc::clone(&opened);
    let hook: Hook = Arc::new(move |request, name, _| {
        let waits = Arc::clone(&waits);
        let held = request == Request::Put
            && name.starts_with("checkpoints/")
            && !open.load(Ordering::SeqCst);
        async move {
            if held {
                waits.notified().await;
            }
            Ok(Fate::Answered)
        }
        .boxed()
    });
    let place = Place::new(Arc::new(Hooked::new(inner, hook)), "memory://test");
    // The epoch ends, is judged and drawn while its checkpoint can't be written.
    let mut seen = Vec::new();
    let (outcome, _) = watched(
        &runtime,
        &dataset,
        &place,
        1,
        |_| (),
        |event, _| match event {
            Event::Saving { .. } => seen.push("saving"),
            Event::Epoch(_) => {
                seen.push("epoch");
                opened.store(true, Ordering::SeqCst);
                gate.notify_waiters();
                // One for a request that comes between.
                gate.notify_one();
            }
            Event::Saved(_) => seen.push("saved"),
            _ => (),
        },
    )
    .unwrap();
    assert_eq!(seen, ["saving", "epoch", "saved"]);
    assert_eq!(steps(&runtime, &place), [13]);
    assert_eq!(outcome.history.len(), 1);
}

/// Another trainer takes over the run while this one goes on.
#[test]
fn of_two_trainers_on_one_run_one_goes_on_and_the_other_ends_with_an_error() {
    let runtime = runtime();
    let (dataset, place) = (dataset(&runtime, &memory()), memory());
    let mut raced = false;
    let error = watched(
        &runtime,
        &dataset,
        &place,
        4,
        |_| (),
        |event, _| {
            // It's safe, and this trainer is at its second epoch.
            if matches!(event, Event::Saved(written) if written.saved.entry.id == CheckpointId(13))
            {
                let (other, _) = train(&runtime, &dataset, &place, 3, |_| ()).unwrap();
                raced = other.checkpoint == Some(CheckpointId(39));
            }
        },
    )
    .unwrap_err();
    assert!(raced);
    assert!(matches!(error, RunError::Checkpoint(CheckpointError::Raced { .. })), "{error}");
    assert!(error.to_string().contains("step-00000039"), "{error}");
    for epoch in 1..4 {
        load(&runtime, &place, Selector::Epoch(epoch));
    }
    assert_eq!(steps(&runtime, &place), [13, 26, 39]);
}

/// A store that can't compare and swap: a local directory.
#[test]
fn checkpoints_work_in_a_directory() {
    let runtime = runtime();
    let dataset = dataset(&runtime, &memory());
    let dir = tempfile::tempdir().unwrap();
    let place = Place::directory(dir.path()).unwrap();
    train(&runtime, &dataset, &place, 1, |_| ()).unwrap();
    let (outcome, _) = train(&runtime, &dataset, &place, 2, every(5)).unwrap();
    assert_eq!(outcome.checkpoint, Some(CheckpointId(26)));
    assert_eq!(steps(&runtime, &place), [13, 15, 20, 25, 26]);
    for file in ["checkpoints/index.json", "plots/loss.png", "plots/grid-epoch-0001.png"] {
        assert!(dir.path().join(file).is_file(), "{file}");
    }
}

/// Weights of another model don't slip in.
#[test]
fn weights_that_do_not_fit_are_refused() {
    let runtime = runtime();
    let (dataset, place) = (dataset(&runtime, &memory()), memory());
    train(&runtime, &dataset, &place, 1, |_| ()).unwrap();
    runtime.block_on(async {
        let (mut saver, found) = Checkpoints::open(&place).resume().await.unwrap();
        let loaded = found.unwrap().loaded;
        let mut parts = loaded.parts;
        parts.insert("model.safetensors".into(), parts["optimizer.safetensors"].clone());
        let Manifest { checkpoint: id, created, position, best, lineage, metrics, energy, .. } =
            loaded.manifest;
        let forged = Snapshot { id, created, position, best, parts, lineage, metrics, energy };
        saver.save(&Cut::of(forged), &|_| ()).await.unwrap();
    });
    let error = train(&runtime, &dataset, &place, 2, |_| ()).unwrap_err();
    assert!(matches!(error, RunError::Learner(_)), "{error}");
}
