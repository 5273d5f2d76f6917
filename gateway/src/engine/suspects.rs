//! Shards that reads found lost, damaged or forged, until repair asks for them.

use coffer_core::ids::NodeId;
use coffer_core::shard::ShardKey;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// The most that are remembered; what is beyond it is found again by the next read, or by a scrub.
const MOST: usize = 4096;

/// The shards, each with the node that should have it.
#[derive(Debug, Default)]
pub(super) struct Suspects(Mutex<HashSet<(NodeId, ShardKey)>>);

impl Suspects {
    /// Remembers a shard.
    pub(super) fn note(&self, node: NodeId, key: ShardKey) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < MOST {
            known.insert((node, key));
        }
    }

    /// Hands out all of them, and forgets them.
    pub(super) fn take(&self) -> HashSet<(NodeId, ShardKey)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
