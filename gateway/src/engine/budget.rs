//! The bound on memory: bytes of chunks in flight, over all requests.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The unit of accounting, in bytes; keeps the numbers within what a semaphore counts.
const UNIT: usize = 1024;

/// Hands out permission to hold bytes in memory, in the order of asking.
#[derive(Debug, Clone)]
pub struct Budget {
    units: Arc<Semaphore>,
    total: usize,
}

/// Permission to hold some bytes, until it is dropped.
#[derive(Debug)]
pub struct Held(#[allow(dead_code, reason = "held for its drop")] Option<OwnedSemaphorePermit>);

impl Budget {
    /// A budget of `bytes`.
    pub fn new(bytes: usize) -> Self {
        let total = (bytes / UNIT).max(1);
        Self { units: Arc::new(Semaphore::new(total)), total }
    }

    /// Waits until `bytes` may be held. More than the whole budget counts as the whole budget, so
    /// that a large request waits for its turn and not for ever.
    pub async fn take(&self, bytes: usize) -> Held {
        let units = bytes.div_ceil(UNIT).min(self.total);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        Held(self.units.clone().acquire_many_owned(units).await.ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_over_the_budget_waits_and_what_is_larger_than_it_gets_all_of_it() {
        let budget = Budget::new(10 * UNIT);
        let most = budget.take(8 * UNIT).await;
        let mut more = Box::pin(budget.take(100 * UNIT));
        assert!(futures::poll!(&mut more).is_pending());
        drop(most);
        drop(more.await);
        budget.take(10 * UNIT).await;
    }
}
