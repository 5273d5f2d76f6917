//! The storage nodes as the gateway knows them: the cluster map, a door to each node, and a guess
//! at which of them are up, and which are slow.

pub mod follow;
mod latency;
mod usual;

pub use latency::Kind;
pub use usual::{Length, Reading};

use coffer_core::ids::NodeId;
use coffer_core::placement::{ClusterMap, NodeEntry};
use coffer_core::repair::Standing;
use coffer_core::shard::{NodeStat, ShardError, ShardStore};
use coffer_node::service::NodeClient;
use latency::Latency;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::Instant;
use usual::Usual;

/// How long a node that failed is passed over before it is tried again.
const PASS_OVER: Duration = Duration::from_secs(1);
/// How often a slow node is asked all the same, to see whether it still is.
const TRY_SLOW: Duration = Duration::from_secs(1);

/// Opens doors to nodes.
pub trait Doors: std::fmt::Debug + Send + Sync {
    /// A door to a node of the cluster map; `None` if there is no way to it.
    fn open(&self, node: &NodeEntry) -> Option<Arc<dyn ShardStore>>;
}

impl Doors for HashMap<NodeId, Arc<dyn ShardStore>> {
    fn open(&self, node: &NodeEntry) -> Option<Arc<dyn ShardStore>> {
        self.get(&node.id).cloned()
    }
}

impl Doors for NodeClient {
    fn open(&self, node: &NodeEntry) -> Option<Arc<dyn ShardStore>> {
        Some(Arc::new(self.node(node.id, &node.address)))
    }
}

/// A door to a node, and what is known of it. Times are in ms since the set was made.
#[derive(Debug)]
struct Node {
    address: String,
    store: Option<Arc<dyn ShardStore>>,
    /// Since when it does not answer, plus 1; 0 while it does.
    down_since_ms: AtomicU64,
    /// For any use.
    down_until_ms: AtomicU64,
    /// For writes, when its disk is full.
    full_until_ms: AtomicU64,
    /// When it may be read from although it is slow.
    try_slow_ms: AtomicU64,
    reads: Latency,
    writes: Latency,
    usual: Usual,
    stat: Mutex<Option<NodeStat>>,
}

impl Node {
    fn new(entry: &NodeEntry, store: Option<Arc<dyn ShardStore>>) -> Self {
        Self {
            address: entry.address.clone(),
            store,
            down_since_ms: AtomicU64::new(0),
            down_until_ms: AtomicU64::new(0),
            full_until_ms: AtomicU64::new(0),
            try_slow_ms: AtomicU64::new(0),
            reads: Latency::default(),
            writes: Latency::default(),
            usual: Usual::default(),
            stat: Mutex::default(),
        }
    }

    fn latency(&self, kind: Kind) -> Option<&Latency> {
        match kind {
            Kind::Read => Some(&self.reads),
            Kind::Write => Some(&self.writes),
            Kind::Other => None,
        }
    }

