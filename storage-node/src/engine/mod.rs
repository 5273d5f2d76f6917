//! The node's engine: storing, reading and deleting shards.
//!
//! * [`recover`](self::recover): opening: volumes are checked and replayed into the index
//! * [`writer`](self::writer): the one thread that writes, with group commit: what it is asked
//!   ([`work`](self::work)), the records of a group ([`group`](self::group)) and what they change
//!   ([`ledger`](self::ledger))
//! * [`read`](self::read): verified reads
//! * [`findings`](self::findings): what is known to be damaged
//! * [`scrub`](self::scrub): verifying all that is stored, at a set pace, round after round
//! * [`compact`](self::compact): getting space back that dead shards take
//! * [`pace`](self::pace): how fast the two may go
//! * [`check`](self::check): the same at once, for a node that is stopped

mod check;
mod compact;
mod findings;
mod group;
mod ledger;
mod options;
mod pace;
mod read;
mod recover;
mod scrub;
mod work;
mod writer;

pub use check::{CheckReport, check};
pub use compact::CompactOptions;
pub use options::NodeOptions;
pub use recover::OpenError;
pub use scrub::ScrubOptions;

use crate::clock::Stop;
use crate::config::NodeDir;
use crate::disk::{DirDisk, Disk, IoMeter, MeteredDisk};
use crate::health::{self, Disks};
use crate::index::{Index, SledIndex};
use crate::volume::record::MAX_BLOCKS;
use crate::volume::{VolumeNo, VolumeSet};
use async_trait::async_trait;
use bytes::Bytes;
use coffer_core::ids::NodeId;
use coffer_core::shard::{
    BlockRange, Finding, MAX_BATCH, MAX_FINDINGS, NodeStat, ShardError, ShardInfo, ShardKey,
    ShardPut, ShardStore,
};
use compact::Compaction;
use findings::Findings;
use ledger::Totals;
use read::Check;
use recover::Recovered;
use scrub::ScrubState;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use tokio::sync::{Semaphore, mpsc, oneshot};
use work::{Job, Work};
use writer::Writer;

/// What writer and readers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) node: NodeId,
    pub(crate) options: NodeOptions,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) volumes: VolumeSet,
    pub(crate) index: Arc<dyn Index>,
    /// When the node was started, in Unix milliseconds.
    pub(crate) started: u64,
    pub(crate) meter: Arc<IoMeter>,
    /// The same disk, for reads by the scrub and by compaction.
    pub(crate) scrub_disk: MeteredDisk,
    pub(crate) findings: Findings,
    pub(crate) scrub: ScrubState,
    pub(crate) compaction: Compaction,
    pub(crate) disks: Disks,
    /// Stretches of damaged bytes met at the start.
    pub(crate) damaged_stretches: u64,
    /// Whether the last write found space.
    pub(crate) writable: AtomicBool,
    pub(crate) totals: Totals,
}

/// A storage node in this process. Dropping it stops what runs in the background, and the writer
/// once its queue is done.
#[derive(Debug)]
pub struct NodeEngine {
    shared: Arc<Shared>,
    jobs: Option<mpsc::Sender<Job>>,
    queue_bytes: Arc<Semaphore>,
    reads: Arc<Semaphore>,
    writer: Option<JoinHandle<()>>,
    stop: Arc<Stop>,
    background: Vec<JoinHandle<()>>,
}

impl NodeEngine {
    /// Opens the node in `dir`, which is made if need be.
    ///
    /// # Errors
    /// [`OpenError`]: what is wrong with which file, and what to do.
    pub fn open(dir: &Path, node: NodeId, options: NodeOptions) -> Result<Self, OpenError> {
        let paths = NodeDir::new(dir);
        std::fs::create_dir_all(dir).map_err(OpenError::io(dir))?;
        let disk = DirDisk::open(&paths.volumes(), &paths.lock()).map_err(|source| {
            if source.kind() == std::io::ErrorKind::WouldBlock {
                OpenError::InUse(dir.to_owned())
            } else {
                OpenError::Io { path: dir.to_owned(), source }
            }
        })?;
        let disk: Arc<dyn Disk> = Arc::new(disk);
        let index = SledIndex::open(&paths.index(), node)?;
        let mut engine = match Self::open_on(node, disk.clone(), Arc::new(index), options.clone()) {
            // It opened, but what is in it can't be read: it is only a cache.
            Err(OpenError::Index(error)) => {
                tracing::warn!(%error, "the index is thrown away and will be built anew");
                let index = SledIndex::recreate(&paths.index(), node)?;
                Self::open_on(node, disk, Arc::new(index), options.clone())
            }
            opened => opened,
        }?;
        if !options.smart_every.is_zero() {
            let (shared, stop) = (engine.shared.clone(), engine.stop.clone());
            let watch = move || {
                let NodeOptions { smart_every, clock, .. } = &options;
                health::watch(&paths.volumes(), *smart_every, &**clock, &stop, &shared.disks);
            };
            engine.background.push(spawn("disk-health", watch)?);
        }
        Ok(engine)
    }

