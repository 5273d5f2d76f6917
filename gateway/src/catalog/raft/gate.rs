//! Where answers to commands wait until the journal holds what they tell of.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// How long an answer waits; none do if there is no journal that is being written.
    patience: Option<Duration>,
    /// The first index that is not in the journal.
    end: u64,
    /// An answer has waited in vain: the others are given at once until the journal has caught up.
    late: bool,
}

impl State {
    fn holds_up(&self, index: u64) -> bool {
        self.patience.is_some() && !self.late && index >= self.end
    }
}

/// The gate; clones share it. It begins open.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<watch::Sender<State>>);

impl Gate {
    /// From now on an answer waits until the journal has its entry, for at most `patience`. How far
    /// the journal has come is not known yet.
    pub fn close(&self, patience: Duration) {
        self.0.send_replace(State { patience: Some(patience), ..State::default() });
    }

    /// The journal has all entries before `end`, and perhaps all that there are.
    pub fn advance(&self, end: u64, caught_up: bool) {
        self.0.send_modify(|state| {
            state.end = end;
            if caught_up && std::mem::replace(&mut state.late, false) {
                tracing::info!("the journal has caught up: answers wait for it again");
            }
        });
    }

    /// Whether the answer of the entry `index` has to wait.
    pub fn holds_up(&self, index: u64) -> bool {
        self.0.borrow().holds_up(index)
    }

    /// Waits until the answer of the entry `index` can be given.
    pub async fn pass(&self, index: u64) {
        let mut state = self.0.subscribe();
        let Some(patience) = state.borrow().patience else { return };
        let passed = state.wait_for(|state| !state.holds_up(index));
        if timeout(patience, passed).await.is_ok() {
            return;
        }
        let first = self.0.send_if_modified(|state| {
            state.patience.is_some() && !std::mem::replace(&mut state.late, true)
        });
        if first {
            tracing::warn!(
                index,
                "the journal is behind: answers are given all the same; the catalog holds what they tell of, but could not be rebuilt with it"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_wait_for_their_entry() {
        let gate = Gate::default();
        gate.pass(5).await;
        gate.close(Duration::from_secs(3600));
        assert!(gate.holds_up(0), "how far the journal has come is not known yet");
        gate.advance(5, true);
        gate.pass(4).await;
        let mut waiting = std::pin::pin!(gate.pass(5));
        assert!(futures::poll!(&mut waiting).is_pending() && gate.holds_up(5));
        gate.advance(6, true);
        waiting.await;
    }

    #[tokio::test]
    async fn once_one_has_waited_in_vain_none_does_until_the_journal_has_caught_up() {
        let gate = Gate::default();
        gate.close(Duration::from_millis(20));
        gate.advance(5, true);
        gate.pass(6).await;
        assert!(!gate.holds_up(7));
        gate.advance(7, false);
        assert!(!gate.holds_up(8));
        gate.advance(8, true);
        assert!(gate.holds_up(8) && !gate.holds_up(7));
    }
}
