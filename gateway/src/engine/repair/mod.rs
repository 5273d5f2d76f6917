//! Repair: shards that are missing are rebuilt, those that are misplaced are moved.
//!
//! What is to be done is decided in `coffer_core::repair`. All that matters stands in the catalog
//! and on the nodes, so a repair that is cut off is simply found again. Two that meet on one shard
//! do no harm: a shard goes to its new place under a new name, and of two commits one is refused.
//!
//! | module | what |
//! |---|---|
//! | `survey` | finds blobs that need something: owed shards, findings, lost nodes, a new cluster map |
//! | `queue`, `marks` | what was found, the most urgent first |
//! | `mend` | one blob: read, rebuild, write, tell the catalog |
//! | `rebuild` | a chunk out of the fewest shards, in spite of nodes that lie |
//! | `pace` | the bound on bytes a second |
//! | `status` | how far it is |
//! | `word` | what gateways tell each other of it |

mod marks;
mod mend;
mod pace;
mod queue;
mod rebuild;
mod status;
mod survey;
pub(super) mod word;

pub use pace::Clock;
pub use status::{PassStatus, Queued, RepairStatus};
pub use word::{RepairAnswer, RepairRequest};

use super::Engine;
use super::keys::MasterKey;
use crate::catalog::CatalogHandle;
use coffer_core::catalog::CatalogError;
use coffer_core::erasure::CodeError;
use coffer_core::ids::{BlobId, NodeId};
use coffer_core::manifest::{ChunkRef, Part};
use coffer_core::placement::ClusterMap;
use coffer_core::random::RandomUnavailable;
use coffer_core::repair::{Situation, Standing, Urgency};
use coffer_core::seal::SealError;
use coffer_core::shard::ShardKey;
use marks::Marks;
use pace::{Pace, RealClock};
use queue::Queue;
use status::Counters;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use survey::Pass;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

/// The most blobs that wait for repair.
const QUEUE: usize = 4096;

/// When and how repair acts.
#[derive(Debug, Clone)]
pub struct RepairConfig {
    /// Bytes a second that are read from and written to nodes; 0 for no limit.
    pub bytes_per_second: u64,
    /// Blobs that are mended side by side.
    pub concurrency: usize,
    /// The pause between two looks at nodes and at what is owed.
    pub interval: Duration,
    /// How long a node may be silent before its shards are rebuilt on others.
    pub patience: Duration,
    /// Names of the keys that lock some objects' data keys a second time.
    pub named_keys: Vec<String>,
    /// The clock of [`RepairConfig::bytes_per_second`].
    pub clock: Arc<dyn Clock>,
}

impl Default for RepairConfig {
    fn default() -> Self {
        Self {
            bytes_per_second: 64 * 1024 * 1024,
            concurrency: 2,
            interval: Duration::from_secs(5),
            patience: Duration::from_secs(15 * 60),
            named_keys: Vec::new(),
            clock: Arc::new(RealClock::default()),
        }
    }
}