    /// Opens a node on any disk and index.
    ///
    /// # Errors
    /// As [`NodeEngine::open`].
    pub fn open_on(
        node: NodeId,
        disk: Arc<dyn Disk>,
        index: Arc<dyn Index>,
        options: NodeOptions,
    ) -> Result<Self, OpenError> {
        let meter = Arc::new(IoMeter::default());
        let scrub_disk = MeteredDisk::for_scrub(disk.clone(), meter.clone());
        let disk: Arc<dyn Disk> = Arc::new(MeteredDisk::new(disk, meter.clone()));
        let volumes = VolumeSet::default();
        let Recovered { totals, active, damaged_stretches } =
            recover::recover(node, &*disk, &volumes, &*index)?;
        let findings = Findings::load(&*index, totals.watermark().next_seq)?;
        let scrub = ScrubState::load(&*index)?;
        let shared = Arc::new(Shared {
            node,
            started: options.clock.unix_millis(),
            disk,
            meter,
            scrub_disk,
            volumes,
            index,
            findings,
            scrub,
            compaction: Compaction::default(),
            disks: Disks::default(),
            damaged_stretches,
            writable: AtomicBool::new(true),
            totals,
            options: options.clone(),
        });
        let (jobs, queue) = mpsc::channel(options.queue);
        let writer = Writer::new(shared.clone(), active);
        let writer = spawn("volume-writer", move || writer.run(queue))?;
        let stop = Arc::new(Stop::default());
        let mut background = Vec::new();
        if options.scrub.is_on() {
            let (shared, stop) = (shared.clone(), stop.clone());
            background.push(spawn("scrub", move || scrub::run(&shared, &stop))?);
        }
        if options.compact.is_on() {
            let (shared, stop, jobs) = (shared.clone(), stop.clone(), jobs.clone());
            background.push(spawn("compaction", move || compact::run(&shared, &jobs, &stop))?);
        }
        Ok(Self {
            shared,
            jobs: Some(jobs),
            queue_bytes: Arc::new(Semaphore::new(options.queue_bytes)),
            reads: Arc::new(Semaphore::new(options.reads)),
            writer: Some(writer),
            stop,
            background,
        })
    }

    /// The node's id.
    pub fn node(&self) -> NodeId {
        self.shared.node
    }

    /// Compacts all volumes that are due, as fast as it goes, whether or not that is done in the
    /// background too. Returns when nothing is left to be done, or can be done; [`NodeStat`] tells.
    pub async fn compact(&self) {
        let (shared, stop) = (self.shared.clone(), self.stop.clone());
        let Some(jobs) = self.jobs.clone() else { return };
        let work = move || compact::run_once(&shared, &jobs, &stop);
        if let Err(error) = tokio::task::spawn_blocking(work).await {
            tracing::error!(%error, "compaction was lost");
        }
    }

    async fn submit(&self, work: Work) -> Result<(), ShardError> {
        let (reply, answer) = oneshot::channel();
        let stopped = || ShardError::Unreachable("the node is stopping".into());
        let jobs = self.jobs.as_ref().ok_or_else(stopped)?;
        let bytes = work.bytes().min(self.shared.options.queue_bytes);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let place = async {
            let held = self.queue_bytes.clone().acquire_many_owned(bytes).await.ok();
            let slot = jobs.reserve().await.map_err(|_| stopped())?;
            slot.send(Job { work, reply, _held: held });
            Ok(())
        };
        match tokio::time::timeout(self.shared.options.queue_patience, place).await {
            Ok(placed) => placed?,
            Err(_) => return Err(ShardError::Busy),
        }
        answer.await.map_err(|_| stopped())?
    }

    /// Runs a read on the blocking pool; a bounded number at a time.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, ShardError> + Send + 'static,
    ) -> Result<T, ShardError> {
        let permit = self.reads.clone().acquire_owned().await;
        let shared = self.shared.clone();
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&shared)
        });
        done.await.map_err(|e| ShardError::Disk(format!("a reader was lost: {e}")))?
    }
}

impl Drop for NodeEngine {
    fn drop(&mut self) {
        self.stop.raise();
        drop(self.jobs.take());
        // They end with what is at hand: nobody can send the writer more.
        for thread in self.background.drain(..).chain(self.writer.take()) {
            let _ = thread.join();
        }
    }
}

#[async_trait]
impl ShardStore for NodeEngine {
    async fn put(&self, key: ShardKey, info: ShardInfo, payload: Bytes) -> Result<(), ShardError> {
        self.put_all(vec![ShardPut { key, info, payload }]).await
    }

