//! The storage nodes as the gateway knows them: the cluster map, a door to each node, and a guess
//! at which of them are up.

use coffer_core::ids::NodeId;
use coffer_core::placement::ClusterMap;
use coffer_core::shard::{ShardError, ShardStore};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a node that failed is passed over before it is tried again.
const PASS_OVER: Duration = Duration::from_secs(1);

/// A door to a node, and when it may be tried again.
#[derive(Debug)]
struct Node {
    store: Arc<dyn ShardStore>,
    /// For any use: ms since the set was made.
    down_until_ms: AtomicU64,
    /// For writes, when its disk is full: ms since the set was made.
    full_until_ms: AtomicU64,
}

/// All nodes of the cluster map.
#[derive(Debug)]
pub struct NodeSet {
    map: ClusterMap,
    nodes: HashMap<NodeId, Node>,
    started: Instant,
}

impl NodeSet {
    /// The nodes of `map`, each with its store. A node without a store counts as down.
    ///
    /// # Errors
    /// The sentence of [`ClusterMap::check`].
    pub fn new(
        map: ClusterMap,
        stores: HashMap<NodeId, Arc<dyn ShardStore>>,
    ) -> Result<Self, String> {
        map.check()?;
        let nodes = stores
            .into_iter()
            .map(|(id, store)| {
                let (down_until_ms, full_until_ms) = (AtomicU64::new(0), AtomicU64::new(0));
                (id, Node { store, down_until_ms, full_until_ms })
            })
            .collect();
        Ok(Self { map, nodes, started: Instant::now() })
    }

    /// The cluster map.
    pub fn map(&self) -> &ClusterMap {
        &self.map
    }

    /// The door to a node, if the node is known.
    pub fn store(&self, id: NodeId) -> Result<&Arc<dyn ShardStore>, ShardError> {
        self.nodes
            .get(&id)
            .map(|n| &n.store)
            .ok_or_else(|| ShardError::Unreachable(format!("node {id} is not in the cluster map")))
    }

    /// Asks a node something, waits for its answer for a bounded time, and learns from the outcome
    /// whether the node is well.
    ///
    /// # Errors
    /// The node's, or [`ShardError::Timeout`].
    pub async fn call<'a, T, F>(
        &'a self,
        id: NodeId,
        within: Duration,
        ask: impl FnOnce(&'a dyn ShardStore) -> F,
    ) -> Result<T, ShardError>
    where
        F: Future<Output = Result<T, ShardError>>,
    {
        let outcome = match self.store(id) {
            Ok(store) => tokio::time::timeout(within, ask(&**store))
                .await
                .unwrap_or(Err(ShardError::Timeout)),
            Err(error) => Err(error),
        };
        self.report(id, &outcome);
        outcome
    }

    /// Whether a node has not failed just now.
    pub fn is_up(&self, id: NodeId) -> bool {
        let now = self.now_ms();
        self.nodes.get(&id).is_some_and(|n| n.down_until_ms.load(Ordering::Relaxed) <= now)
    }

    /// Whether a node is up and has not refused a write for lack of space just now.
    pub fn is_writable(&self, id: NodeId) -> bool {
        let now = self.now_ms();
        self.is_up(id)
            && self.nodes.get(&id).is_some_and(|n| n.full_until_ms.load(Ordering::Relaxed) <= now)
    }

    /// Learns from the outcome of a call to a node.
    fn report<T>(&self, id: NodeId, outcome: &Result<T, ShardError>) {
        let Some(node) = self.nodes.get(&id) else { return };
        let again = self.now_ms() + u64::try_from(PASS_OVER.as_millis()).unwrap_or(u64::MAX);
        match outcome {
            Err(ShardError::Unreachable(_) | ShardError::Timeout) => {
                if node.down_until_ms.swap(again, Ordering::Relaxed) == 0 {
                    tracing::warn!(node = %id, "storage node does not answer");
                }
            }
            Err(ShardError::Full | ShardError::Disk(_)) => {
                node.full_until_ms.store(again, Ordering::Relaxed);
            }
            _ => {
                if node.down_until_ms.swap(0, Ordering::Relaxed) != 0 {
                    tracing::info!(node = %id, "storage node answers again");
                }
            }
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
