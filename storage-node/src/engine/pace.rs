//! How fast what runs in the background may go: a rate of its own, and requests first.

use super::Shared;
use crate::clock::{Clock, Stop};
use crate::disk::IoMeter;
use std::time::Duration;

/// After so many bytes waiting requests go first ...
const GRAIN: u64 = 1 << 20;
/// ... for so long at a time ...
const YIELD: Duration = Duration::from_millis(10);
/// ... and so often, so that the background gets on, at 10 MiB/s, on a disk that is never idle.
const YIELDS: u32 = 10;
/// How long is waited at most before the rate is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Holds one thread in the background to its rate.
pub(super) struct Throttle<'a> {
    clock: &'a dyn Clock,
    meter: &'a IoMeter,
    stop: &'a Stop,
    pace: Pace,
    since_yield: u64,
}

impl<'a> Throttle<'a> {
    pub(super) fn new(shared: &'a Shared, stop: &'a Stop) -> Self {
        let clock = &*shared.options.clock;
        let pace = Pace::new(clock.monotonic());
        Self { clock, meter: &shared.meter, stop, pace, since_yield: 0 }
    }

    /// Waits until `bytes` more are paid for at `rate` bytes a second, which may change meanwhile,
    /// and until nobody else wants the disk, or long enough.
    pub(super) fn spend(&mut self, bytes: u64, rate: impl Fn() -> u64) {
        self.pace.spend(bytes, self.clock.monotonic());
        while !self.stop.is_raised() {
            let owed = self.pace.owed(rate(), self.clock.monotonic());
            if owed.is_zero() {
                break;
            }
            self.clock.wait(owed.min(LOOK_AGAIN), self.stop);
        }
        self.since_yield += bytes;
        if self.since_yield >= GRAIN {
            self.since_yield = 0;
            let busy = || self.meter.is_busy() && !self.stop.is_raised();
            for _ in 0..YIELDS {
                if !busy() {
                    break;
                }
                self.clock.wait(YIELD, self.stop);
            }
        }
    }
}

/// Bytes that were moved and not yet paid for with time. The rate may change meanwhile.
#[derive(Debug)]
struct Pace {
    debt: u64,
    at: Duration,
}

impl Pace {
    fn new(now: Duration) -> Self {
        Self { debt: 0, at: now }
    }

    /// Notes bytes that were moved.
    fn spend(&mut self, bytes: u64, now: Duration) {
        if self.debt == 0 {
            // Time that was not used is not saved up.
            self.at = now;
        }
        self.debt = self.debt.saturating_add(bytes);
    }

    /// How long to wait at `rate` bytes a second (at least 1) before more are moved.
    fn owed(&mut self, rate: u64, now: Duration) -> Duration {
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
    }
}
