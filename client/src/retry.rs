//! How often and how patiently to try again.

use object_store::{BackoffConfig, RetryConfig};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Retries of a single request, with pauses that grow exponentially.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts after the first.
    pub retries: usize,
    /// Pause before the first retry; each further one is about twice as long.
    pub first_pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
    /// No retry starts later than this after the first attempt.
    pub give_up_after: Duration,
}

impl Default for RetryPolicy {
    /// Bridges the restart of a gateway: gives up after about a quarter of a minute.
    fn default() -> Self {
        Self {
            retries: 10,
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(4),
            give_up_after: Duration::from_secs(180),
        }
    }
}

impl RetryPolicy {
    /// For a person who waits: gives up after a second or two.
    pub fn brief() -> Self {
        Self { retries: 4, ..Self::default() }
    }

    /// No retries: every failure is reported at once.
    pub fn none() -> Self {
        Self { retries: 0, ..Self::default() }
    }

    /// The pauses to make, in order; when they are used up, it is time to give up.
    pub(crate) fn pauses(&self) -> impl Iterator<Item = Duration> + use<> {
        let start = std::time::Instant::now();
        let policy = self.clone();
        let mut pause = self.first_pause;
        (0..self.retries).map_while(move |_| {
            let next = jittered(pause);
            pause = (pause * 2).min(policy.longest_pause);
            (start.elapsed() + next <= policy.give_up_after).then_some(next)
        })
    }

    /// The same policy in `object_store`'s terms.
    pub(crate) fn to_object_store(&self) -> RetryConfig {
        RetryConfig {
            backoff: BackoffConfig {
                init_backoff: self.first_pause,
                max_backoff: self.longest_pause,
                // Its pauses are drawn from between the first and `base` times the last one; with
                // four, they double on average.
                base: 4.0,
            },
            max_retries: self.retries,
            retry_timeout: self.give_up_after,
        }
    }
}

/// Between half of `pause` and all of it, so that clients that failed together do not come back
/// together. The standard library seeds its hash maps at random; that is random enough here.
fn jittered(pause: Duration) -> Duration {
    let random = u32::try_from(RandomState::new().hash_one(0) & 0xffff).unwrap_or(0);
    pause / 2 + pause / 2 * random / 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_end() {
        let policy = RetryPolicy::default();
        let pauses: Vec<_> = policy.pauses().collect();
        assert_eq!(pauses.len(), policy.retries);
        let mut nominal = policy.first_pause;
        for pause in pauses {
            assert!(pause >= nominal / 2 && pause <= nominal, "{pause:?} of {nominal:?}");
            nominal = (nominal * 2).min(policy.longest_pause);
        }
        assert_eq!(RetryPolicy::none().pauses().count(), 0);
    }

    #[test]
    fn gives_up_when_time_is_up() {
        let policy = RetryPolicy { give_up_after: Duration::ZERO, ..RetryPolicy::default() };
        assert_eq!(policy.pauses().count(), 0);
    }
}
