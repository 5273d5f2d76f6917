//! How full a node is.

use crate::shard::NodeStat;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A node that has less than this free is nearly full, in thousandths of its file system,
const NEARLY_FULL_PERMILLE: u64 = 100;
/// until it has this much again.
const ROOM_AGAIN_PERMILLE: u64 = 120;

/// How full a node is.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Space {
    /// There is room.
    #[default]
    Room,
    /// Less than a tenth is free.
    NearlyFull,
    /// It takes no writes.
    Full,
}

impl Space {
    /// How full a node is that was `before`. Free is what lies above the node's reserve.
    pub fn of(stat: &NodeStat, before: Self) -> Self {
        let permille = match before {
            Self::Room => NEARLY_FULL_PERMILLE,
            Self::NearlyFull | Self::Full => ROOM_AGAIN_PERMILLE,
        };
        let free = u128::from(stat.free_bytes) * 1000;
        if !stat.writable {
            Self::Full
        } else if free < u128::from(stat.total_bytes) * u128::from(permille) {
            Self::NearlyFull
        } else {
            Self::Room
        }
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Room => "room",
            Self::NearlyFull => "nearly full",
            Self::Full => "full",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::NodeId;
    use proptest::prelude::*;

    fn stat(free_bytes: u64, total_bytes: u64) -> NodeStat {
        NodeStat { free_bytes, total_bytes, ..NodeStat::idle(NodeId::from_bytes([1; 16])) }
    }

    #[test]
    fn a_node_that_hovers_about_the_bound_does_not_flap() {
        assert_eq!(Space::of(&stat(100, 1000), Space::Room), Space::Room);
        assert_eq!(Space::of(&stat(99, 1000), Space::Room), Space::NearlyFull);
        assert_eq!(Space::of(&stat(119, 1000), Space::NearlyFull), Space::NearlyFull);
        assert_eq!(Space::of(&stat(120, 1000), Space::NearlyFull), Space::Room);
        let full = NodeStat { writable: false, ..stat(500, 1000) };
        assert_eq!(Space::of(&full, Space::Room), Space::Full);
        assert_eq!(Space::of(&stat(0, 0), Space::Room), Space::Room, "its size is not known");
    }

    proptest! {
        #[test]
        fn less_room_is_never_better(free: u64, less: u64, total: u64, before in prop::sample::select(vec![Space::Room, Space::NearlyFull, Space::Full])) {
            let fuller = stat(free.saturating_sub(less), total);
            prop_assert!(Space::of(&fuller, before) >= Space::of(&stat(free, total), before));
        }
    }
}
