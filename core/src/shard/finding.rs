//! What a node has found damaged among the shards that it should have.

use super::ShardKey;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest text of an error that travels, in bytes.
pub const MAX_REASON: usize = 200;

/// A shard that a node has, by its index, and can't give as it was stored. The index keeps the
/// shard, so that the node still lists it, until it is stored anew or deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Grows from one finding of a node to the next. A node whose index was lost may begin anew.
    pub id: u64,
    /// The shard.
    pub key: ShardKey,
    /// What is wrong with it.
    pub damage: Damage,
}

/// What is wrong with a shard on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Damage {
    /// A block of the payload does not match its checksum.
    BadBlock {
        /// The first such block.
        block: u32,
    },
    /// The record's header or its table of checksums is damaged, or another record is in its place.
    BadRecord,
    /// The disk does not give the bytes.
    Unreadable(String),
}

impl Damage {
    /// [`Damage::Unreadable`] with the begin of an error's text.
    pub fn unreadable(error: &dyn fmt::Display) -> Self {
        let mut text = error.to_string();
        text.truncate(text.floor_char_boundary(MAX_REASON));
        Self::Unreadable(text)
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadBlock { block } => write!(f, "block {block} does not match its checksum"),
            Self::BadRecord => f.write_str("the record's header or table is damaged"),
            Self::Unreadable(error) => write!(f, "the disk does not give it: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn errors_of_any_length_are_cut_between_characters(text in "\\PC{0,300}") {
            let Damage::Unreadable(kept) = Damage::unreadable(&text) else { unreachable!() };
            prop_assert!(text.starts_with(&kept) && kept.len() <= MAX_REASON);
            prop_assert!(kept.len() + 4 > MAX_REASON || kept == text);
        }
    }
}
