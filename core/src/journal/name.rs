//! Names of records and their parts.

use crate::ids::BlobId;
use crate::shard::ShardKey;
use std::fmt;

const GROUPS: u8 = 1;
const SNAPSHOT: u8 = 2;

/// A record of the journal. Indices are those of the replicated log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Record {
    /// All that was applied from one index to another.
    Groups {
        /// The first index.
        from: u64,
        /// The last one.
        until: u64,
    },
    /// The whole catalog.
    Snapshot {
        /// As of this index.
        index: u64,
        /// Drawn by the writer, so that attempts are not mixed.
        attempt: u16,
    },
}

impl Record {
    /// The greatest index that has a name.
    pub const MAX_INDEX: u64 = (1 << 56) - 1;
    /// The most indices that one record of groups can cover.
    pub const MAX_SPAN: u64 = 1 << 16;

    /// A record of groups; `None` when it would cover nothing, too much, or too great an index.
    pub fn groups(from: u64, until: u64) -> Option<Self> {
        let span = until.checked_sub(from)?;
        (span < Self::MAX_SPAN && until <= Self::MAX_INDEX).then_some(Self::Groups { from, until })
    }

    /// A snapshot; `None` when the index is too great.
    pub fn snapshot(index: u64, attempt: u16) -> Option<Self> {
        (index <= Self::MAX_INDEX).then_some(Self::Snapshot { index, attempt })
    }

    /// The last index that it covers.
    pub fn until(self) -> u64 {
        match self {
            Self::Groups { until, .. } => until,
            Self::Snapshot { index, .. } => index,
        }
    }

    /// The name of a copy of a part of it.
    pub fn key(self, part: u32, copy: u8) -> ShardKey {
        let (kind, generation) = match self {
            // No wider by construction.
            Self::Groups { from, until } => {
                (GROUPS, u16::try_from(until.saturating_sub(from)).unwrap_or(u16::MAX))
            }
            Self::Snapshot { attempt, .. } => (SNAPSHOT, attempt),
        };
        let mut blob = [0xFF; 16];
        blob[8..].copy_from_slice(&self.until().to_be_bytes());
        blob[8] = kind;
        ShardKey { blob: BlobId::from_bytes(blob), chunk: part, index: copy, generation }
    }

    /// The record and the part that a shard is of; `None` when it is not the journal's, or of a kind
    /// that is not known here.
    pub fn of(key: &ShardKey) -> Option<(Self, u32)> {
        if !key.blob.is_reserved() {
            return None;
        }
        let mut index = [0u8; 8];
        index[1..].copy_from_slice(&key.blob.as_bytes()[9..]);
        let until = u64::from_be_bytes(index);
        let record = match key.blob.as_bytes()[8] {
            GROUPS => Self::groups(until.checked_sub(u64::from(key.generation))?, until)?,
            SNAPSHOT => Self::snapshot(until, key.generation)?,
            _ => return None,
        };
        Some((record, key.chunk))
    }

    /// The name after which a node lists the journal's shards, and nothing else.
    pub fn before_all() -> ShardKey {
        let mut blob = [0xFF; 16];
        blob[7] = 0xFE;
        let blob = BlobId::from_bytes(blob);
        ShardKey { blob, chunk: u32::MAX, index: u8::MAX, generation: u16::MAX }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Groups { from, until } => write!(f, "groups {from} to {until}"),
            Self::Snapshot { index, attempt } => write!(f, "snapshot {index} ({attempt:04x})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record() -> impl Strategy<Value = Record> {
        let index = 0..=Record::MAX_INDEX;
        prop_oneof![
            (index.clone(), any::<u16>()).prop_filter_map("span", |(until, span)| Record::groups(
                until.checked_sub(u64::from(span))?,
                until
            )),
            (index, any::<u16>()).prop_filter_map("index", |(i, a)| Record::snapshot(i, a)),
        ]
    }

    proptest! {
        #[test]
        fn names_read_back_and_are_listed(record in record(), part: u32, copy: u8) {
            let key = record.key(part, copy);
            prop_assert_eq!(Record::of(&key), Some((record, part)));
            prop_assert!(key > Record::before_all());
        }

        #[test]
        fn shards_of_objects_are_none_of_the_journal(blob: [u8; 16], chunk: u32, generation: u16) {
            let blob = BlobId::from_bytes(blob);
            let key = ShardKey { blob, chunk, index: 0, generation };
            prop_assert!(Record::of(&key).is_none() || blob.is_reserved());
            prop_assert!(key < Record::before_all() || blob.is_reserved());
        }
    }

    #[test]
    fn what_has_no_name_is_refused() {
        assert_eq!(Record::groups(2, 1), None);
        assert_eq!(Record::groups(0, Record::MAX_SPAN), None);
        assert_eq!(Record::snapshot(Record::MAX_INDEX + 1, 0), None);
    }
}