/// Why a blob could not be mended. It is found again by the next pass.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// Too few sound shards can be had now.
    #[error("chunk {chunk} of blob {blob}: {lacking} more sound shards are needed; {last}")]
    TooFew {
        /// The blob.
        blob: BlobId,
        /// The chunk.
        chunk: u32,
        /// How many.
        lacking: usize,
        /// What the last node that failed said.
        last: String,
    },
    /// A node did not take a shard.
    #[error("shard {key} could not be written to node {node}: {why}")]
    Write {
        /// The shard.
        key: ShardKey,
        /// The node.
        node: NodeId,
        /// What it said.
        why: String,
    },
    /// Shards don't fit together.
    #[error(transparent)]
    Code(#[from] CodeError),
    /// Keys don't open it.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The catalog failed, or the shards have been moved or deleted meanwhile.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// No randomness for an id.
    #[error(transparent)]
    Random(#[from] RandomUnavailable),
    /// A worker thread was lost.
    #[error("internal: a worker failed: {0}")]
    Worker(String),
}

/// Finds and mends. There is one in each gateway; it acts only where the catalog is led.
pub struct Repairer {
    engine: Arc<Engine>,
    catalog: CatalogHandle,
    master: MasterKey,
    config: RepairConfig,
    leads: Box<dyn Fn() -> bool + Send + Sync>,
    now_ms: Box<dyn Fn() -> u64 + Send + Sync>,
    queue: Mutex<Queue>,
    marks: Marks,
    /// Shards that are ahead of the catalog.
    leftovers: Marks,
    pass: Mutex<Pass>,
    pace: Mutex<Pace>,
    counters: Counters,
    /// Told when there is something in the queue.
    work: Notify,
}

impl std::fmt::Debug for Repairer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repairer").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Repairer {
    /// A repairer over the engine's nodes. `leads` says whether this gateway leads the cluster,
    /// `now_ms` the time since the Unix epoch.
    pub fn new(
        engine: Arc<Engine>,
        catalog: CatalogHandle,
        master: MasterKey,
        config: RepairConfig,
        leads: impl Fn() -> bool + Send + Sync + 'static,
        now_ms: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::new(Queue::new(QUEUE)),
            marks: Marks::default(),
            leftovers: Marks::default(),
            pass: Mutex::default(),
            pace: Mutex::new(Pace::new(config.bytes_per_second)),
            counters: Counters::default(),
            work: Notify::new(),
            leads: Box::new(leads),
            now_ms: Box::new(now_ms),
            engine,
            catalog,
            master,
            config,
        })
    }

    /// The engine whose shards it repairs.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// The catalog that it is told by.
    pub fn catalog(&self) -> &CatalogHandle {
        &self.catalog
    }

    /// Repairs until the returned task is aborted.
    pub fn spawn(self: &Arc<Self>) -> JoinHandle<()> {
        let this = self.clone();
        tokio::spawn(async move {
            tokio::join!(this.survey(), this.mend_all());
        })
    }

    /// Mends what is in the queue, the most urgent first, a few blobs side by side.
    async fn mend_all(self: &Arc<Self>) {
        let mut running = JoinSet::new();
        loop {
            while running.len() < self.config.concurrency.max(1) {
                let next = if (self.leads)() { self.queue().pop() } else { None };
                let Some(blob) = next else { break };
                let this = self.clone();
                running.spawn(async move { this.mend_and_count(blob).await });
            }
            tokio::select! {
                Some(_) = running.join_next() => {}
                () = self.work.notified() => {}
            }
        }
    }

    async fn mend_and_count(&self, blob: BlobId) {
        let outcome = self.mend(blob).await;
        self.queue().done(blob);
        match outcome {
            Ok(()) => {}
            // Somebody else moved or deleted it meanwhile: that is no failure.
            Err(RepairError::Catalog(CatalogError::Moved(_))) => {}
            Err(error) => {
                tracing::warn!(%blob, %error, "repair will be tried again");
                self.counters.failed(&error);
                self.pass().again();
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(&self) -> MutexGuard<'_, Pass> {
        self.pass.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a blob into the queue if it needs something that can be done now.
    fn consider(&self, scene: &Scene, part: &Part) {
        let bad = self.marks.of(part.blob);
        let plans = scene.situation(&bad, |situation| situation.plan_part(part));
        let doable = plans.iter().filter(|p| !p.steps.is_empty());
        if let Some(urgency) = doable.map(|p| p.urgency).min() {
            self.enqueue(part.blob, urgency);
        }
    }

    fn enqueue(&self, blob: BlobId, urgency: Urgency) {
        if !self.queue().push(blob, urgency) {
            self.pass().again();
        }
        self.work.notify_one();
    }

    /// What is known of the cluster now.
    fn scene(&self) -> Scene {
        let nodes = self.engine.nodes();
        let map = nodes.map();
        let standing = |id| (id, nodes.standing(id, self.config.patience));
        let standings = map.nodes.iter().map(|n| standing(n.id)).collect();
        Scene { map, standings }
    }

    /// Waits until `bytes` may be read and written.
    async fn wait_for(&self, bytes: u64) {
        let wait = {
            let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
            pace.take(self.config.clock.elapsed(), bytes)
        };
        if !wait.is_zero() {
            self.config.clock.sleep(wait).await;
        }
    }
}

/// The cluster at one moment.
struct Scene {
    map: Arc<ClusterMap>,
    standings: HashMap<NodeId, Standing>,
}

impl Scene {
    fn situation<T>(
        &self,
        bad: &HashSet<(NodeId, ShardKey)>,
        ask: impl FnOnce(Situation<'_>) -> T,
    ) -> T {
        let standing = |id| self.standings.get(&id).copied().unwrap_or(Standing::Lost);
        let is_bad = |node, key| bad.contains(&(node, key));
        ask(Situation { map: &self.map, standing: &standing, is_bad: &is_bad })
    }

    fn sources(&self, bad: &HashSet<(NodeId, ShardKey)>, chunk: ChunkRef<'_>) -> Vec<u8> {
        self.situation(bad, |situation| situation.sources(chunk))
    }

    /// The nodes of a certain standing.
    fn with(&self, standing: Standing) -> HashSet<NodeId> {
        let nodes = self.standings.iter().filter(|(_, s)| **s == standing);
        nodes.map(|(id, _)| *id).collect()
    }
}