    fn stat(&self) -> Option<NodeStat> {
        self.stat.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The nodes at one version of the cluster map.
#[derive(Debug, Clone)]
struct View {
    map: Arc<ClusterMap>,
    nodes: Arc<HashMap<NodeId, Arc<Node>>>,
}

/// All nodes of the cluster map.
#[derive(Debug)]
pub struct NodeSet {
    view: RwLock<View>,
    doors: Box<dyn Doors>,
    started: Instant,
}

impl NodeSet {
    /// The nodes of `map`, each behind its door. A node without a door counts as down.
    ///
    /// # Errors
    /// The sentence of [`ClusterMap::check`].
    pub fn new(map: ClusterMap, doors: impl Doors + 'static) -> Result<Self, String> {
        map.check()?;
        let doors: Box<dyn Doors> = Box::new(doors);
        let view = view_of(map, &HashMap::new(), &*doors);
        Ok(Self { view: RwLock::new(view), doors, started: Instant::now() })
    }

    /// Goes over to another cluster map: new nodes get a door, those that are gone lose theirs, and
    /// what is known of the others is kept.
    ///
    /// # Errors
    /// The sentence of [`ClusterMap::check`]; nothing has changed then.
    pub fn adopt(&self, map: ClusterMap) -> Result<(), String> {
        map.check()?;
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        *view = view_of(map, &view.nodes, &*self.doors);
        Ok(())
    }

    /// The cluster map.
    pub fn map(&self) -> Arc<ClusterMap> {
        self.view().map
    }

    /// The door to a node, for those who judge themselves whether it is well.
    pub fn store(&self, id: NodeId) -> Option<Arc<dyn ShardStore>> {
        self.node(id)?.store.clone()
    }

    fn view(&self) -> View {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn node(&self, id: NodeId) -> Option<Arc<Node>> {
        self.view.read().unwrap_or_else(PoisonError::into_inner).nodes.get(&id).cloned()
    }

    /// Asks a node something, waits for its answer for a bounded time, and learns from the outcome
    /// whether the node is well, and from the time that it took whether it is slow.
    ///
    /// # Errors
    /// The node's, or [`ShardError::Timeout`].
    pub async fn call<T, F>(
        &self,
        id: NodeId,
        kind: Kind,
        within: Duration,
        ask: impl FnOnce(Arc<dyn ShardStore>) -> F,
    ) -> Result<T, ShardError>
    where
        F: Future<Output = Result<T, ShardError>>,
    {
        let unknown = |what| ShardError::Unreachable(format!("node {id} {what}"));
        let Some(node) = self.node(id) else {
            return Err(unknown("is not in the cluster map, or is gone"));
        };
        let outcome = match node.store.clone() {
            Some(store) => {
                let timed = Timed { node: &node, kind, began: Instant::now(), ended: false };
                let outcome = tokio::time::timeout(within, ask(store)).await;
                timed.end();
                outcome.unwrap_or(Err(ShardError::Timeout))
            }
            None => Err(unknown("can't be reached from this process")),
        };
        self.report(id, &node, &outcome);
        outcome
    }

    /// Asks a node how it is, and remembers the answer.
    ///
    /// # Errors
    /// As [`NodeSet::call`].
    pub async fn ask_stat(&self, id: NodeId, within: Duration) -> Result<NodeStat, ShardError> {
        let ask = |store: Arc<dyn ShardStore>| async move { store.stat().await };
        let stat = self.call(id, Kind::Other, within, ask).await?;
        if let Some(node) = self.node(id) {
            *node.stat.lock().unwrap_or_else(PoisonError::into_inner) = Some(stat.clone());
        }
        Ok(stat)
    }

    /// What a node last said of itself.
    pub fn last_stat(&self, id: NodeId) -> Option<NodeStat> {
        self.node(id)?.stat()
    }

    /// Takes note that a node is asked to read, for [`NodeSet::usual_read`].
    pub fn begin_read(&self, id: NodeId, length: Length) -> Option<Reading> {
        self.node(id).map(|node| Reading::begin(node, length))
    }

    /// What all but a few reads of this kind have lately kept to at most nodes; `None` while nothing is
    /// known.
    pub fn usual_read(&self, length: Length) -> Option<Duration> {
        let view = self.view();
        let known = view.nodes.values().map(|n| n.usual.nanos(length)).filter(|nanos| *nanos > 0);
        let mut known: Vec<u64> = known.collect();
        known.sort_unstable();
        known.get(known.len() / 2).map(|nanos| Duration::from_nanos(*nanos))
    }

    /// Learns that a node has not answered a read when it should have.
    pub fn note_late_read(&self, id: NodeId) {
        if let Some(node) = self.node(id) {
            node.reads.note_late();
        }
    }

    /// Whether a node has not failed just now.
    pub fn is_up(&self, id: NodeId) -> bool {
        let now = self.now_ms();
        self.node(id).is_some_and(|n| n.down_until_ms.load(Ordering::Relaxed) <= now)
    }

    /// Whether a node is up and has not refused a write for lack of space just now.
    pub fn is_writable(&self, id: NodeId) -> bool {
        let now = self.now_ms();
        self.is_up(id)
            && self.node(id).is_some_and(|n| n.full_until_ms.load(Ordering::Relaxed) <= now)
    }

    /// Whether a node answers much later than the others do, or not at all.
    pub fn is_slow(&self, id: NodeId) -> bool {
        [Kind::Read, Kind::Write].into_iter().any(|kind| self.is_slow_to(id, kind))
    }

    /// Whether a node is up and reads about as fast as others.
    pub fn reads_well(&self, id: NodeId) -> bool {
        self.is_up(id) && !self.is_slow_to(id, Kind::Read)
    }

    /// As [`NodeSet::reads_well`]; and from time to time for a node that does not, so that it is
    /// noticed when it does again.
    pub fn is_worth_reading(&self, id: NodeId) -> bool {
        let Some(node) = self.node(id) else { return false };
        self.is_up(id) && (!self.is_slow_to(id, Kind::Read) || self.takes_turn(&node))
    }

    /// What is to be thought of a node when shards are planned. One that has not answered for
    /// `patience` counts as lost.
    pub fn standing(&self, id: NodeId, patience: Duration) -> Standing {
        let Some(node) = self.node(id) else { return Standing::Lost };
        let now = self.now_ms();
        let down_since = node.down_since_ms.load(Ordering::Relaxed);
        if down_since > 0 {
            let down_for = Duration::from_millis((now + 1).saturating_sub(down_since));
            return if down_for >= patience { Standing::Lost } else { Standing::Away };
        }
        let says_full = node.stat().is_some_and(|s| !s.writable);
        if says_full || node.full_until_ms.load(Ordering::Relaxed) > now {
            Standing::Full
        } else if self.is_slow(id) {
            Standing::Slow
        } else {
            Standing::Up
        }
    }

    fn is_slow_to(&self, id: NodeId, kind: Kind) -> bool {
        let view = self.view();
        let estimate = |n: &Node| n.latency(kind).map_or(0, Latency::micros);
        let late = |n: &Node| n.latency(kind).map_or(0, Latency::late);
        let Some(own) = view.nodes.get(&id) else { return false };
        let others = || view.nodes.iter().filter(|(other, _)| **other != id).map(|(_, n)| n);
        latency::is_slow(estimate(own), others().map(|n| estimate(n)))
            || latency::is_silent(late(own), others().map(|n| late(n)))
    }

    /// Whether it is time to try a slow node; only one caller is told so.
    fn takes_turn(&self, node: &Node) -> bool {
        let (now, pause) = (self.now_ms(), millis(TRY_SLOW));
        let due = |at: u64| (at <= now).then_some(now + pause);
        node.try_slow_ms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, due).is_ok()
    }

    /// Learns from the outcome of a call to a node.
    fn report<T>(&self, id: NodeId, node: &Node, outcome: &Result<T, ShardError>) {
        let now = self.now_ms();
        let again = now + millis(PASS_OVER);
        match outcome {
            Err(ShardError::Unreachable(_) | ShardError::Timeout) => {
                node.down_until_ms.store(again, Ordering::Relaxed);
                let first = node.down_since_ms.compare_exchange(
                    0,
                    now + 1,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
                if first.is_ok() {
                    tracing::warn!(node = %id, "storage node does not answer");
                }
            }
            Err(ShardError::Full | ShardError::Disk(_)) => {
                node.full_until_ms.store(again, Ordering::Relaxed);
            }
            _ => {
                node.down_until_ms.store(0, Ordering::Relaxed);
                if node.down_since_ms.swap(0, Ordering::Relaxed) != 0 {
                    tracing::info!(node = %id, "storage node answers again");
                }
            }
        }
    }

    fn now_ms(&self) -> u64 {
        millis(self.started.elapsed())
    }
}

fn view_of(map: ClusterMap, known: &HashMap<NodeId, Arc<Node>>, doors: &dyn Doors) -> View {
    let nodes = map
        .members()
        .map(|entry| {
            let same = known.get(&entry.id).filter(|n| n.address == entry.address);
            let open = || Arc::new(Node::new(entry, doors.open(entry)));
            (entry.id, same.cloned().unwrap_or_else(open))
        })
        .collect();
    View { map: Arc::new(map), nodes: Arc::new(nodes) }
}

/// A call that is under way. One that is dropped before it has ended tells something, too.
struct Timed<'a> {
    node: &'a Node,
    kind: Kind,
    began: Instant,
    ended: bool,
}

impl Timed<'_> {
    fn end(mut self) {
        self.ended = true;
        if let Some(latency) = self.node.latency(self.kind) {
            latency.note(self.began.elapsed());
        }
    }
}

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        if let (false, Some(latency)) = (self.ended, self.node.latency(self.kind)) {
            latency.note_given_up(self.began.elapsed());
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
