//! A check on demand: all that the catalog wants of nodes, and all that nodes hold, are compared.
//!
//! It goes through the blobs in the order of their ids, a page at a time: what the catalog wants of
//! each node is put beside what the node lists. It reads no data but that of shards which are in
//! doubt, and changes nothing; when it is told to, it hands what it has found to repair.
//!
//! While it runs, objects are written, deleted and moved. A shard counts as lost only if it was
//! wanted before its node was asked, the node said itself that it lacks it, and the catalog, asked
//! again after that, still wants it there under that name. Since names are never used twice and a
//! shard is durable before it is committed, it must have been there all the time.
//!
//! | module | what |
//! |---|---|
//! | `page` | one page of blobs, on all nodes |
//! | `judge` | what that shows of the parts that they are |
//! | [`report`] | what is told |

mod judge;
mod page;
pub mod report;

use super::Engine;
use super::repair::word;
use crate::catalog::CatalogHandle;
use coffer_core::catalog::{CatalogError, Scope};
use coffer_core::ids::{BlobId, BucketName, NodeId};
use coffer_core::placement::ClusterMap;
use coffer_core::repair::ShardState;
use coffer_core::shard::{ShardInfo, ShardKey};
use futures::StreamExt;
use report::{Leftovers, Orphan, Progress, Record, Silent, Summary, fraction};
use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How often it says how far it is.
const PROGRESS: Duration = Duration::from_secs(1);
/// How long a node that could not be asked is left alone.
const LEAVE_ALONE: Duration = Duration::from_secs(30);
/// The most findings of one node that are looked at.
const FINDINGS: usize = 64 * 1024;
/// The most orphaned blobs that are remembered until the end, when they are looked at again.
const ORPHANS: usize = 64 * 1024;

/// What is to be checked.
#[derive(Debug, Clone, Default)]
pub struct FsckOptions {
    /// Only the objects and uploads of this bucket.
    pub bucket: Option<BucketName>,
    /// Whether repair is told of what is lost or damaged.
    pub repair: bool,
}

/// Why a check ends early.
#[derive(Debug)]
enum Stop {
    /// Nobody listens any more.
    Gone,
    Catalog(CatalogError),
}

impl From<CatalogError> for Stop {
    fn from(error: CatalogError) -> Self {
        Self::Catalog(error)
    }
}

/// A check under way.
struct Fsck {
    engine: Arc<Engine>,
    catalog: CatalogHandle,
    options: FsckOptions,
    out: mpsc::Sender<Record>,
    map: Arc<ClusterMap>,
    /// What nodes had found damaged when the check began.
    findings: HashMap<NodeId, HashSet<ShardKey>>,
    /// Nodes that could not be asked, and when.
    silent: Mutex<HashMap<NodeId, Instant>>,
    /// Nodes of which that has been told.
    told: HashSet<NodeId>,
    /// Orphaned blobs: their shards, and one of them.
    orphans: HashMap<BlobId, (u64, NodeId, ShardKey, ShardInfo)>,
    progress: Progress,
    said: Instant,
    summary: Summary,
}

/// Checks; the records go to `out`. Ends when all is compared, or nobody takes them any more.
pub async fn run(
    engine: Arc<Engine>,
    catalog: CatalogHandle,
    options: FsckOptions,
    out: mpsc::Sender<Record>,
) {
    let map = engine.nodes().map();
    let mut fsck = Fsck {
        engine,
        catalog,
        options,
        out,
        map,
        findings: HashMap::new(),
        silent: Mutex::default(),
        told: HashSet::new(),
        orphans: HashMap::new(),
        progress: Progress::default(),
        said: Instant::now(),
        summary: Summary::default(),
    };
    let last = match fsck.check().await {
        Ok(()) => Record::Summary(Box::new(fsck.summary)),
        Err(Stop::Gone) => return,
        Err(Stop::Catalog(error)) => Record::Failed { why: error.to_string() },
    };
    // Whoever listened may have gone.
    let _ = fsck.out.send(last).await;
}

