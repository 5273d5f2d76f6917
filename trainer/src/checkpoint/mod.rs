//! Versioned checkpoints of a run in a store.
//!
//! ```text
//! checkpoints/epoch-0003/model.safetensors      weights
//! checkpoints/epoch-0003/optimizer.safetensors  what Adam remembers
//! checkpoints/epoch-0003/state.json             position, configuration, loss history
//! checkpoints/epoch-0003/manifest.json          size and BLAKE3 of each of these; written last
//! checkpoints/latest                            names the newest; moved by conditional write
//! ```
//!
//! A checkpoint without a manifest isn't there, and what `latest` names was complete before
//! `latest` named it. So a trainer that is killed at any moment leaves the checkpoint before, or
//! the new one, never half of one.

mod address;
mod format;
mod load;
mod save;

use std::collections::BTreeMap;

use bytes::Bytes;
use coffer_client::place::{Place, PlaceError};
use object_store::UpdateVersion;

pub use address::CheckpointAddress;
pub use format::{CheckpointId, State};
pub use load::{Found, Which};

/// Largest part of a checkpoint that is read.
const PART_LIMIT: u64 = 8 << 30;
/// Largest JSON file of a checkpoint that is read.
const JSON_LIMIT: u64 = 64 << 20;

/// A run's state and what its learner has learned, in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Position, configuration, history.
    pub state: State,
    /// The learner's files, by name.
    pub parts: BTreeMap<String, Bytes>,
}

/// The checkpoints of one run.
#[derive(Debug)]
pub struct Checkpoints {
    place: Place,
    /// What `latest` was when it was last read or written; none if there was none.
    latest: Option<UpdateVersion>,
}

/// Why a checkpoint can't be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] PlaceError),
    /// A file of the checkpoint isn't the JSON that belongs there.
    #[error("corrupt checkpoint: {object}: {source}")]
    Json {
        /// Its full address.
        object: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A file of the checkpoint isn't the one that its manifest describes.
    #[error("corrupt checkpoint: {object}: {problem}")]
    Corrupt {
        /// Its full address.
        object: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A checkpoint of a format that this release doesn't know.
    #[error("{object} is of checkpoint format {found}, and this release reads format {known}")]
    Format {
        /// Full address of its manifest.
        object: String,
        /// The format found.
        found: u32,
        /// The format known.
        known: u32,
    },
    /// There is no checkpoint, or none of this epoch.
    #[error("no checkpoint at {0}")]
    Missing(String),
    /// There are checkpoints, but none can be used.
    #[error("none of the checkpoints at {place} can be used; the newest: {newest}")]
    NoneUsable {
        /// Where they are.
        place: String,
        /// What is wrong with the newest.
        newest: Box<CheckpointError>,
    },
    /// Somebody else moved `latest` meanwhile.
    #[error("{0} was moved by another trainer: only one may write to a run at a time")]
    Raced(String),
}

impl CheckpointError {
    /// Whether stored data turned out to be damaged or missing, as opposed to out of reach. Then
    /// an earlier checkpoint may still be good.
    pub fn is_corruption(&self) -> bool {
        match self {
            Self::Json { .. } | Self::Corrupt { .. } | Self::NoneUsable { .. } => true,
            Self::Store(PlaceError::TooLarge { .. }) => true,
            Self::Store(error) => error.is_not_found(),
            Self::Format { .. } | Self::Missing(_) | Self::Raced(_) => false,
        }
    }
}

impl Checkpoints {
    /// The checkpoints of the run at `run`; nothing is read yet.
    pub fn new(run: &Place) -> Self {
        Self { place: run.child(address::FOLDER), latest: None }
    }
}
