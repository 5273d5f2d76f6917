//! The single writer of the catalog, and reads beside it.
//!
//! Commands queue up to one writer thread. It applies all that wait, makes them durable with one
//! fsync, and only then answers: a group commit. Between applying and the fsync a change can be
//! seen below but is not durable yet; a read that may have seen such a change waits for the fsync,
//! so that nobody is ever told what a crash could take back.

use super::sled_kv::SledKv;
use coffer_core::catalog::{CatalogError, Command, Kv, Machine, Outcome, Scope, SealedKv};
use coffer_core::ids::{BucketName, ObjectKey};
use coffer_core::random::OsRandom;
use coffer_core::seal::{Envelope, Key};
use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::{mpsc, oneshot, watch};

/// Commands that may wait; beyond it, callers wait.
const QUEUE: usize = 1024;
/// Commands that share one fsync at most.
const GROUP: usize = 256;

/// The catalog's state machine over whichever store.
pub type Catalog = Machine<Arc<dyn Kv>>;

type Reply = oneshot::Sender<Result<Outcome, CatalogError>>;

/// What the group at hand changes.
#[derive(Debug, Default)]
struct Pending {
    group: u64,
    buckets: HashSet<BucketName>,
    objects: HashSet<(BucketName, ObjectKey)>,
}

impl Pending {
    fn add(&mut self, command: &Command) {
        match command.scope() {
            Scope::Bucket(bucket) => drop(self.buckets.insert(bucket.clone())),
            Scope::Object(bucket, key) => drop(self.objects.insert((bucket.clone(), key.clone()))),
            Scope::Cluster | Scope::Hidden => {}
        }
    }
}

/// How far the writer has come.
#[derive(Debug, Clone)]
enum Progress {
    /// All groups up to this one are durable.
    Synced(u64),
    /// Durability was lost; nothing may be acknowledged any more.
    Failed(String),
}

/// A handle on the catalog; clones share it.
#[derive(Clone)]
pub struct CatalogHandle {
    machine: Catalog,
    pending: Arc<RwLock<Pending>>,
    progress: watch::Receiver<Progress>,
    commands: mpsc::Sender<(Command, Reply)>,
}

impl std::fmt::Debug for CatalogHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CatalogHandle").field("progress", &*self.progress.borrow()).finish()
    }
}

impl CatalogHandle {
    /// Opens the catalog in `dir`, sealed by a key that derives from `master`.
    ///
    /// # Errors
    /// When the directory can't be used, is open elsewhere, or was sealed under another key.
    pub fn open(dir: &Path, master: &Key) -> Result<Self, CatalogError> {
        let envelope = Envelope::new(master.derive("coffer catalog v1"));
        let sealed = SealedKv::new(SledKv::open(dir)?, envelope, Arc::new(OsRandom));
        let handle = Self::start(Arc::new(sealed))?;
        // Any value that does not open says at once that the key is not the one.
        handle.machine.buckets()?;
        Ok(handle)
    }

