//! How far repair is.

use super::{RepairError, Repairer};
use coffer_core::ids::NodeId;
use coffer_core::repair::{Standing, Urgency};
use coffer_core::shard::NodeStat;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// How far repair is. Counters begin at 0 when the gateway is started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RepairStatus {
    /// Whether this gateway leads, and so repairs.
    pub leads: bool,
    /// Blobs that wait, the most urgent first.
    pub queue: Vec<Queued>,
    /// The pass over all blobs.
    pub pass: PassStatus,
    /// Bytes read from nodes.
    pub bytes_read: u64,
    /// Bytes written to nodes.
    pub bytes_written: u64,
    /// The bound on both together, a second; 0 for none.
    pub bytes_per_second: u64,
    /// Shards that were rebuilt from others.
    pub shards_rebuilt: u64,
    /// Shards that were copied to another node.
    pub shards_moved: u64,
    /// Blobs that could not be mended and will be tried again.
    pub failures: u64,
    /// Why the last of them could not.
    pub last_error: Option<String>,
}

/// Blobs that wait.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Queued {
    /// How urgent they are.
    pub urgency: Urgency,
    /// How many.
    pub blobs: usize,
}

/// A pass over all blobs of the catalog.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PassStatus {
    /// Whether it goes as fast as it can, since something has changed.
    pub hurries: bool,
    /// Blobs checked in this pass.
    pub checked: u64,
    /// How much of all that is, from 0 to 1. An estimate: blobs are spread evenly over their ids.
    pub progress: f64,
    /// Passes that were completed.
    pub completed: u64,
}

/// What is counted while mending.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) bytes_read: AtomicU64,
    pub(super) bytes_written: AtomicU64,
    pub(super) rebuilt: AtomicU64,
    pub(super) moved: AtomicU64,
    failures: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl Counters {
    pub(super) fn failed(&self, error: &RepairError) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let mut last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(error.to_string());
    }
}

impl Repairer {
    /// What is to be thought of a node.
    pub fn standing(&self, node: NodeId) -> Standing {
        self.engine.nodes().standing(node, self.config.patience)
    }

    /// What a node last said of itself.
    pub fn node_stat(&self, node: NodeId) -> Option<NodeStat> {
        self.engine.nodes().last_stat(node)
    }

    /// How far it is.
    pub fn status(&self) -> RepairStatus {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let c = &self.counters;
        let queue = self.queue().counts().into_iter();
        RepairStatus {
            leads: (self.leads)(),
            queue: queue.map(|(urgency, blobs)| Queued { urgency, blobs }).collect(),
            pass: self.pass().status(),
            bytes_read: count(&c.bytes_read),
            bytes_written: count(&c.bytes_written),
            bytes_per_second: self.config.bytes_per_second,
            shards_rebuilt: count(&c.rebuilt),
            shards_moved: count(&c.moved),
            failures: count(&c.failures),
            last_error: c.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}
