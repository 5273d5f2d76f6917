//! How long a node takes to answer, and whether that is long beside the others.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A node is slow when it takes this many times as long as the median of the others,
const TIMES: u64 = 10;
/// and at least this long.
const FLOOR: Duration = Duration::from_millis(20);
/// With fewer others there is no telling what is usual.
const MIN_PEERS: usize = 2;
/// A node is silent when so many calls in a row were late, and most others are not late at all.
const SILENT: u64 = 4;

/// What is asked of a node, as far as its patience is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Reading blocks.
    Read,
    /// Writing a shard, with its fsync.
    Write,
    /// Anything else; it is not timed.
    Other,
}

/// A moving estimate of a node's latency for one kind of call.
#[derive(Debug, Default)]
pub(super) struct Latency {
    /// In microseconds; 0 while nothing is known.
    estimate: AtomicU64,
    /// How often calls were late since one has ended.
    late: AtomicU64,
}

impl Latency {
    /// Learns from a call that has ended. An estimate grows slowly and falls faster, so that one
    /// hiccup is soon forgiven.
    pub(super) fn note(&self, took: Duration) {
        self.late.store(0, Ordering::Relaxed);
        self.learn(took);
    }

    fn learn(&self, took: Duration) {
        let took = micros(took).max(1);
        let learn = |old: u64| match old {
            0 => took,
            old if took > old => old + (took - old) / 8,
            old => old - (old - took) / 4,
        };
        let _ = self
            .estimate
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| Some(learn(old)));
    }

    /// Learns from a call that was given up: it would have taken at least this long.
    pub(super) fn note_given_up(&self, after: Duration) {
        if micros(after) > self.micros() {
            self.learn(after);
        }
    }

    /// Learns that a call is late.
    pub(super) fn note_late(&self) {
        self.late.fetch_add(1, Ordering::Relaxed);
    }

    /// How often calls were late since one has ended.
    pub(super) fn late(&self) -> u64 {
        self.late.load(Ordering::Relaxed)
    }

    /// The estimate in microseconds; 0 while nothing is known.
    pub(super) fn micros(&self) -> u64 {
        self.estimate.load(Ordering::Relaxed)
    }
}

/// Whether a node with this estimate is slow beside others with those; all in microseconds, 0 where
/// nothing is known.
pub(super) fn is_slow(own: u64, others: impl Iterator<Item = u64>) -> bool {
    if own < micros(FLOOR) {
        return false;
    }
    let mut others: Vec<u64> = others.filter(|o| *o > 0).collect();
    others.sort_unstable();
    others.len() >= MIN_PEERS && own / TIMES >= others[others.len() / 2]
}

/// Whether a node with so many late calls in a row says nothing, unless others say nothing either.
pub(super) fn is_silent(own: u64, others: impl Iterator<Item = u64>) -> bool {
    if own < SILENT {
        return false;
    }
    let mut others: Vec<u64> = others.collect();
    others.sort_unstable();
    others.len() >= MIN_PEERS && others[others.len() / 2] == 0
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(calls: &[u64]) -> u64 {
        let latency = Latency::default();
        calls.iter().for_each(|ms| latency.note(Duration::from_millis(*ms)));
        latency.micros()
    }

    #[test]
    fn ten_times_slower_than_the_median_is_slow_unless_it_is_fast_all_the_same() {
        let peers = [2_000, 3_000, 4_000, 500_000, 0];
        assert!(is_slow(40_000, peers.into_iter()));
        assert!(!is_slow(39_000, peers.into_iter()));
        assert!(!is_slow(19_000, [100, 100, 100].into_iter()), "under the floor");
        assert!(!is_slow(1_000_000, [100].into_iter()), "one peer is no measure");
    }

    #[test]
    fn a_node_that_became_slow_is_noticed_and_forgiven() {
        let usual = [1; 20];
        let slow = after(&[&usual[..], &[300; 3]].concat());
        assert!(is_slow(slow, [1_000; 5].into_iter()));
        let well = after(&[&usual[..], &[300; 3], &[1; 20]].concat());
        assert!(!is_slow(well, [1_000; 5].into_iter()));
    }

    #[test]
    fn calls_that_were_given_up_only_raise_the_estimate() {
        let latency = Latency::default();
        latency.note(Duration::from_millis(10));
        latency.note_given_up(Duration::from_millis(1));
        assert_eq!(latency.micros(), 10_000);
        latency.note_given_up(Duration::from_secs(8));
        assert!(latency.micros() > 900_000);
    }

    #[test]
    fn a_node_is_silent_when_it_alone_is_late_again_and_again() {
        let latency = Latency::default();
        (0..3).for_each(|_| latency.note_late());
        assert!(!is_silent(latency.late(), [0; 5].into_iter()));
        latency.note_late();
        latency.note_given_up(Duration::from_secs(1));
        assert!(is_silent(latency.late(), [0, 0, 0, 7, 7].into_iter()));
        assert!(!is_silent(latency.late(), [0, 0, 1, 1, 1].into_iter()), "all are late");
        assert!(!is_silent(latency.late(), [0].into_iter()), "one peer is no measure");
        latency.note(Duration::from_secs(1));
        assert!(!is_silent(latency.late(), [0; 5].into_iter()), "it has said something");
    }
}
