//! What the writer is asked to do.

use bytes::Bytes;
use coffer_core::shard::{ShardError, ShardInfo, ShardKey};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// What is to be done.
#[derive(Debug)]
pub(super) enum Work {
    Put { key: ShardKey, info: ShardInfo, payload: Bytes },
    Delete { keys: Vec<ShardKey> },
}

/// What must give way when there is no space, first to last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Put,
    Delete,
}

/// Work and whom to answer.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) work: Work,
    pub(super) reply: oneshot::Sender<Result<(), ShardError>>,
    pub(super) _held: Option<OwnedSemaphorePermit>,
}

impl Work {
    /// Bytes of payload.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Put { payload, .. } => payload.len(),
            Self::Delete { .. } => 0,
        }
    }

    pub(super) fn rank(&self) -> Rank {
        match self {
            Self::Put { .. } => Rank::Put,
            Self::Delete { .. } => Rank::Delete,
        }
    }
}
