//! Saving in the background: one at a time, failures told, nothing lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use coffer_client::checkpoint::{
    Activity, CheckpointError, CheckpointId, Checkpoints, Selector, Writer,
};
use coffer_client::place::Place;
use futures::FutureExt;
use object_store::Error;
use object_store::memory::InMemory;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};

use crate::hooked::{Fate, Hook, Hooked, Request};
use crate::support::snapshot;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn shot(step: u64) -> coffer_client::checkpoint::Snapshot {
    snapshot(step, &[("weights", Bytes::from(step.to_string()))])
}

/// A store whose writes need a permit each.
fn gated() -> (Arc<InMemory>, Place, Arc<Semaphore>) {
    let (inner, gate) = (Arc::new(InMemory::new()), Arc::new(Semaphore::new(0)));
    let waits = Arc::clone(&gate);
    let hook: Hook = Arc::new(move |request, _, _| {
        let waits = Arc::clone(&waits);
        async move {
            if request == Request::Put {
                waits.acquire().await.unwrap().forget();
            }
            Ok(Fate::Answered)
        }
        .boxed()
    });
    let place = Place::new(Arc::new(Hooked::new(Arc::clone(&inner), hook)), "memory://run");
    (inner, place, gate)
}

#[test]
fn one_is_under_way_and_the_next_waits_for_it() {
    let runtime = runtime();
    let (inner, place, gate) = gated();
    let plain = Checkpoints::open(&Place::new(inner, "memory://run"));
    let (saver, _) = runtime.block_on(Checkpoints::open(&place).resume()).unwrap();
    let told = watch::Sender::default();
    let mut status = told.subscribe();
    let mut writer = Writer::new(runtime.handle(), saver, None, told);
    assert!(writer.save(shot(1)).unwrap().is_none(), "it returns before anything is written");
    assert_eq!(
        status.borrow_and_update().activity,
        Activity::Writing { checkpoint: CheckpointId(1), written: 0, bytes: 1 }
    );
    assert!(writer.poll().unwrap().is_none());
    assert_eq!(runtime.block_on(plain.root()).unwrap(), None);

    // The second can't begin before all three objects of the first are written.
    let second = std::thread::spawn(move || {
        let first = writer.save(shot(2)).unwrap().unwrap();
        (first, writer)
    });
    gate.add_permits(2);
    runtime.block_on(async {
        let written = |status: &coffer_client::checkpoint::Status| {
            matches!(status.activity, Activity::Writing { written: 1, .. })
        };
        status.wait_for(written).await.unwrap();
    });
    assert!(!second.is_finished());
    gate.add_permits(1);
    let (first, mut writer) = second.join().unwrap();
    assert_eq!(first.saved.entry.id, CheckpointId(1));
    assert_eq!(runtime.block_on(plain.find(Selector::Latest)).unwrap().id, CheckpointId(1));
    gate.add_permits(3);
    assert_eq!(writer.finish().unwrap().unwrap().saved.entry.id, CheckpointId(2));
    assert!(writer.finish().unwrap().is_none());
    let now = status.borrow().clone();
    assert_eq!((now.activity, now.saves, now.written), (Activity::Idle, 2, 2));
    assert_eq!(now.last.unwrap().entry.id, CheckpointId(2));
}

#[test]
fn a_failure_is_told_at_the_next_chance_and_nothing_is_saved_after_it() {
    let runtime = runtime();
    let inner = Arc::new(InMemory::new());
    let puts = AtomicUsize::new(0);
    let hook: Hook = Arc::new(move |request, _, _| {
        let put = if request == Request::Put { puts.fetch_add(1, Ordering::Relaxed) } else { 0 };
        let full = Error::Generic { store: "test", source: "the disk is full".into() };
        async move { if put < 4 { Ok(Fate::Answered) } else { Err(full) } }.boxed()
    });
    let place = Place::new(Arc::new(Hooked::new(inner, hook)), "memory://run");
    let checkpoints = Checkpoints::open(&place);
    let (saver, _) = runtime.block_on(checkpoints.resume()).unwrap();
    let told = watch::Sender::default();
    let mut status = told.subscribe();
    let mut writer = Writer::new(runtime.handle(), saver, None, told);
    writer.save(shot(1)).unwrap();
    writer.save(shot(2)).unwrap();
    let failed =
        |status: &coffer_client::checkpoint::Status| matches!(status.activity, Activity::Failed(_));
    runtime.block_on(async { status.wait_for(failed).await.map(drop) }).unwrap();
    let error = writer.save(shot(3)).unwrap_err();
    assert!(error.to_string().contains("the disk is full"), "{error}");
    assert!(matches!(writer.save(shot(4)), Err(CheckpointError::Stopped)));
    let found = runtime.block_on(checkpoints.choose(Selector::Latest)).unwrap();
    assert_eq!(found.loaded.entry.id, CheckpointId(1));
}

#[test]
fn a_store_that_hangs_is_given_up() {
    let runtime = runtime();
    let (_, place, _gate) = gated();
    let checkpoints = Checkpoints::open(&place).with_patience(Duration::from_millis(50));
    let (saver, _) = runtime.block_on(checkpoints.resume()).unwrap();
    let mut writer = Writer::new(runtime.handle(), saver, None, watch::Sender::default());
    writer.save(shot(1)).unwrap();
    let error = writer.finish().unwrap_err();
    assert!(matches!(error, CheckpointError::Silent { .. }), "{error}");
    assert!(error.to_string().contains("memory://run/checkpoints/saves/"), "{error}");
}

#[test]
fn others_are_deleted_after_each_save_if_that_is_wanted() {
    let runtime = runtime();
    let place = Place::new(Arc::new(InMemory::new()), "memory://run");
    let checkpoints = Checkpoints::open(&place);
    let (saver, _) = runtime.block_on(checkpoints.resume()).unwrap();
    let all = |root: &coffer_client::checkpoint::Root| {
        root.checkpoints().iter().map(|entry| entry.id).collect()
    };
    let mut writer =
        Writer::new(runtime.handle(), saver, Some(Arc::new(all)), watch::Sender::default());
    for step in 1..5 {
        writer.save(shot(step)).unwrap();
    }
    assert!(writer.finish().unwrap().unwrap().unpruned.is_none());
    let root = runtime.block_on(checkpoints.root()).unwrap().unwrap();
    assert_eq!(root.checkpoints().len(), 1);
    assert_eq!(root.latest().id, CheckpointId(4));
}
