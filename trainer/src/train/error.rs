//! What can go wrong with a run.

use std::path::PathBuf;

use coffer_client::Digest;
use coffer_client::place::PlaceError;

use super::epoch::PassError;
use crate::checkpoint::{CheckpointError, CheckpointId};
use crate::dataset::picture::PictureError;
use crate::model::{Adopted, LearnerError};
use crate::stream::StreamError;

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The data can't be streamed.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// A checkpoint can't be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A pass over the data failed.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// The model or its device failed.
    #[error(transparent)]
    Learner(#[from] LearnerError),
    /// The store refused a picture.
    #[error(transparent)]
    Store(#[from] PlaceError),
    /// A picture can't be encoded.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// A copy of a picture can't be written.
    #[error("can't write {}: {source}", path.display())]
    Copy {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The run that is there was started with another configuration.
    #[error(
        "the run at {place} was started with another configuration ({}): give it the same one, or \
         choose another place for a new run",
        differences.join("; ")
    )]
    OtherConfig {
        /// Where it is.
        place: String,
        /// What differs.
        differences: Vec<String>,
    },
    /// The weights to begin with aren't the model's.
    #[error(
        "the weights of {checkpoint} at {place} don't fit the model: {}; {}",
        adopted.left.join("; "),
        if adopted.taken.is_empty() {
            "none does"
        } else {
            "allow a part of them to be taken (--partial) if that is meant"
        }
    )]
    Unfit {
        /// The run that they are from.
        place: String,
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// What fits and what doesn't.
        adopted: Adopted,
    },
    /// The share held out for validation comes to no sample.
    #[error(
        "of the training samples of dataset {dataset}, {share} for validation is not a single one: hold \
         out more, or pack larger shards"
    )]
    NothingHeldOut {
        /// Version of the dataset.
        dataset: Digest,
        /// The share.
        share: f64,
    },
    /// A new run was wanted where there is one.
    #[error(
        "there is a run at {place} already, up to {newest}: choose another place, or delete it"
    )]
    Exists {
        /// Where it is.
        place: String,
        /// Its newest checkpoint.
        newest: CheckpointId,
    },
    /// A run was to be resumed where there is none.
    #[error("there is no run at {0} to resume")]
    NothingToResume(String),
}

impl RunError {
    /// Whether stored data turned out to be damaged.
    pub fn is_corruption(&self) -> bool {
        match self {
            Self::Stream(error) | Self::Pass(PassError::Stream(error)) => error.is_corruption(),
            Self::Checkpoint(error) => error.is_corruption(),
            _ => false,
        }
    }
}
