//! The trees below the catalog.

use coffer_core::catalog::{Kv, KvError};
use std::sync::Arc;

/// Named ordered stores that live together. A batch is atomic in its tree; what is committed is
/// durable when that tree, or one that was written to later, has been synced.
pub trait Trees: Send + Sync + 'static {
    /// The tree of that name, made if need be.
    ///
    /// # Errors
    /// [`KvError`] when it can't be opened.
    fn open(&self, name: &str) -> Result<Arc<dyn Kv>, KvError>;

    /// The names of all trees.
    ///
    /// # Errors
    /// [`KvError`] when they can't be read.
    fn names(&self) -> Result<Vec<String>, KvError>;

    /// Removes a tree that nobody uses, if it is there.
    ///
    /// # Errors
    /// [`KvError`] when it can't be removed.
    fn remove(&self, name: &str) -> Result<(), KvError>;

    /// How often they were synced, on which disk so ever; 0 where there is none.
    fn syncs(&self) -> u64 {
        0
    }
}

/// In which threads trees are worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Threads that may block: for a disk.
    Blocking,
    /// The caller's: for memory.
    Inline,
}

impl Work {
    /// Does some work.
    ///
    /// # Errors
    /// The work's, and when its thread has broken off.
    pub async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> Result<T, KvError> + Send + 'static,
    ) -> Result<T, KvError> {
        match self {
            Self::Inline => work(),
            Self::Blocking => tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| {
                Err(KvError::Io(format!("work on the catalog broke off: {e}")))
            }),
        }
    }
}
