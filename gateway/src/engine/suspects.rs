//! Shards that reads found lost, damaged or forged, until repair asks for them.

use coffer_core::ids::NodeId;
use coffer_core::shard::ShardKey;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// The most that are remembered; what is beyond it is found again by the next read, or by a scrub.
pub(super) const MOST: usize = 4096;

/// The shards, each with the node that should have it.
#[derive(Debug, Default)]
pub(super) struct Suspects(Mutex<HashSet<(NodeId, ShardKey)>>);

impl Suspects {
    /// Remembers a shard.
    pub(super) fn note(&self, node: NodeId, key: ShardKey) {
        self.note_all(&[(node, key)]);
    }

    /// Remembers shards, as far as there is room. Returns how many, from the first on.
    pub(super) fn note_all(&self, shards: &[(NodeId, ShardKey)]) -> usize {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut noted = 0;
        for shard in shards {
            if known.len() >= MOST && !known.contains(shard) {
                break;
            }
            known.insert(*shard);
            noted += 1;
        }
        noted
    }

    /// Hands out all of them, and forgets them.
    pub(super) fn take(&self) -> HashSet<(NodeId, ShardKey)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_core::ids::BlobId;

    #[test]
    fn what_is_beyond_the_bound_is_not_taken() {
        let blob = BlobId::from_bytes([1; 16]);
        let node = NodeId::from_bytes([2; 16]);
        let shard = |chunk| (node, ShardKey { blob, chunk, index: 0, generation: 0 });
        let shards: Vec<_> = (0..5000).map(shard).collect();
        let suspects = Suspects::default();
        assert_eq!(suspects.note_all(&shards), MOST);
        assert_eq!(suspects.note_all(&shards[..10]), 10, "they are known");
        assert_eq!(suspects.take().len(), MOST);
        assert_eq!(suspects.note_all(&shards[MOST..]), 5000 - MOST);
    }
}
