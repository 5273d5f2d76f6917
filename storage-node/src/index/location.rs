//! What the index says: where shards are, and what each volume holds.

use crate::volume::{VolumeNo, record};
use coffer_core::shard::ShardInfo;
use serde::{Deserialize, Serialize};

/// Where a shard's record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// The volume's number.
    pub volume: u32,
    /// The record's first byte within the volume.
    pub offset: u64,
    /// The shard's shape.
    pub info: ShardInfo,
    /// Where dead records of the same shard may lie.
    pub copies: Copies,
}

/// Where dead records of a live shard may lie: whoever deletes the shard must keep those from
/// coming back when the volumes are replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Copies {
    /// Nowhere but in the volume of the live one.
    Sole,
    /// In this volume too, for as long as there is such a volume.
    Also(u32),
    /// Anywhere.
    Anywhere,
}

impl Location {
    /// The volume.
    pub fn volume(&self) -> VolumeNo {
        VolumeNo(self.volume)
    }

    /// Whether this is the record at `other`, whatever is known of its copies.
    pub fn is_at(&self, other: &Self) -> bool {
        (self.volume, self.offset, self.info) == (other.volume, other.offset, other.info)
    }

    /// Bytes of the whole record.
    pub fn record_len(&self) -> u64 {
        record::total_len(&self.info)
    }

    /// The one volume that holds records of the shard, if it is known that there is only one.
    /// `exists` tells which volumes there are; their numbers are not used again.
    pub fn only_volume(&self, exists: impl Fn(VolumeNo) -> bool) -> Option<VolumeNo> {
        let sole = match self.copies {
            Copies::Sole => true,
            Copies::Also(other) => other == self.volume || !exists(VolumeNo(other)),
            Copies::Anywhere => false,
        };
        sole.then_some(self.volume())
    }
}

impl Copies {
    /// What to note with a record in `volume` that takes the place of the one at `before`.
    pub fn after(
        before: Option<&Location>,
        volume: VolumeNo,
        exists: impl Fn(VolumeNo) -> bool,
    ) -> Self {
        let Some(before) = before else { return Self::Sole };
        match before.only_volume(exists) {
            Some(only) if only == volume => Self::Sole,
            Some(only) => Self::Also(only.0),
            None if before.volume == volume.0 => before.copies,
            None => Self::Anywhere,
        }
    }
}

/// What a volume holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Live shards.
    pub records: u64,
    /// Bytes of their whole records.
    pub bytes: u64,
    /// Tombstones, needed or not.
    pub tombstones: u64,
}

impl Usage {
    /// One live shard's record.
    pub fn of(location: &Location) -> Self {
        Self { records: 1, bytes: location.record_len(), tombstones: 0 }
    }

    /// One tombstone.
    pub const TOMBSTONE: Self = Self { records: 0, bytes: 0, tombstones: 1 };

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            records: self.records.saturating_add(other.records),
            bytes: self.bytes.saturating_add(other.bytes),
            tombstones: self.tombstones.saturating_add(other.tombstones),
        }
    }

    /// This without the other.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            records: self.records.saturating_sub(other.records),
            bytes: self.bytes.saturating_sub(other.bytes),
            tombstones: self.tombstones.saturating_sub(other.tombstones),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_core::erasure::Code;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn at(volume: u32, copies: Copies) -> Location {
        let info = ShardInfo { code: Code::DEFAULT, block_size: 100, len: 10 };
        Location { volume, offset: 64, info, copies }
    }

    proptest! {
        /// A shard is put again and again while volumes vanish; never is one named as the only one
        /// while another holds a record.
        #[test]
        fn a_volume_is_said_to_be_the_only_one_only_if_it_is(
            steps in prop::collection::vec((any::<bool>(), 0u32..3), 1..20),
        ) {
            let (mut volume, mut gone) = (1, BTreeSet::new());
            let mut holders = BTreeSet::from([1]);
            let mut now = at(1, Copies::after(None, VolumeNo(1), |_| true));
            for (put, n) in steps {
                let exists = |v: VolumeNo| !gone.contains(&v.0);
                if put {
                    volume += n;
                    now = at(volume, Copies::after(Some(&now), VolumeNo(volume), exists));
                    holders.insert(volume);
                } else if let Some(first) = holders.iter().nth(n as usize).copied()
                    && first != now.volume
                {
                    holders.remove(&first);
                    gone.insert(first);
                }
                let exists = |v: VolumeNo| !gone.contains(&v.0);
                if let Some(only) = now.only_volume(exists) {
                    prop_assert_eq!(&holders, &BTreeSet::from([only.0]));
                }
            }
        }
    }

    #[test]
    fn a_record_that_moved_is_the_only_one_once_its_old_volume_is_gone() {
        let moved = at(5, Copies::after(Some(&at(2, Copies::Sole)), VolumeNo(5), |_| true));
        assert_eq!(moved.only_volume(|_| true), None);
        assert_eq!(moved.only_volume(|v| v.0 != 2), Some(VolumeNo(5)));
        let again = Copies::after(Some(&moved), VolumeNo(7), |v| v.0 != 2);
        assert_eq!(again, Copies::Also(5));
    }
}
