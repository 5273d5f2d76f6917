//! A lone gateway's catalog.

use super::{create, exists};
use crate::catalog::CatalogHandle;
use crate::catalog::raft::options::Options;
use crate::catalog::store::{MemoryTrees, Trees, Work};
use coffer_core::catalog::kv::Rows;
use coffer_core::catalog::{Batch, CatalogError, Kv, KvError, Outcome, Table};
use coffer_core::seal::Key;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Trees whose syncs wait for a permit once there is a gate, count, and can be made to fail.
#[derive(Default)]
struct Gated {
    trees: MemoryTrees,
    gate: Mutex<Option<std::sync::mpsc::Receiver<bool>>>,
    syncs: AtomicUsize,
}

struct GatedTree(Arc<Gated>, Arc<dyn Kv>);

impl Trees for Arc<Gated> {
    fn open(&self, name: &str) -> Result<Arc<dyn Kv>, KvError> {
        Ok(Arc::new(GatedTree(self.clone(), self.trees.open(name)?)))
    }
    fn names(&self) -> Result<Vec<String>, KvError> {
        self.trees.names()
    }
    fn remove(&self, name: &str) -> Result<(), KvError> {
        self.trees.remove(name)
    }
}

impl Kv for GatedTree {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.1.get(table, key)
    }
    fn scan(&self, t: Table, from: &[u8], until: &[u8], n: usize) -> Result<Rows, KvError> {
        self.1.scan(t, from, until, n)
    }
    fn commit(&self, batch: Batch) -> Result<(), KvError> {
        self.1.commit(batch)
    }
    fn sync(&self) -> Result<(), KvError> {
        self.0.syncs.fetch_add(1, Ordering::SeqCst);
        match &*self.0.gate.lock().unwrap() {
            Some(gate) if !gate.recv().unwrap_or(true) => Err(KvError::Io("gone".into())),
            _ => self.1.sync(),
        }
    }
}

/// A catalog whose syncs wait from now on, and that has nothing under way.
async fn gated() -> (Arc<Gated>, std::sync::mpsc::Sender<bool>, CatalogHandle) {
    let store = Arc::new(Gated::default());
    let master = Key::from_bytes([7; 32]);
    let handle =
        CatalogHandle::start(Arc::new(store.clone()), &master, Options::alone()).await.unwrap();
    handle.submit(create("first")).await.unwrap();
    let (open, gate) = std::sync::mpsc::channel();
    *store.gate.lock().unwrap() = Some(gate);
    store.syncs.store(0, Ordering::SeqCst);
    (store, open, handle)
}

async fn until_syncing(store: &Gated) {
    while store.syncs.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_read_never_tells_what_is_not_durable_yet() {
    let (store, open, handle) = gated().await;
    let write = tokio::spawn({
        let handle = handle.clone();
        async move { handle.submit(create("abc")).await }
    });
    until_syncing(&store).await;
    // The log's sync hangs: what it holds is not seen, and reads need not wait for it.
    assert_eq!(exists(&handle, "abc").await, Ok(false));
    assert_eq!(exists(&handle, "first").await, Ok(true));
    open.send(true).unwrap();
    assert_eq!(write.await.unwrap(), Ok(Outcome::Done));
    assert_eq!(exists(&handle, "abc").await, Ok(true));
}

#[tokio::test]
async fn after_a_failed_fsync_nothing_is_acknowledged() {
    let (_, open, handle) = gated().await;
    open.send(false).unwrap();
    assert!(matches!(handle.submit(create("abc")).await, Err(CatalogError::Stopped(_))));
    assert!(matches!(handle.submit(create("def")).await, Err(CatalogError::Stopped(_))));
    assert!(matches!(exists(&handle, "first").await, Err(CatalogError::Stopped(_))));
    // Whoever runs the gateway is told, and starts it anew.
    let failed = tokio::time::timeout(std::time::Duration::from_secs(60), handle.failed()).await;
    assert!(matches!(failed, Ok(CatalogError::Stopped(_))), "{failed:?}");
}

#[tokio::test]
async fn waiting_commands_share_one_fsync() {
    let (store, open, handle) = gated().await;
    let writes: Vec<_> = (0..64)
        .map(|i| {
            let handle = handle.clone();
            tokio::spawn(async move { handle.submit(create(&format!("bucket-{i}"))).await })
        })
        .collect();
    until_syncing(&store).await;
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
    drop(open);
    for write in writes {
        assert_eq!(write.await.unwrap(), Ok(Outcome::Done));
    }
    assert!(store.syncs.load(Ordering::SeqCst) <= 3);
}

/// Syncs that eight commands cost which come one after the other, each a good while after the last.
async fn syncs_of_eight(store: &Gated, handle: &CatalogHandle, round: usize) -> usize {
    store.syncs.store(0, Ordering::SeqCst);
    let writes = (0..8).map(|i| async move {
        for _ in 0..i * 50 {
            tokio::task::yield_now().await;
        }
        handle.submit(create(&format!("bucket-{round}-{i}"))).await
    });
    let outcomes = futures::future::join_all(writes).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Ok(Outcome::Done)));
    store.syncs.load(Ordering::SeqCst)
}

#[tokio::test]
async fn commands_that_were_announced_share_one_fsync() {
    let (store, open, handle) = gated().await;
    drop(open);
    let mut alone = 0;
    for round in 0..5 {
        alone += syncs_of_eight(&store, &handle, round).await;
    }
    assert!(alone > 5, "they come too close together to tell");
    // They are not waited for long: on a busy machine, a round may not suffice.
    let mut fewest = usize::MAX;
    for round in 5..50 {
        handle.expected().announce(8, std::time::Duration::from_secs(1));
        fewest = fewest.min(syncs_of_eight(&store, &handle, round).await);
    }
    assert_eq!(fewest, 1);
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_crash() {
    let trees = MemoryTrees::default();
    let master = Key::from_bytes([7; 32]);
    let options = Options { work: Work::Inline, ..Options::alone() };
    let handle =
        CatalogHandle::start(Arc::new(trees.clone()), &master, options.clone()).await.unwrap();
    handle.submit(create("abc")).await.unwrap();
    assert!(trees.unsynced() > 0, "the state is not synced for each command");
    let crashed = Arc::new(trees.crashed(0));
    let handle = CatalogHandle::start(crashed, &master, options).await.unwrap();
    assert_eq!(exists(&handle, "abc").await, Ok(true));
    assert_eq!(handle.submit(create("abc")).await, Err(CatalogError::BucketExists));
}

#[tokio::test]
async fn the_wrong_master_key_is_noticed_on_opening() {
    let dir = tempfile::tempdir().unwrap();
    let open = async |n: u8| CatalogHandle::open(dir.path(), &Key::from_bytes([n; 32])).await;
    let handle = open(1).await.unwrap();
    handle.submit(create("abc")).await.unwrap();
    handle.stop().await;
    drop(handle);
    // The store keeps its lock until the last task has let go of it.
    let error = loop {
        match open(2).await.map(|_| ()) {
            Err(CatalogError::Kv(KvError::Locked(_))) => tokio::task::yield_now().await,
            other => break other,
        }
    };
    assert!(matches!(error, Err(CatalogError::Kv(KvError::Corrupt { .. }))), "{error:?}");
}
