//! What can go wrong with a dataset that is read.

use std::time::Duration;

use super::index::IndexError;
use super::name::SplitName;
use super::shard::ShardError;
use super::workers::Workers;
use crate::place::PlaceError;
use crate::{Digest, ErrorKind};

/// What is wrong with a shard that was read.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// It has another size than the index says.
    #[error("it is {found} bytes long where the index says {wanted}")]
    Size {
        /// The size in the index.
        wanted: u64,
        /// The size found.
        found: u64,
    },
    /// It has another hash than the index says.
    #[error("its BLAKE3 is {found} where the index says {wanted}")]
    Hash {
        /// The hash in the index.
        wanted: Digest,
        /// The hash of what was read.
        found: Digest,
    },
    /// It has the right hash but not the right content: it was packed so.
    #[error(transparent)]
    Content(#[from] ShardError),
    /// A sample can't be decoded.
    #[error("sample {key}: {source}")]
    Sample {
        /// The sample's key.
        key: String,
        /// What the decoder said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Why a dataset can't be read.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// There is no index, so no dataset.
    #[error("no dataset at {0}: there is no index.json; pack one first, or check the address")]
    NoDataset(String),
    /// The index is damaged or of another release.
    #[error("index {object}: {source}")]
    Index {
        /// Its full address.
        object: String,
        /// What is wrong with it.
        source: IndexError,
    },
    /// A shard isn't the one that the index describes.
    #[error("corrupt shard {object}: {damage}; pack the dataset again, or restore the shard")]
    Corrupt {
        /// Its full address.
        object: String,
        /// What is wrong with it.
        damage: Damage,
    },
    /// A shard that the index lists isn't there.
    #[error("missing shard {object}: the index lists it; pack the dataset again, or restore it")]
    Missing {
        /// Its full address.
        object: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] PlaceError),
    /// The store sent nothing for too long.
    #[error("no byte of {object} came within {limit:?}")]
    Stalled {
        /// The object's full address.
        object: String,
        /// The limit.
        limit: Duration,
    },
    /// There isn't a shard for each worker.
    #[error(
        "split {split} of {dataset} has {shards} shards, too few for worker {workers}: use fewer \
         workers, or pack smaller shards"
    )]
    TooFewShards {
        /// Address of the dataset.
        dataset: String,
        /// The split.
        split: SplitName,
        /// Its shards.
        shards: usize,
        /// The worker.
        workers: Workers,
    },
    /// Every sample to be delivered had to be skipped.
    #[error("nothing of epoch {epoch} could be read from {dataset}: all its shards are damaged")]
    NothingLeft {
        /// Address of the dataset.
        dataset: String,
        /// The epoch, counted from 1.
        epoch: u64,
    },
    /// The loader's tasks were ended before it was done, as when the program shuts down.
    #[error("the loader was stopped")]
    Stopped,
}

impl DatasetError {
    /// Whether stored data turned out to be damaged or gone, as opposed to out of reach.
    pub fn is_corruption(&self) -> bool {
        self.kind() == ErrorKind::Damaged
    }

    /// What the error means to the caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoDataset(_) => ErrorKind::NotFound,
            Self::Store(error) => error.kind(),
            Self::Stalled { .. } => ErrorKind::Unavailable,
            Self::TooFewShards { .. } => ErrorKind::Invalid,
            Self::Stopped => ErrorKind::Cancelled,
            Self::Index { .. }
            | Self::Corrupt { .. }
            | Self::Missing { .. }
            | Self::NothingLeft { .. } => ErrorKind::Damaged,
        }
    }

    /// What the user can do about it, where the message doesn't say.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            _ => None,
        }
    }

    /// Whether one shard is to blame, and the others may still serve.
    pub(super) fn is_of_one_shard(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::Missing { .. })
    }

    /// Whether trying again may help.
    pub(super) fn is_transient(&self) -> bool {
        use object_store::Error as E;
        match self {
            Self::Stalled { .. } => true,
            Self::Store(PlaceError::Read { source, .. }) => !matches!(
                source,
                E::NotFound { .. }
                    | E::PermissionDenied { .. }
                    | E::Unauthenticated { .. }
                    | E::InvalidPath { .. }
                    | E::NotSupported { .. }
                    | E::NotImplemented { .. }
            ),
            _ => false,
        }
    }
}
