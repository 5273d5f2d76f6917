//! A limit on the memory that all transfers take together.

use super::MIB;
use crate::error::Error;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes to be shared out in steps of 1 MiB.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    steps: Arc<Semaphore>,
    total: u32,
}

/// A share of the budget, given back when dropped.
#[derive(Debug)]
pub(super) struct Share(#[expect(dead_code, reason = "held for its Drop")] OwnedSemaphorePermit);

impl Budget {
    pub(super) fn new(bytes: u64) -> Self {
        let total = steps(bytes).max(1);
        let permits = usize::try_from(total).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { steps: Arc::new(Semaphore::new(permits)), total }
    }

    /// Waits for `bytes` to be free; for all there is if that is less, so that a part larger than
    /// the budget still goes, alone.
    pub(super) async fn share(&self, bytes: u64) -> Result<Share, Error> {
        let wanted = steps(bytes).clamp(1, self.total);
        match Arc::clone(&self.steps).acquire_many_owned(wanted).await {
            Ok(permit) => Ok(Share(permit)),
            // Nobody closes the semaphore; were it closed, no transfer could go on.
            Err(_) => Err(Error::Cancelled),
        }
    }

    /// How many shares of `bytes` there are at most, at least one.
    pub(super) fn shares(&self, bytes: u64) -> usize {
        usize::try_from(self.total / steps(bytes).clamp(1, self.total)).unwrap_or(1).max(1)
    }
}

fn steps(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(MIB)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn shares_are_limited_and_come_back() {
        let budget = Budget::new(16 * MIB);
        assert_eq!(budget.shares(8 * MIB), 2);
        let first = budget.share(8 * MIB).await.unwrap();
        let _second = budget.share(8 * MIB).await.unwrap();
        assert!(budget.share(1).now_or_never().is_none());
        drop(first);
        assert!(budget.share(1).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_part_larger_than_the_budget_goes_alone() {
        let budget = Budget::new(4 * MIB);
        let all = budget.share(1024 * MIB).await.unwrap();
        assert!(budget.share(1).now_or_never().is_none());
        drop(all);
        assert_eq!(budget.shares(1024 * MIB), 1);
    }
}
