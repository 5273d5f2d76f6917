//! How long steps take.

/// Upper ends of the buckets, in seconds; one more holds what is above.
pub(super) const BOUNDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// A histogram of the seconds that steps took.
///
/// A device may compute while the host is ahead of it: that a step is done is known only when a loss
/// is read. So steps come in groups, from one such moment to the next, and all of a group count with
/// their mean.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct StepTimes {
    counts: [u64; BOUNDS.len()],
    above: u64,
    seconds: f64,
}

impl StepTimes {
    pub(super) fn add(&mut self, steps: u64, seconds: f64) {
        if steps == 0 {
            return;
        }
        let each = seconds / steps as f64;
        let bucket = BOUNDS.iter().zip(&mut self.counts).find(|(bound, _)| each <= **bound);
        *bucket.map_or(&mut self.above, |(_, count)| count) += steps;
        self.seconds += seconds;
    }

    /// For each bound, how many steps took at most as long.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let sums = self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        BOUNDS.into_iter().zip(sums)
    }

    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.above
    }

    pub(super) fn seconds(&self) -> f64 {
        self.seconds
    }
}
