//! When compaction is worth its while, and how fast it may go.

use crate::index::Usage;
use crate::volume::VolumeNo;
use crate::volume::record::HEAD_LEN;

/// A volume is compacted too when its live bytes are this much rarer in its length than they must
/// be on the medium: holes take no space, but a replay walks over what lies between them.
const LENGTH_FACTOR: u128 = 5;

/// How a node gets space back that dead shards take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactOptions {
    /// A volume is compacted when less than so many percent of what it takes on disk is live, or
    /// less than a fifth of that of its length; at most [`CompactOptions::MAX_PERCENT`]. Zero turns
    /// compaction off.
    pub live_percent: u8,
    /// Bytes a second that are read and copied at most. Zero turns compaction off.
    pub max_bytes_per_second: u64,
}

impl Default for CompactOptions {
    /// Half, so that no more bytes are copied than space is gained, at 32 MiB/s.
    fn default() -> Self {
        Self { live_percent: 50, max_bytes_per_second: 32 << 20 }
    }
}

impl CompactOptions {
    /// No compaction.
    pub const OFF: Self = Self { live_percent: 0, max_bytes_per_second: 0 };

    /// The greatest threshold. Beyond it more than nine bytes would be copied for one gained.
    pub const MAX_PERCENT: u8 = 90;

    /// Whether there is any.
    pub fn is_on(&self) -> bool {
        self.live_percent > 0 && self.max_bytes_per_second > 0
    }

    /// Whether a volume of which `copy` bytes are still needed is to be compacted.
    pub(super) fn wants(&self, volume: &Candidate, copy: u64) -> bool {
        let percent = u128::from(self.live_percent.min(Self::MAX_PERCENT));
        let copy = u128::from(copy) * 100;
        volume.doubtful
            || copy < u128::from(volume.allocated) * percent
            || copy * LENGTH_FACTOR < u128::from(volume.len) * percent
    }
}

/// A volume that is no longer written to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) no: VolumeNo,
    /// Bytes of the file.
    pub(super) len: u64,
    /// Bytes that it takes on the medium.
    pub(super) allocated: u64,
    pub(super) usage: Usage,
    /// It may hold what nobody was told of, or its end was lost: it is replaced as soon as possible.
    pub(super) doubtful: bool,
}

impl Candidate {
    /// Bytes to copy at most.
    pub(super) fn copy_at_most(&self) -> u64 {
        let tombstones = self.usage.tombstones.saturating_mul(HEAD_LEN as u64);
        self.usage.bytes.saturating_add(tombstones)
    }
}

/// In the order in which they gain the most for each byte that is copied.
pub(super) fn sort(candidates: &mut [Candidate]) {
    candidates.sort_by(|a, b| {
        let cost = |c: &Candidate, other: &Candidate| {
            u128::from(c.usage.bytes) * u128::from(other.allocated)
        };
        cost(a, b).cmp(&cost(b, a)).then(a.no.cmp(&b.no))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn volume(no: u32, len: u64, allocated: u64, bytes: u64) -> Candidate {
        let usage = Usage { records: 1, bytes, tombstones: 0 };
        Candidate { no: VolumeNo(no), len, allocated, usage, doubtful: false }
    }

    #[test]
    fn what_is_half_dead_or_mostly_holes_is_wanted() {
        let options = CompactOptions::default();
        let wants = |v: Candidate| options.wants(&v, v.usage.bytes);
        assert!(wants(volume(1, 1000, 1000, 499)) && !wants(volume(1, 1000, 1000, 500)));
        // All the space is used well, but it is a tenth of the length.
        assert!(wants(volume(1, 10_000, 1000, 999)) && !wants(volume(1, 10_000, 1000, 1000)));
        assert!(wants(Candidate { doubtful: true, ..volume(1, 1000, 1000, 1000) }));
        assert!(wants(volume(1, 64, 64, 0)));
    }

    proptest! {
        #[test]
        fn the_first_gains_the_most_for_each_byte(
            volumes in prop::collection::vec((1u64..1 << 30, 0u64..1 << 30), 1..20),
        ) {
            let mut all: Vec<Candidate> = (1u32..)
                .zip(&volumes)
                .map(|(no, (allocated, live))| volume(no, *allocated, *allocated, *live.min(allocated)))
                .collect();
            sort(&mut all);
            let share = |c: &Candidate| c.usage.bytes as f64 / c.allocated as f64;
            prop_assert!(all.windows(2).all(|w| share(&w[0]) <= share(&w[1]) + 1e-12));
        }
    }
}
