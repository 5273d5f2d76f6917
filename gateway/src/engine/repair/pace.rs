//! Keeping to a rate, over any clock.

use futures::future::BoxFuture;
use std::time::Duration;
use tokio::time::Instant;

/// The clock by which repair keeps its pace.
pub trait Clock: std::fmt::Debug + Send + Sync {
    /// The time since it was made.
    fn elapsed(&self) -> Duration;

    /// Waits.
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()>;
}

/// The runtime's clock.
#[derive(Debug)]
pub(super) struct RealClock(Instant);

impl Default for RealClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for RealClock {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(time))
    }
}

/// Spreads work over time: each piece may begin when those before it have had their share.
#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes a second; 0 for no limit.
    rate: u64,
    /// When the next piece may begin, on the caller's clock.
    free_at: Duration,
}

impl Pace {
    /// A pace of `rate` bytes a second; 0 for no limit.
    pub(super) fn new(rate: u64) -> Self {
        Self { rate, free_at: Duration::ZERO }
    }

    /// How long to wait from `now` on before `bytes` may be moved. Since the clock began, no more
    /// is moved than the rate allows, but for the last piece.
    pub(super) fn take(&mut self, now: Duration, bytes: u64) -> Duration {
        if self.rate == 0 {
            return Duration::ZERO;
        }
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate);
        let begin = self.free_at.max(now);
        self.free_at = begin + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        begin - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn never_more_than_the_rate_allows(
            rate in 1u64..1_000_000,
            pieces in prop::collection::vec((0u64..2_000_000, 0u64..5_000), 1..50),
        ) {
            let mut pace = Pace::new(rate);
            let (mut now, mut before) = (Duration::ZERO, 0u64);
            for (bytes, pause_ms) in pieces {
                now += Duration::from_millis(pause_ms);
                now += pace.take(now, bytes);
                let allowed = now.as_secs_f64() * rate as f64;
                prop_assert!(before as f64 <= allowed + 1.0, "{before} > {allowed}");
                before += bytes;
            }
        }
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let mut pace = Pace::new(0);
        assert_eq!(pace.take(Duration::ZERO, u64::MAX), Duration::ZERO);
        assert_eq!(pace.take(Duration::ZERO, u64::MAX), Duration::ZERO);
    }
}
