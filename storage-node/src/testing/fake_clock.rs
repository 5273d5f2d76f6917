//! A clock that moves when it is told to.

use crate::clock::{Clock, Stop};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a waiting thread looks whether it is to end; no time of the clock passes.
const LOOK: Duration = Duration::from_millis(1);
/// How long a test waits for the background before it goes on, so that it fails and does not hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// A [`Clock`] for one thread in the background, moved by the test.
#[derive(Debug, Default)]
pub struct FakeClock {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    now: Duration,
    /// Until when the background waits, while it does.
    waiting: Option<Duration>,
}

impl FakeClock {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the clock on, from one end of a wait to the next, and returns when the background has
    /// done all that was due and waits again.
    pub fn advance(&self, by: Duration) {
        let end = self.lock().now.saturating_add(by);
        loop {
            self.settle();
            let mut state = self.lock();
            let next = state.waiting.unwrap_or(end).min(end);
            state.now = next;
            self.changed.notify_all();
            if next == end {
                break;
            }
        }
        self.settle();
    }

    /// Returns when the background waits.
    pub fn settle(&self) {
        let busy = |state: &mut State| state.waiting.is_none_or(|until| until <= state.now);
        drop(self.changed.wait_timeout_while(self.lock(), PATIENCE, busy));
    }
}

impl Clock for FakeClock {
    fn unix_millis(&self) -> u64 {
        u64::try_from(self.monotonic().as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.lock().now
    }

    fn wait(&self, pause: Duration, stop: &Stop) {
        let mut state = self.lock();
        let until = state.now.saturating_add(pause);
        state.waiting = Some(until);
        self.changed.notify_all();
        while state.now < until && !stop.is_raised() {
            let waited = self.changed.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.waiting = None;
    }
}
