//! When a read is late, and how often one may be asked for a second time elsewhere.
//!
//! A read is late when it takes much longer than reads of its kind have taken lately at most nodes:
//! what is usual on a busy machine is no reason to ask for more. And what is asked for because
//! something is late is a small part of what is asked for at all, so that nodes that are all slow,
//! since there is too much to do, are not given more of it.
//!
//! Reads that go around nodes which have failed, or are known to be slow, are none of this.

use super::nodes::{Length, NodeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A read is late after this many times what is usual.
const TIMES: u32 = 3;
/// For so many reads, one more may be asked for because something is late,
const READS_PER_EXTRA: u64 = 20;
/// and so many at once, after quiet times.
const BURST: u64 = 32;

/// What may be spent on late reads of each kind, and when they are.
#[derive(Debug)]
pub(super) struct Hedging {
    floor: Duration,
    cap: Duration,
    /// In parts of a read, of which [`READS_PER_EXTRA`] are one.
    short: AtomicU64,
    long: AtomicU64,
}

impl Hedging {
    /// Reads are never late before `floor`, and always at `cap`.
    pub(super) fn new(floor: Duration, cap: Duration) -> Self {
        let purse = || AtomicU64::new(BURST * READS_PER_EXTRA);
        Self { floor, cap, short: purse(), long: purse() }
    }

    /// When a read is late.
    pub(super) fn late_after(&self, nodes: &NodeSet, length: Length) -> Duration {
        let usual = nodes.usual_read(length);
        usual.map_or(self.cap, |usual| (usual * TIMES).max(self.floor).min(self.cap))
    }

    /// So many reads were asked for that somebody wants: some more may be asked for when such are late.
    pub(super) fn earn(&self, reads: usize, length: Length) {
        let earned = |purse: u64| Some((purse + reads as u64).min(BURST * READS_PER_EXTRA));
        let _ = self.purse(length).fetch_update(Ordering::Relaxed, Ordering::Relaxed, earned);
    }

    /// Whether so many reads more may be asked for now; if so, they are spent.
    pub(super) fn spend(&self, reads: usize, length: Length) -> bool {
        let spent = |purse: u64| purse.checked_sub(reads as u64 * READS_PER_EXTRA);
        self.purse(length).fetch_update(Ordering::Relaxed, Ordering::Relaxed, spent).is_ok()
    }

    fn purse(&self, length: Length) -> &AtomicU64 {
        match length {
            Length::Short => &self.short,
            Length::Long => &self.long,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_reads_cost_a_small_part_of_all_reads_and_a_burst() {
        let hedging = Hedging::new(Duration::ZERO, Duration::MAX);
        let mut extra = 0;
        for _ in 0..1000 {
            hedging.earn(4, Length::Long);
            extra += 3 * u64::from(hedging.spend(3, Length::Long));
        }
        assert!((4000 / 20..=4000 / 20 + BURST).contains(&extra), "{extra}");
        // Quiet times are not saved up for, and short reads have their own.
        hedging.earn(1_000_000, Length::Long);
        assert_eq!((0..1000).filter(|_| hedging.spend(1, Length::Long)).count() as u64, BURST);
        assert!(hedging.spend(1, Length::Short));
    }
}
