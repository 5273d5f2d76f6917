//! Whether a failing node can be drained without an operator.

use crate::erasure::Code;
use crate::ids::{BlobId, NodeId};
use crate::placement::{ClusterMap, NodeState};

/// What a drain needs to know of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Whether it can be given shards: it is up, not full, and not failing itself.
    pub usable: bool,
    /// Bytes that it holds.
    pub held: u64,
    /// Bytes that it can still take.
    pub free: u64,
}

/// Why a failing node is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeldBack {
    /// It has no shards to give, or it gives them already.
    #[error("it is not active")]
    NotActive,
    /// One at a time.
    #[error("node {0} is being drained")]
    Another(String),
    /// Chunks would lie closer together than their code wants.
    #[error("only {usable} other nodes can take shards, and a chunk has {needed}; add a node")]
    TooFewNodes {
        /// Others that can take shards.
        usable: usize,
        /// Shards of a chunk.
        needed: usize,
    },
    /// The others would be full.
    #[error("it holds {held} bytes, and the others can take {free}; add a node")]
    NoRoom {
        /// Bytes on the node.
        held: u64,
        /// Bytes that the others can take and stay under nine tenths of it.
        free: u64,
    },
}

/// The next cluster map, with `node` drained: if no other node is being drained, each shard of a
/// chunk still has a node of its own, and the others have the room.
///
/// # Errors
/// [`HeldBack`].
pub fn drained(
    map: &ClusterMap,
    node: NodeId,
    code: Code,
    capacity: impl Fn(NodeId) -> Capacity,
) -> Result<ClusterMap, HeldBack> {
    if map.get(node).is_none_or(|n| n.state != NodeState::Active) {
        return Err(HeldBack::NotActive);
    }
    if let Some(other) = map.nodes.iter().find(|n| n.state == NodeState::Draining) {
        return Err(HeldBack::Another(other.name.clone()));
    }
    let mut next = map.clone();
    next.version += 1;
    let entry = next.nodes.iter_mut().find(|n| n.id == node);
    entry.ok_or(HeldBack::NotActive)?.state = NodeState::Draining;
    // Any chunk will do: which nodes are usable decides.
    next.place(BlobId::from_bytes([0; 16]), 0, code, code.n(), |id| capacity(id).usable)
        .map_err(|few| HeldBack::TooFewNodes { usable: few.usable, needed: few.needed })?;
    let active = next.nodes.iter().filter(|n| n.state == NodeState::Active);
    let usable = active.map(|n| capacity(n.id)).filter(|c| c.usable);
    let free = usable.fold(0u64, |sum, c| sum.saturating_add(c.free));
    let (held, free) = (capacity(node).held, free - free / 10);
    if held > free { Err(HeldBack::NoRoom { held, free }) } else { Ok(next) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::NodeEntry;
    use proptest::prelude::*;

    fn id(n: usize) -> NodeId {
        NodeId::from_bytes([n as u8; 16])
    }

    fn map(states: &[NodeState]) -> ClusterMap {
        let node = |(n, state): (usize, &NodeState)| NodeEntry {
            id: id(n),
            name: format!("node-{n}"),
            address: String::new(),
            domain: String::new(),
            weight: 1.0,
            state: *state,
        };
        ClusterMap { version: 3, nodes: states.iter().enumerate().map(node).collect() }
    }

    const ROOM: Capacity = Capacity { usable: true, held: 100, free: 1000 };

    #[test]
    fn seven_nodes_can_lose_one_and_six_can_not() {
        let next = drained(&map(&[NodeState::Active; 7]), id(2), Code::DEFAULT, |_| ROOM).unwrap();
        assert_eq!((next.version, next.get(id(2)).unwrap().state), (4, NodeState::Draining));
        let six = drained(&map(&[NodeState::Active; 6]), id(2), Code::DEFAULT, |_| ROOM);
        assert_eq!(six, Err(HeldBack::TooFewNodes { usable: 5, needed: 6 }));
    }

    #[test]
    fn one_at_a_time_and_not_where_there_is_no_room() {
        let mut states = [NodeState::Active; 9];
        states[8] = NodeState::Draining;
        let error = drained(&map(&states), id(2), Code::DEFAULT, |_| ROOM).unwrap_err();
        assert_eq!(error, HeldBack::Another("node-8".into()));
        let tight = |_| Capacity { free: 10, ..ROOM };
        let error = drained(&map(&[NodeState::Active; 9]), id(2), Code::DEFAULT, tight);
        assert_eq!(error, Err(HeldBack::NoRoom { held: 100, free: 72 }));
    }

    proptest! {
        #[test]
        fn a_drain_leaves_a_node_for_each_shard_and_touches_no_other(
            states in prop::collection::vec(prop::sample::select(vec![NodeState::Active, NodeState::Active, NodeState::Draining, NodeState::Gone]), 1..12),
            usable in prop::array::uniform12(prop::bool::weighted(0.9)), which in 0usize..12,
        ) {
            let map = map(&states);
            let at = |node: NodeId| (0..12).find(|n| id(*n) == node).unwrap();
            let capacity = |node| Capacity { usable: usable[at(node)], ..ROOM };
            if let Ok(next) = drained(&map, id(which), Code::DEFAULT, capacity) {
                let left = next.nodes.iter().filter(|n| n.state == NodeState::Active && usable[at(n.id)]);
                prop_assert!(left.count() >= Code::DEFAULT.n());
                let draining: Vec<_> = next.nodes.iter().filter(|n| n.state == NodeState::Draining).map(|n| n.id).collect();
                prop_assert_eq!(draining, vec![id(which)]);
                let changed = map.nodes.iter().zip(&next.nodes).filter(|(a, b)| a != b).count();
                prop_assert_eq!((changed, next.check_successor(Some(&map))), (1, Ok(())));
            }
        }
    }
}
