//! Remembers that HTTP/3 did not work, so that not every request waits to find out again.

use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Closed at first; opens for a while after each failure, longer each time.
#[derive(Debug)]
pub(super) struct Breaker {
    open_until: Option<Instant>,
    next_pause: Duration,
}

impl Breaker {
    pub(super) fn new() -> Self {
        Self { open_until: None, next_pause: FIRST_PAUSE }
    }

    /// Whether an attempt is due.
    pub(super) fn allows(&self, now: Instant) -> bool {
        self.open_until.is_none_or(|until| now >= until)
    }

    pub(super) fn failed(&mut self, now: Instant) {
        if self.allows(now) {
            self.open_until = Some(now + self.next_pause);
            self.next_pause = (self.next_pause * 2).min(LONGEST_PAUSE);
        }
    }

    pub(super) fn worked(&mut self) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_success_forgets() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new();
        assert!(breaker.allows(now));
        for pause in [10, 20, 40, 80, 160, 300, 300] {
            breaker.failed(now);
            // Requests that were under way and fail too count as the same failure.
            breaker.failed(now);
            assert!(!breaker.allows(now + Duration::from_secs(pause - 1)));
            now += Duration::from_secs(pause);
            assert!(breaker.allows(now), "after {pause} s");
        }
        breaker.worked();
        assert!(breaker.allows(now));
        breaker.failed(now);
        assert!(breaker.allows(now + FIRST_PAUSE), "the next pause is the first one again");
    }
}
