//! How a node is doing, in raw figures.

use super::DiskReport;
use crate::ids::NodeId;
use serde::{Deserialize, Serialize};

/// How a node is doing. Counters begin at 0 when the node is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStat {
    /// The node that answers.
    pub node: NodeId,
    /// When the node was started, in Unix milliseconds by its own clock; tells one run from the
    /// next.
    pub started: u64,
    /// Shards in its index.
    pub shards: u64,
    /// Bytes of payload of those shards.
    pub live_bytes: u64,
    /// Bytes of volume files on disk.
    pub volume_bytes: u64,
    /// Bytes that the file system still offers above the node's reserve.
    pub free_bytes: u64,
    /// Bytes of the file system that the volumes are on.
    pub total_bytes: u64,
    /// Whether it takes writes at the moment.
    pub writable: bool,
    /// Writes and deletes that wait.
    pub queue_depth: u32,
    /// Shards found damaged since the start, each counted once; [`NodeStat::findings`] are open.
    pub corrupt: u64,
    /// Stretches of damaged bytes met at the start where records were. What they held is not known:
    /// comparing the node's list with the catalog tells.
    pub damaged_stretches: u64,
    /// Findings that are open: shards still damaged.
    pub findings: u64,
    /// What the disk did for the volumes.
    pub io: IoStat,
    /// How far the scrub is.
    pub scrub: ScrubStat,
    /// What compaction does.
    pub compaction: CompactionStat,
    /// What the disks under the volumes say of themselves; empty where that can't be read.
    pub disks: Vec<DiskReport>,
}

impl NodeStat {
    /// A node that holds nothing, takes everything, and has seen no trouble.
    pub fn idle(node: NodeId) -> Self {
        Self {
            node,
            started: 0,
            shards: 0,
            live_bytes: 0,
            volume_bytes: 0,
            free_bytes: 0,
            total_bytes: 0,
            writable: true,
            queue_depth: 0,
            corrupt: 0,
            damaged_stretches: 0,
            findings: 0,
            io: IoStat::default(),
            scrub: ScrubStat::default(),
            compaction: CompactionStat::default(),
            disks: Vec::new(),
        }
    }
}

/// How far a node is in verifying all that it stores. Kept over restarts with the node's index.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubStat {
    /// When the round began, in Unix milliseconds by the node's clock, for display only.
    pub began: Option<u64>,
    /// Bytes of payload verified in this round.
    pub verified_bytes: u64,
    /// Bytes of payload that the round is over, as things are now.
    pub total_bytes: u64,
    /// Rounds that were completed.
    pub rounds: u64,
    /// The pace, in bytes a second; 0 when scrubbing is off.
    pub bytes_per_second: u64,
}

/// What a node does to get space back that dead shards take. Counters begin at 0 when the node is
/// started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompactionStat {
    /// Bytes that the volumes take on disk beyond the records of live shards.
    pub dead_bytes: u64,
    /// Volumes that were removed.
    pub volumes: u64,
    /// Bytes that were copied out of them.
    pub copied_bytes: u64,
    /// Bytes that they took on disk when their compaction began.
    pub freed_bytes: u64,
    /// The volume that is being compacted.
    pub current: Option<u32>,
    /// Volumes that are left alone for now: they hold damaged records, or could not be read.
    pub held_back: u32,
    /// Whether volumes wait because there is no space for the copies.
    pub short_of_space: bool,
    /// The pace, in bytes a second that are read and copied; 0 when compaction is off.
    pub bytes_per_second: u64,
}

/// Operations on the files of the volumes since the node was started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoStat {
    /// Reads, but for those in the background.
    pub reads: OpStat,
    /// Reads by the scrub and by compaction, which are of whole shards.
    pub scrub_reads: OpStat,
    /// Writes, without their fsyncs.
    pub writes: OpStat,
    /// `fdatasync` calls.
    pub syncs: OpStat,
}

/// One kind of operation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpStat {
    /// How long those took that ended, failed ones too.
    pub latencies: Latencies,
    /// How many failed. A full disk is no failure.
    pub errors: u64,
    /// How many are under way: a disk that hangs shows only here.
    pub in_flight: u32,
}

/// A histogram of latencies in powers of two of a microsecond. Two of them, taken one after the
/// other, tell about the time in between.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latencies {
    /// `counts[i]` operations took less than 2^i microseconds, and not less than 2^(i-1) if there is
    /// a smaller bucket. The last bucket holds all that took longer.
    pub counts: [u64; Self::BUCKETS],
    /// Microseconds that all took together.
    pub total_us: u64,
}

impl Latencies {
    /// Buckets of a histogram; the last begins at about 4 seconds.
    pub const BUCKETS: usize = 24;

    /// The bucket of a latency.
    pub fn bucket(us: u64) -> usize {
        let bits = u64::BITS - us.leading_zeros();
        (bits as usize).min(Self::BUCKETS - 1)
    }

    /// Operations counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, n| sum.saturating_add(*n))
    }

    /// The mean in microseconds; `None` if there was nothing.
    pub fn mean_us(&self) -> Option<u64> {
        self.total_us.checked_div(self.count())
    }

    /// Microseconds that no fewer than `permille` thousandths of the operations stayed under: a
    /// bucket's bound, so up to twice too much. `None` if there was nothing.
    pub fn quantile_us(&self, permille: u64) -> Option<u64> {
        let all = self.count();
        let wanted = all.saturating_mul(permille.min(1000)).div_ceil(1000).max(1);
        let mut sum = 0u64;
        let bucket = self.counts.iter().position(|n| {
            sum = sum.saturating_add(*n);
            sum >= wanted
        })?;
        Some(1 << bucket)
    }

    /// What was added since `earlier`, a histogram of the same run.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut counts = self.counts;
        for (now, then) in counts.iter_mut().zip(earlier.counts) {
            *now = now.saturating_sub(then);
        }
        Self { counts, total_us: self.total_us.saturating_sub(earlier.total_us) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[u64]) -> Latencies {
        let mut all = Latencies::default();
        for us in values {
            all.counts[Latencies::bucket(*us)] += 1;
            all.total_us += us;
        }
        all
    }

    proptest! {
        #[test]
        fn quantiles_bound_what_was_recorded(mut values in prop::collection::vec(0u64..4_000_000, 1..50), permille in 0u64..=1000) {
            let bound = of(&values).quantile_us(permille).unwrap();
            values.sort_unstable();
            let rank = (values.len() * permille as usize).div_ceil(1000).max(1);
            let exact = values[rank - 1];
            prop_assert!(exact < bound && bound <= 2 * exact.max(1), "{exact} {bound}");
        }

        #[test]
        fn the_difference_is_what_came_in_between(a: Vec<u32>, b: Vec<u32>) {
            let wide = |v: &[u32]| v.iter().map(|us| u64::from(*us)).collect::<Vec<_>>();
            let (first, second) = (wide(&a), wide(&b));
            let both = of(&[first.clone(), second.clone()].concat());
            prop_assert_eq!(both.since(&of(&first)), of(&second));
        }
    }

    #[test]
    fn nothing_has_no_mean_and_no_quantile() {
        assert_eq!(Latencies::default().mean_us(), None);
        assert_eq!(Latencies::default().quantile_us(500), None);
        let odd = Latencies { counts: [u64::MAX; Latencies::BUCKETS], total_us: u64::MAX };
        assert_eq!(odd.mean_us(), Some(1));
        assert!(odd.quantile_us(990).is_some());
    }
}