    /// Starts the writer on any store.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(store: Arc<dyn Kv>) -> Result<Self, CatalogError> {
        let machine = Machine::new(store);
        let pending = Arc::new(RwLock::new(Pending::default()));
        let (commands, queue) = mpsc::channel(QUEUE);
        let (progress_tx, progress) = watch::channel(Progress::Synced(0));
        let writer =
            Writer { machine: machine.clone(), pending: pending.clone(), progress: progress_tx };
        std::thread::Builder::new()
            .name("catalog".into())
            .spawn(move || writer.run(queue))
            .map_err(|e| CatalogError::Stopped(format!("no thread for the catalog: {e}")))?;
        Ok(Self { machine, pending, progress, commands })
    }

    /// Applies a command. When it returns `Ok`, the change is durable.
    ///
    /// # Errors
    /// [`CatalogError`]. After [`CatalogError::Stopped`] the change may or may not have happened.
    pub async fn submit(&self, command: Command) -> Result<Outcome, CatalogError> {
        let stopped = || CatalogError::Stopped("the gateway is shutting down".into());
        let (reply, answer) = oneshot::channel();
        self.commands.send((command, reply)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// Looks something up. `scope` is what the query looks at; the answer is durable.
    ///
    /// # Errors
    /// The query's.
    pub async fn read<T>(
        &self,
        scope: Scope<'_>,
        query: impl FnOnce(&Catalog) -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        let answer = query(&self.machine);
        if let Some(group) = self.group_touching(scope) {
            self.wait_for(group).await?;
        }
        answer
    }

    /// Lists something in a bucket, away from the threads that serve connections; the answer is
    /// durable.
    ///
    /// # Errors
    /// The query's.
    pub async fn list<T: Send + 'static>(
        &self,
        bucket: BucketName,
        query: impl FnOnce(&Catalog, &BucketName) -> Result<T, CatalogError> + Send + 'static,
    ) -> Result<T, CatalogError> {
        let machine = self.machine.clone();
        let name = bucket.clone();
        let listing = tokio::task::spawn_blocking(move || query(&machine, &name))
            .await
            .map_err(|e| CatalogError::Stopped(e.to_string()))?;
        let touched = {
            let pending = self.pending.read().unwrap_or_else(PoisonError::into_inner);
            (pending.buckets.contains(&bucket) || pending.objects.iter().any(|(b, _)| *b == bucket))
                .then_some(pending.group)
        };
        if let Some(group) = touched {
            self.wait_for(group).await?;
        }
        listing
    }

    /// The group at hand, if it changes something in `scope`.
    fn group_touching(&self, scope: Scope<'_>) -> Option<u64> {
        let pending = self.pending.read().unwrap_or_else(PoisonError::into_inner);
        let touched = match scope {
            Scope::Bucket(bucket) => pending.buckets.contains(bucket),
            Scope::Object(bucket, key) => {
                pending.buckets.contains(bucket)
                    || (!pending.objects.is_empty()
                        && pending.objects.contains(&(bucket.clone(), key.clone())))
            }
            Scope::Cluster | Scope::Hidden => false,
        };
        touched.then_some(pending.group)
    }

    async fn wait_for(&self, group: u64) -> Result<(), CatalogError> {
        let reached = |p: &Progress| match p {
            Progress::Synced(done) => *done >= group,
            Progress::Failed(_) => true,
        };
        let mut progress = self.progress.clone();
        match progress.wait_for(reached).await.as_deref() {
            Ok(Progress::Synced(_)) => Ok(()),
            Ok(Progress::Failed(why)) => Err(CatalogError::Stopped(why.clone())),
            Err(_) => Err(CatalogError::Stopped("the gateway is shutting down".into())),
        }
    }
}

/// Runs on its own thread until all handles are gone.
struct Writer {
    machine: Catalog,
    pending: Arc<RwLock<Pending>>,
    progress: watch::Sender<Progress>,
}

impl Writer {
    fn run(self, mut queue: mpsc::Receiver<(Command, Reply)>) {
        let mut group = 0;
        while let Some(first) = queue.blocking_recv() {
            group += 1;
            let mut commands = vec![first];
            while commands.len() < GROUP {
                match queue.try_recv() {
                    Ok(next) => commands.push(next),
                    Err(_) => break,
                }
            }
            self.announce(group, &commands);
            let answers: Vec<_> = commands
                .into_iter()
                .map(|(command, reply)| (self.machine.apply(command), reply))
                .collect();
            if let Err(error) = self.machine.sync() {
                let why = format!(
                    "the catalog could not be made durable ({error}); restart the gateway once its disk is sound"
                );
                tracing::error!(%why, "catalog stopped");
                self.progress.send_replace(Progress::Failed(why.clone()));
                for (_, reply) in answers {
                    let _ = reply.send(Err(CatalogError::Stopped(why.clone())));
                }
                return self.refuse(queue, &why);
            }
            self.clear();
            self.progress.send_replace(Progress::Synced(group));
            for (answer, reply) in answers {
                // Whoever asked may have gone; the command is done all the same.
                let _ = reply.send(answer);
            }
        }
    }

    fn announce(&self, group: u64, commands: &[(Command, Reply)]) {
        let mut pending = self.pending.write().unwrap_or_else(PoisonError::into_inner);
        pending.group = group;
        for (command, _) in commands {
            pending.add(command);
        }
    }

    fn clear(&self) {
        let mut pending = self.pending.write().unwrap_or_else(PoisonError::into_inner);
        pending.buckets.clear();
        pending.objects.clear();
    }