    async fn put_all(&self, puts: Vec<ShardPut>) -> Result<(), ShardError> {
        if puts.len() > MAX_BATCH {
            let message = format!("{} shards; at most {MAX_BATCH} at a time", puts.len());
            return Err(ShardError::BadRequest(message));
        }
        puts.iter().try_for_each(check_put)?;
        self.submit(Work::Put(puts)).await
    }

    async fn get(&self, key: ShardKey, blocks: BlockRange) -> Result<Bytes, ShardError> {
        self.blocking(move |shared| read::read(shared, key, blocks, Check::Blocks)).await
    }

    async fn get_unverified(&self, key: ShardKey, blocks: BlockRange) -> Result<Bytes, ShardError> {
        // What the system has in memory is copied sooner than a thread is woken to do it. Not many in a
        // row, so that others get their turn.
        tokio::task::coop::consume_budget().await;
        if let Some(bytes) = read::read_at_hand(&self.shared, key, blocks) {
            return Ok(bytes);
        }
        self.blocking(move |shared| read::read(shared, key, blocks, Check::Record)).await
    }

    async fn delete(&self, keys: Vec<ShardKey>) -> Result<(), ShardError> {
        if keys.len() > MAX_BATCH {
            let message = format!("{} keys; at most {MAX_BATCH} at a time", keys.len());
            return Err(ShardError::BadRequest(message));
        }
        self.submit(Work::Delete { keys }).await
    }

    async fn list(
        &self,
        after: Option<ShardKey>,
        limit: u32,
    ) -> Result<Vec<(ShardKey, ShardInfo)>, ShardError> {
        let limit = (limit as usize).min(MAX_BATCH);
        self.blocking(move |shared| {
            let rows = shared.index.scan(after, limit).map_err(read::index_failed)?;
            Ok(rows.into_iter().map(|(key, location)| (key, location.info)).collect())
        })
        .await
    }

    async fn findings(&self, after: Option<u64>, limit: u32) -> Result<Vec<Finding>, ShardError> {
        Ok(self.shared.findings.page(after, (limit as usize).min(MAX_FINDINGS)))
    }

    async fn stat(&self) -> Result<NodeStat, ShardError> {
        let waiting = self.jobs.as_ref().map_or(0, |jobs| jobs.max_capacity() - jobs.capacity());
        let queue_depth = u32::try_from(waiting).unwrap_or(u32::MAX);
        self.blocking(move |shared| {
            let disk = |e: std::io::Error| ShardError::Disk(e.to_string());
            let watermark = shared.totals.watermark();
            let free = shared.disk.free_space().map_err(disk)?;
            let free = free.saturating_sub(shared.options.reserve_bytes);
            // Space may have been made by others: a node that nobody writes to must find out too.
            let writable =
                shared.writable.load(Ordering::Relaxed) || free >= writer::GROUP_BYTES as u64;
            let (findings, corrupt) = shared.findings.counts();
            let volume_bytes = shared.volumes.allocated().map_err(disk)?;
            let dead_bytes = volume_bytes.saturating_sub(shared.totals.live_bytes());
            Ok(NodeStat {
                node: shared.node,
                started: shared.started,
                shards: watermark.shards,
                live_bytes: watermark.live_bytes,
                volume_bytes,
                free_bytes: free,
                total_bytes: shared.disk.total_space().map_err(disk)?,
                writable,
                queue_depth,
                corrupt,
                damaged_stretches: shared.damaged_stretches,
                findings,
                io: shared.meter.snapshot(),
                scrub: shared.scrub.stat(&shared.options.scrub, watermark.live_bytes),
                compaction: shared.compaction.stat(&shared.options.compact, dead_bytes),
                disks: shared.disks.reports(),
            })
        })
        .await
    }
}

/// Refuses a shard that can't be stored, or could not be read again.
fn check_put(ShardPut { info, payload, .. }: &ShardPut) -> Result<(), ShardError> {
    info.check()?;
    if payload.len() != info.len as usize {
        let message = format!("{} bytes for a shard of {}", payload.len(), info.len);
        return Err(ShardError::BadRequest(message));
    }
    if info.blocks() > MAX_BLOCKS {
        let message = format!("{} blocks; a shard has at most {MAX_BLOCKS}", info.blocks());
        return Err(ShardError::BadRequest(message));
    }
    Ok(())
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(|source| OpenError::Io { path: "a thread".into(), source })
}

/// The volume that is written to.
#[derive(Debug, Clone)]
pub(crate) struct Active {
    pub(crate) no: VolumeNo,
    pub(crate) file: Arc<dyn crate::disk::DiskFile>,
    /// Where the next record goes; all before it is durable.
    pub(crate) end: u64,
}
