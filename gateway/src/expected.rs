//! Commands that are about to come: writers whose shards have just been stored, together.
//!
//! A disk that syncs quickly lets the catalog commit the first of them before the others have got so
//! far; a crowd then costs it a sync, and the journal its copies, for every few. So whoever answers a
//! crowd says how many there are, and the catalog's next group waits for them. It doesn't wait where
//! nothing was announced, nor for long: some may have failed, or may have more to store.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The longest wait for those who were announced.
const LONGEST: Duration = Duration::from_millis(50);

/// How many are awaited; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Expected(Arc<Mutex<Coming>>);

#[derive(Debug, Default)]
struct Coming {
    count: usize,
    until: Option<Instant>,
}

impl Expected {
    fn coming(&self) -> MutexGuard<'_, Coming> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many are about to come, in about the time that what they waited for has taken.
    pub fn announce(&self, count: usize, took: Duration) {
        let mut coming = self.coming();
        coming.count += count;
        coming.until = Some(Instant::now() + (took * 2).min(LONGEST));
    }

    /// One has come.
    pub fn came(&self) {
        let mut coming = self.coming();
        coming.count = coming.count.saturating_sub(1);
    }

    /// Until when the rest of them is waited for; `None` if there is no rest, or it is too late.
    pub fn awaited(&self) -> Option<Instant> {
        let mut coming = self.coming();
        let until = coming.until.filter(|until| coming.count > 0 && *until > Instant::now());
        if until.is_none() {
            *coming = Coming::default();
        }
        until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_were_announced_are_awaited_but_not_for_long() {
        let expected = Expected::default();
        assert_eq!(expected.awaited(), None);
        expected.came();
        let (begin, minute) = (Instant::now(), Duration::from_secs(60));
        expected.announce(2, minute);
        let until = expected.awaited().unwrap();
        assert!(until >= begin + LONGEST && until <= Instant::now() + LONGEST);
        expected.came();
        assert_eq!(expected.awaited(), Some(until));
        expected.came();
        assert_eq!(expected.awaited(), None);
        expected.announce(3, Duration::ZERO);
        assert_eq!(expected.awaited(), None, "it is too late for them");
        // Who did not come is not expected with the next ones.
        expected.announce(1, minute);
        expected.came();
        assert_eq!(expected.awaited(), None);
    }
}