    /// After a failed fsync nobody knows what is on disk: answer every command with an error.
    fn refuse(&self, mut queue: mpsc::Receiver<(Command, Reply)>, why: &str) {
        while let Some((_, reply)) = queue.blocking_recv() {
            let _ = reply.send(Err(CatalogError::Stopped(why.to_owned())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_core::bucket::BucketSettings;
    use coffer_core::catalog::kv::Rows;
    use coffer_core::catalog::records::BucketRecord;
    use coffer_core::catalog::{Batch, KvError, MemoryKv, Table};
    use coffer_core::erasure::Code;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A store whose fsync waits for a permit, counts, and can be made to fail.
    #[derive(Default)]
    struct Gated {
        inner: MemoryKv,
        gate: Mutex<Option<std::sync::mpsc::Receiver<bool>>>,
        syncs: AtomicUsize,
    }

    impl Kv for Gated {
        fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
            self.inner.get(table, key)
        }
        fn scan(&self, t: Table, from: &[u8], until: &[u8], n: usize) -> Result<Rows, KvError> {
            self.inner.scan(t, from, until, n)
        }
        fn commit(&self, batch: Batch) -> Result<(), KvError> {
            self.inner.commit(batch)
        }
        fn sync(&self) -> Result<(), KvError> {
            self.syncs.fetch_add(1, Ordering::Relaxed);
            match &*self.gate.lock().unwrap() {
                Some(gate) if !gate.recv().unwrap_or(true) => Err(KvError::Io("gone".into())),
                _ => Ok(()),
            }
        }
    }

    fn create(name: &str) -> Command {
        Command::CreateBucket {
            bucket: BucketName::new(name).unwrap(),
            record: BucketRecord {
                created_ms: 1,
                wrapped_key: vec![],
                code: Code::DEFAULT,
                owner: "root".into(),
                settings: BucketSettings::default(),
            },
        }
    }

    fn gated() -> (Arc<Gated>, std::sync::mpsc::Sender<bool>, CatalogHandle) {
        let (open, gate) = std::sync::mpsc::channel();
        let store = Arc::new(Gated { gate: Mutex::new(Some(gate)), ..Gated::default() });
        let handle = CatalogHandle::start(store.clone()).unwrap();
        (store, open, handle)
    }

    #[tokio::test]
    async fn a_read_never_tells_what_is_not_durable_yet() {
        let (store, open, handle) = gated();
        let name = BucketName::new("abc").unwrap();
        let write = tokio::spawn({
            let handle = handle.clone();
            async move { handle.submit(create("abc")).await }
        });
        while store.syncs.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        // Applied below, but the fsync hangs: the read must hang with it.
        let mut read = Box::pin(handle.read(Scope::Bucket(&name), |c| c.bucket(&name)));
        assert!(futures::poll!(&mut read).is_pending());
        let other = BucketName::new("other").unwrap();
        let unrelated = handle.read(Scope::Bucket(&other), |c| c.bucket(&other)).await;
        assert_eq!(unrelated, Err(CatalogError::NoSuchBucket), "others need not wait");
        open.send(true).unwrap();
        assert!(read.await.is_ok());
        assert_eq!(write.await.unwrap(), Ok(Outcome::Done));
    }

    #[tokio::test]
    async fn after_a_failed_fsync_nothing_is_acknowledged() {
        let (_, open, handle) = gated();
        open.send(false).unwrap();
        assert!(matches!(handle.submit(create("abc")).await, Err(CatalogError::Stopped(_))));
        assert!(matches!(handle.submit(create("def")).await, Err(CatalogError::Stopped(_))));
        let name = BucketName::new("abc").unwrap();
        let read = handle.read(Scope::Bucket(&name), |c| c.bucket(&name)).await;
        assert!(matches!(read, Err(CatalogError::Stopped(_))));
    }

    #[tokio::test]
    async fn waiting_commands_share_one_fsync() {
        let (store, open, handle) = gated();
        let writes: Vec<_> = (0..64)
            .map(|i| {
                let handle = handle.clone();
                tokio::spawn(async move { handle.submit(create(&format!("bucket-{i}"))).await })
            })
            .collect();
        while handle.commands.capacity() > QUEUE - 63 {
            tokio::task::yield_now().await;
        }
        drop(open);
        for write in writes {
            assert_eq!(write.await.unwrap(), Ok(Outcome::Done));
        }
        assert!(store.syncs.load(Ordering::Relaxed) <= 3);
    }

    #[test]
    fn the_wrong_master_key_is_noticed_on_opening() {
        let dir = tempfile::tempdir().unwrap();
        let open = |n: u8| CatalogHandle::open(dir.path(), &Key::from_bytes([n; 32]));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let handle = open(1).unwrap();
        runtime.block_on(handle.submit(create("abc"))).unwrap();
        let machine = handle.machine.clone();
        drop((handle, machine));
        // sled keeps its lock until the writer thread has let go of it.
        let error = loop {
            match open(2).map(|_| ()) {
                Err(CatalogError::Kv(KvError::Io(_))) => std::thread::yield_now(),
                other => break other,
            }
        };
        assert!(matches!(error, Err(CatalogError::Kv(KvError::Corrupt { .. }))), "{error:?}");
    }
}
