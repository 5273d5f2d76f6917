//! How far a chunk is from being lost.

use crate::manifest::ChunkRef;
use serde::{Deserialize, Serialize};

/// How one shard of a chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShardState {
    /// Where the manifest says, and as it says.
    Sound,
    /// On a node that can't be asked. It may well be there.
    Unreachable,
    /// Not written yet: the write met its quorum without it.
    Owed,
    /// Its node has it, damaged or of another shape.
    Damaged,
    /// Its node lacks it, or is gone.
    Missing,
}

/// What a chunk's shards say of it. The worst comes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Risk {
    /// All shards are sound.
    Whole,
    /// Some are not, and more may be lost.
    Degraded,
    /// It can be read, and one more loss would end that.
    AtRisk,
    /// It can't be read, unless nodes that can't be asked come back.
    Unavailable,
    /// Even all that may still be there is not enough.
    Lost,
}

/// A chunk's shards, counted by how they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Sound shards that it takes to read the chunk: k.
    pub needed: usize,
    /// Its shards: k+m.
    pub shards: usize,
    /// [`ShardState::Sound`].
    pub sound: usize,
    /// [`ShardState::Unreachable`].
    pub unreachable: usize,
    /// [`ShardState::Owed`].
    pub owed: usize,
    /// [`ShardState::Damaged`].
    pub damaged: usize,
    /// [`ShardState::Missing`].
    pub missing: usize,
}

impl Tally {
    /// Counts a chunk's shards. `state` is asked for those that have been written.
    pub fn of(chunk: ChunkRef<'_>, state: impl Fn(u8) -> ShardState) -> Self {
        let (needed, shards) = (chunk.chunk.shape.code().k(), chunk.shards());
        let mut tally = Self { needed, shards, ..Self::default() };
        for index in (0..=u8::MAX).take(shards) {
            let state = match chunk.node_of(index.into()) {
                Some(_) => state(index),
                None => ShardState::Owed,
            };
            *match state {
                ShardState::Sound => &mut tally.sound,
                ShardState::Unreachable => &mut tally.unreachable,
                ShardState::Owed => &mut tally.owed,
                ShardState::Damaged => &mut tally.damaged,
                ShardState::Missing => &mut tally.missing,
            } += 1;
        }
        tally
    }

    /// What that means for the chunk.
    pub fn risk(&self) -> Risk {
        match self.sound {
            sound if sound == self.shards => Risk::Whole,
            sound if sound > self.needed => Risk::Degraded,
            sound if sound == self.needed => Risk::AtRisk,
            sound if sound + self.unreachable >= self.needed => Risk::Unavailable,
            _ => Risk::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::erasure::Code;
    use crate::ids::{BlobId, NodeId};
    use crate::layout::ChunkShape;
    use crate::manifest::{Checksums, Chunk, Content, Part};
    use proptest::prelude::*;

    fn states() -> impl Strategy<Value = ShardState> {
        use ShardState::{Damaged, Missing, Owed, Sound, Unreachable};
        prop::sample::select(vec![Sound, Sound, Sound, Unreachable, Owed, Damaged, Missing])
    }

    proptest! {
        /// One more sound shard never makes it worse, and what can be read is never called lost.
        #[test]
        fn risk_follows_what_can_be_read(
            states in prop::collection::vec(states(), 6), mended in 0usize..6,
        ) {
            let tally = |states: &[ShardState]| {
                let shape = ChunkShape::new(4_000_000, Code::DEFAULT).unwrap();
                let owed = |s: &ShardState| *s == ShardState::Owed;
                let placed = states.iter().zip(0..).map(|(s, i)| (!owed(s)).then_some(i)).collect();
                let nodes = (0..6).map(|i| NodeId::from_bytes([i; 16])).collect();
                let part = Part {
                    blob: BlobId::from_bytes([1; 16]),
                    wrapped_key: vec![],
                    size: 4_000_000,
                    md5: [0; 16],
                    checksums: Checksums::new(),
                    content: Content::Sharded {
                        nodes,
                        chunks: vec![Chunk { shape, placed, generations: vec![] }],
                    },
                };
                Tally::of(part.chunk(0).unwrap(), |index| states[usize::from(index)])
            };
            let before = tally(&states);
            let sum = before.sound + before.unreachable + before.owed + before.damaged + before.missing;
            prop_assert_eq!((before.needed, before.shards, sum), (4, 6, 6));
            prop_assert_eq!(before.risk() <= Risk::AtRisk, before.sound >= 4);
            prop_assert_eq!(before.risk() == Risk::Whole, before.sound == 6);
            let mut with = states.clone();
            with[mended] = ShardState::Sound;
            prop_assert!(tally(&with).risk() <= before.risk());
            let back = states.iter().map(|s| match s {
                ShardState::Unreachable => ShardState::Sound,
                other => *other,
            });
            let back = tally(&back.collect::<Vec<_>>());
            prop_assert_eq!(before.risk() == Risk::Lost, back.sound < 4);
        }
    }
}
