//! Time, as what runs in a node's background sees it.

use std::fmt;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// A clock, and waiting by it.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Unix milliseconds. May jump: good for showing, not for deciding.
    fn unix_millis(&self) -> u64;

    /// Time since an origin of the clock's own; it only moves on.
    fn monotonic(&self) -> Duration;

    /// Waits, unless and until `stop` is raised.
    fn wait(&self, pause: Duration, stop: &Stop);
}

/// Tells a thread in the background to end.
#[derive(Debug, Default)]
pub struct Stop {
    raised: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Ends all waits, now and later.
    pub fn raise(&self) {
        *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Whether it was raised.
    pub fn is_raised(&self) -> bool {
        *self.raised.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits by the real clock.
    pub fn wait(&self, pause: Duration) {
        let raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_timeout_while(raised, pause, |raised| !*raised));
    }
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn unix_millis(&self) -> u64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn wait(&self, pause: Duration, stop: &Stop) {
        stop.wait(pause);
    }
}
