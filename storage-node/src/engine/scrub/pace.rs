//! How fast a scrub may go: plain arithmetic on bytes and time.

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

/// Bytes that were read and not yet paid for with time. The rate may change meanwhile.
#[derive(Debug)]
pub(super) struct Pace {
    debt: u64,
    at: Duration,
}

impl Pace {
    pub(super) fn new(now: Duration) -> Self {
        Self { debt: 0, at: now }
    }

    /// Notes bytes that were read.
    pub(super) fn spend(&mut self, bytes: u64, now: Duration) {
        if self.debt == 0 {
            // Time that was not used is not saved up.
            self.at = now;
        }
        self.debt = self.debt.saturating_add(bytes);
    }

    /// How long to wait at `rate` bytes a second (at least 1) before more is read.
    pub(super) fn owed(&mut self, rate: u64, now: Duration) -> Duration {
        let rate = u128::from(rate.max(1));
        let passed = now.saturating_sub(self.at).as_nanos();
        let paid = u64::try_from(rate.saturating_mul(passed) / NANOS).unwrap_or(u64::MAX);
        // Time too short to pay for a byte counts the next time.
        if paid > 0 {
            self.debt = self.debt.saturating_sub(paid);
            self.at = now;
        }
        let nanos = (u128::from(self.debt) * NANOS).div_ceil(rate);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

const NANOS: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn over_any_time_no_more_is_read_than_the_rate_allows(
            rate in 1u64..1 << 40, reads in prop::collection::vec(0u64..5_000_000, 1..50), slice in 1u64..100_000,
        ) {
            let slice = Duration::from_millis(slice);
            let (mut now, mut pace, mut total) = (Duration::ZERO, Pace::new(Duration::ZERO), 0u64);
            for bytes in reads {
                // What was read before was paid for, but for the rounding of each wait.
                let allowed = u128::from(rate) * now.as_nanos() / NANOS;
                prop_assert!(u128::from(total) <= allowed + 1);
                pace.spend(bytes, now);
                total += bytes;
                for _ in 0..10_000 {
                    let owed = pace.owed(rate, now);
                    if owed.is_zero() { break }
                    now += if owed < slice { owed } else { slice.max(owed / 4) };
                }
                prop_assert!(pace.owed(rate, now).is_zero());
            }
            // Nor is it slower than it must be.
            let needed = u128::from(total) * NANOS / u128::from(rate);
            prop_assert!(now.as_nanos() <= needed + needed / 100 + 200 * NANOS / u128::from(rate) + 1_000_000);
        }

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