impl Fsck {
    async fn check(&mut self) -> Result<(), Stop> {
        if self.options.bucket.is_none() {
            self.summary.leftovers = Some(Leftovers::default());
        }
        self.tell(Record::Progress(self.progress)).await?;
        self.collect_findings().await?;
        let mut after = None;
        loop {
            after = self.page(after).await?;
            self.progress.done = fraction(after);
            if after.is_none() {
                break;
            }
            if self.said.elapsed() >= PROGRESS {
                self.tell(Record::Progress(self.progress)).await?;
                self.said = Instant::now();
            }
            tokio::task::yield_now().await;
        }
        self.tell_of_orphans().await?;
        self.summary.shards = self.progress.shards;
        self.summary.silent_nodes = self.told.len() as u64;
        self.tell(Record::Progress(self.progress)).await
    }

    async fn tell(&self, record: Record) -> Result<(), Stop> {
        self.out.send(record).await.map_err(|_| Stop::Gone)
    }

    /// The nodes of the cluster map.
    fn nodes(&self) -> Vec<NodeId> {
        self.map.members().map(|n| n.id).collect()
    }

    /// Whether a node could not be asked just now.
    fn is_silent(&self, node: NodeId) -> bool {
        let silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        silent.get(&node).is_some_and(|since| since.elapsed() < LEAVE_ALONE)
    }

    /// Remembers that a node can't be asked now.
    fn leave_alone(&self, node: NodeId) {
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        silent.insert(node, Instant::now());
    }

    /// Says once that a node can't be asked.
    async fn tell_silent(&mut self, node: NodeId, why: String) -> Result<(), Stop> {
        if !self.told.insert(node) {
            return Ok(());
        }
        let silent = Silent { id: node.to_string(), name: self.map.name_of(node), why };
        self.tell(Record::Node(silent)).await
    }

    async fn collect_findings(&mut self) -> Result<(), Stop> {
        let engine = self.engine.clone();
        for node in self.nodes() {
            let mut found = HashSet::new();
            let mut pages = pin!(engine.findings(node));
            while found.len() < FINDINGS
                && let Some(page) = pages.next().await
            {
                match page {
                    Ok(page) => found.extend(page.iter().map(|f| f.key)),
                    Err(error) => {
                        self.leave_alone(node);
                        self.tell_silent(node, error.to_string()).await?;
                    }
                }
            }
            self.summary.findings += found.len() as u64;
            self.findings.insert(node, found);
        }
        Ok(())
    }

    /// Remembers a shard of a blob that nobody has claimed.
    fn note_orphan(&mut self, node: NodeId, key: ShardKey, info: ShardInfo) {
        if self.orphans.len() >= ORPHANS && !self.orphans.contains_key(&key.blob) {
            self.summary.orphans_not_listed += 1;
            return;
        }
        self.orphans.entry(key.blob).or_insert((0, node, key, info)).0 += 1;
    }

    /// Tells of blobs that are still nobody's, and still there.
    async fn tell_of_orphans(&mut self) -> Result<(), Stop> {
        if self.orphans.is_empty() {
            return Ok(());
        }
        self.catalog.current().await?;
        let mut orphans: Vec<_> = std::mem::take(&mut self.orphans).into_iter().collect();
        orphans.sort_unstable_by_key(|(blob, _)| *blob);
        for (blob, (shards, node, key, info)) in orphans {
            let owner = self.catalog.read(Scope::Hidden, |c| c.blob(blob)).await?;
            let is_there = owner.is_none()
                && self.engine.examine(node, key, info, false).await != ShardState::Missing;
            if is_there {
                self.summary.orphans += 1;
                self.tell(Record::Orphan(Orphan { blob: blob.to_string(), shards })).await?;
            }
        }
        Ok(())
    }

    /// Tells repair of shards, with some patience while it has no room.
    async fn queue(&mut self, mut shards: Vec<report::Suspect>) -> Result<(), Stop> {
        const PATIENCE: u32 = 20;
        let all = shards.len();
        for _ in 0..PATIENCE {
            shards = word::pass_on(&self.engine, &self.catalog, shards).await;
            if shards.is_empty() {
                break;
            }
            self.tell(Record::Progress(self.progress)).await?;
            tokio::time::sleep(PROGRESS).await;
        }
        self.summary.not_queued += shards.len() as u64;
        self.summary.queued += (all - shards.len()) as u64;
        Ok(())
    }
}
