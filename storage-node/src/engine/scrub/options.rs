//! How fast a scrub may go.

use std::time::Duration;

/// How fast a node scrubs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubOptions {
    /// How long a round over all shards is to take; the pace follows from what is stored. Zero
    /// turns scrubbing off.
    pub round: Duration,
    /// Never more than so many bytes a second, even if the round takes longer then.
    pub max_bytes_per_second: u64,
}

impl Default for ScrubOptions {
    /// A week, as Ceph's deep scrub takes by default, and at most 64 MiB/s: about a third of what a
    /// hard disk reads.
    fn default() -> Self {
        Self { round: Duration::from_secs(7 * 24 * 3600), max_bytes_per_second: 64 << 20 }
    }
}

impl ScrubOptions {
    /// No scrubbing.
    pub const OFF: Self = Self { round: Duration::ZERO, max_bytes_per_second: 0 };

    /// Whether there is any.
    pub fn is_on(&self) -> bool {
        !self.round.is_zero() && self.max_bytes_per_second > 0
    }

    /// Bytes a second for a node that stores `bytes`; 0 when scrubbing is off, else at least 1.
    pub fn rate(&self, bytes: u64) -> u64 {
        if !self.is_on() {
            return 0;
        }
        let wanted = u128::from(bytes) * 1_000_000_000 / self.round.as_nanos();
        u64::try_from(wanted).unwrap_or(u64::MAX).saturating_add(1).min(self.max_bytes_per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_rate_makes_a_round_in_time_or_is_the_greatest_allowed(
            bytes in 0u64..1 << 50, seconds in 1u64..1 << 25, most in 1u64..1 << 40,
        ) {
            let options = ScrubOptions { round: Duration::from_secs(seconds), max_bytes_per_second: most };
            let rate = options.rate(bytes);
            prop_assert!(rate >= 1 && rate <= most);
            prop_assert!(rate == most || u128::from(rate) * u128::from(seconds) >= u128::from(bytes));
            prop_assert_eq!(ScrubOptions::OFF.rate(bytes), 0);
        }
    }
}
