//! Shards that repair has to know of when it comes to their blob: lost or damaged on nodes that
//! answer, or left ahead of the catalog.

use coffer_core::ids::{BlobId, NodeId};
use coffer_core::shard::ShardKey;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

/// The most blobs with such shards that are remembered. Nodes keep their findings, and what is
/// beyond the bound is met again.
const MOST: usize = 16 * 1024;

type Bad = HashSet<(NodeId, ShardKey)>;

/// The shards, by blob.
#[derive(Debug, Default)]
pub(super) struct Marks(Mutex<HashMap<BlobId, Bad>>);

impl Marks {
    /// Remembers a shard, if there is room.
    pub(super) fn note(&self, node: NodeId, key: ShardKey) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = known.len() < MOST || known.contains_key(&key.blob);
        if room {
            known.entry(key.blob).or_default().insert((node, key));
        }
    }

    /// Whether so many blobs more can be remembered.
    pub(super) fn has_room(&self, blobs: usize) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len() + blobs <= MOST
    }

    /// The shards of a blob.
    pub(super) fn of(&self, blob: BlobId) -> Bad {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&blob).cloned().unwrap_or_default()
    }

    /// Forgets a shard that was written anew.
    pub(super) fn forget(&self, node: NodeId, key: ShardKey) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bad) = known.get_mut(&key.blob) {
            bad.remove(&(node, key));
            if bad.is_empty() {
                known.remove(&key.blob);
            }
        }
    }

    /// Hands out the shards of a blob, and forgets them.
    pub(super) fn take(&self, blob: BlobId) -> Bad {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(&blob).unwrap_or_default()
    }

    /// Forgets all shards of a blob.
    pub(super) fn forget_blob(&self, blob: BlobId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&blob);
    }
}
