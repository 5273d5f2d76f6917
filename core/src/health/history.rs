//! What was seen of a node over about a day, in bounded space.

use super::Sample;

/// How far apart older samples are at least, in milliseconds.
const APART_MS: u64 = 600_000;
/// The most of them.
const OLDER: usize = 144;
/// How far back it reaches, in milliseconds.
const SPAN_MS: u64 = APART_MS * OLDER as u64;
/// The newest samples are all kept, up to so many.
const NEWEST: usize = 30;

/// Samples of one node, the oldest first: the newest close together, older ones further apart. Counters
/// only grow, so that a sample that is left out is missed only where the node was restarted right
/// after it.
#[derive(Debug, Clone, Default)]
pub struct History {
    samples: Vec<Sample>,
    /// How many of them are older ones.
    older: usize,
}

impl History {
    /// The most samples that are kept.
    pub const MAX: usize = NEWEST + OLDER + 1;

    /// Adds what was just seen. Time that goes backwards is taken to stand still.
    pub fn push(&mut self, mut sample: Sample) {
        let last = self.samples.last().map_or(0, |last| last.at_ms);
        sample.at_ms = sample.at_ms.max(last);
        let from = sample.at_ms.saturating_sub(SPAN_MS);
        self.samples.push(sample);
        if self.samples.len() - self.older > NEWEST {
            let ages = self.samples[self.older].at_ms;
            let before = self.older.checked_sub(1).map(|i| self.samples[i].at_ms);
            if before.is_none_or(|before| ages - before >= APART_MS) {
                self.older += 1;
            } else {
                self.samples.remove(self.older);
            }
        }
        let gone = self.samples.iter().take_while(|sample| sample.at_ms < from).count();
        self.samples.drain(..gone);
        self.older = self.older.saturating_sub(gone);
    }

    /// All of them, the oldest first.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The newest.
    pub fn last(&self) -> Option<&Sample> {
        self.samples.last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::NodeId;
    use crate::shard::NodeStat;
    use proptest::prelude::*;

    fn sample(at_ms: u64, errors: u64) -> Sample {
        let mut stat = NodeStat::idle(NodeId::from_bytes([1; 16]));
        stat.io.reads.errors = errors;
        Sample { at_ms, stat }
    }

    proptest! {
        #[test]
        fn it_is_bounded_in_order_and_keeps_the_newest(
            steps in prop::collection::vec(prop_oneof![0u64..20_000, 0u64..2_000_000], 1..800)
        ) {
            let mut history = History::default();
            let mut now = 0;
            for (n, step) in steps.iter().enumerate() {
                now += step;
                history.push(sample(now, n as u64));
                let kept = history.samples();
                prop_assert!(kept.len() <= History::MAX);
                prop_assert!(kept.is_sorted_by_key(|s| (s.at_ms, s.stat.io.reads.errors)));
                prop_assert!(now - kept[0].at_ms <= SPAN_MS);
                prop_assert_eq!(kept.last().unwrap().stat.io.reads.errors, n as u64);
            }
        }

        #[test]
        fn what_counters_gained_is_kept_while_samples_are_left_out(n in 1u64..600) {
            // A day at most.
            let mut history = History::default();
            (0..n).for_each(|i| history.push(sample(i * 60_000, i)));
            let (first, last) = (&history.samples()[0], history.last().unwrap());
            prop_assert_eq!(last.stat.io.reads.errors - first.stat.io.reads.errors, n - 1);
        }
    }

    #[test]
    fn a_clock_that_is_set_back_does_no_harm() {
        let mut history = History::default();
        [5_000, 1_000, 6_000].into_iter().for_each(|at| history.push(sample(at, 0)));
        let times: Vec<u64> = history.samples().iter().map(|s| s.at_ms).collect();
        assert_eq!(times, [5_000, 5_000, 6_000]);
    }
}
