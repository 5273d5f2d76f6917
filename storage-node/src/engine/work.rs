//! What the writer is asked to do.

use crate::index::Location;
use crate::volume::VolumeNo;
use crate::volume::record::HEAD_LEN;
use bytes::Bytes;
use coffer_core::shard::{ShardError, ShardKey, ShardPut};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// What is to be done.
#[derive(Debug)]
pub(super) enum Work {
    /// Shards, all or none of which are stored.
    Put(Vec<ShardPut>),
    Delete {
        keys: Vec<ShardKey>,
    },
    /// What a volume that is to be removed still has of worth.
    Move {
        records: Vec<Moved>,
    },
}

/// A record that is written anew at the end, if it is still needed.
#[derive(Debug)]
pub(super) enum Moved {
    /// It is moved only if the shard is still at `from`.
    Shard {
        key: ShardKey,
        from: Location,
        /// The checksums that the payload was verified against; they go along.
        table: Bytes,
        payload: Bytes,
    },
    /// It is not written after a record of a shard that lives again.
    Tombstone { key: ShardKey, kills: Option<VolumeNo> },
}

/// What must give way when there is no space, first to last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Put,
    Move,
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
    /// Bytes of payload, and of tombstones.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Put(puts) => puts.iter().map(|put| put.payload.len()).sum(),
            Self::Delete { keys } => keys.len() * HEAD_LEN,
            Self::Move { records } => records.iter().map(Moved::bytes).sum(),
        }
    }

    pub(super) fn rank(&self) -> Rank {
        match self {
            Self::Put(_) => Rank::Put,
            Self::Delete { .. } => Rank::Delete,
            Self::Move { .. } => Rank::Move,
        }
    }
}

impl Moved {
    /// Bytes of payload, or of a tombstone.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Shard { payload, .. } => payload.len(),
            Self::Tombstone { .. } => HEAD_LEN,
        }
    }
}
