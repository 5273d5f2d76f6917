//! What can go wrong with checkpoints.

use crate::ErrorKind;
use crate::place::PlaceError;

/// Why a checkpoint can't be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] PlaceError),
    /// The store didn't answer.
    #[error("{object}: the store gave no answer in {seconds} s")]
    Silent {
        /// Full address of what was to be read or written.
        object: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A file isn't the JSON that belongs there.
    #[error("corrupt checkpoint: {object}: {source}")]
    Json {
        /// Its full address.
        object: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A file isn't the one that the checkpoint consists of.
    #[error("corrupt checkpoint: {object}: {problem}")]
    Corrupt {
        /// Its full address.
        object: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A file of a format that this release doesn't know.
    #[error("{object} is of format {found:?}, and this release reads {known:?}")]
    Format {
        /// Its full address.
        object: String,
        /// The format found.
        found: String,
        /// The format known.
        known: &'static str,
    },
    /// There are no checkpoints at all.
    #[error("no checkpoints at {0}")]
    NoRun(String),
    /// There are checkpoints, but not this one.
    #[error("{run} has no checkpoint {wanted}")]
    Missing {
        /// Where the run's checkpoints are.
        run: String,
        /// What was asked for.
        wanted: String,
    },
    /// There are checkpoints, but none can be used.
    #[error("none of the checkpoints at {place} can be used; the newest: {newest}")]
    NoneUsable {
        /// Where they are.
        place: String,
        /// What is wrong with the newest.
        newest: Box<CheckpointError>,
    },
    /// Another trainer has saved a checkpoint of the run meanwhile, or somebody has deleted the run.
    #[error(
        "{root} was moved by another trainer ({found}): only one may write to a run at a time; this \
         one's checkpoint was not saved, and nothing of the other's is lost"
    )]
    Raced {
        /// Full address of the root.
        root: String,
        /// What the root has as its latest now.
        found: String,
    },
    /// The root was changed by others again and again.
    #[error("{0} is changed by others all the time; try again")]
    Busy(String),
    /// The save was broken off, or one before it failed.
    #[error("checkpoints are no longer saved: an earlier save failed, or the program is ending")]
    Stopped,
    /// The system has no random numbers to name an attempt by.
    #[error("can't draw a random name: {0}")]
    Random(getrandom::Error),
}

impl CheckpointError {
    /// Whether stored data turned out to be damaged or missing, as opposed to out of reach. Then
    /// an earlier checkpoint may still be good.
    pub fn is_corruption(&self) -> bool {
        match self {
            Self::Json { .. } | Self::Corrupt { .. } | Self::NoneUsable { .. } => true,
            Self::Store(PlaceError::TooLarge { .. }) => true,
            Self::Store(error) => error.is_not_found(),
            Self::Silent { .. }
            | Self::Format { .. }
            | Self::NoRun(_)
            | Self::Missing { .. }
            | Self::Raced { .. }
            | Self::Busy(_)
            | Self::Stopped
            | Self::Random(_) => false,
        }
    }

    /// What the error means to the caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            error if error.is_corruption() => ErrorKind::Damaged,
            Self::Store(error) => error.kind(),
            Self::NoRun(_) | Self::Missing { .. } => ErrorKind::NotFound,
            Self::Raced { .. } | Self::Busy(_) => ErrorKind::Conflict,
            Self::Silent { .. } => ErrorKind::Unavailable,
            _ => ErrorKind::Other,
        }
    }

    /// What the user can do about it, if we know.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::NoRun(_) => Some(
                "a run is the folder that checkpoints/index.json is in, without these names"
                    .to_owned(),
            ),
            Self::Missing { .. } => {
                Some("`coffer checkpoint ls RUN` lists those that are there".to_owned())
            }
            error if error.is_corruption() => Some(
                "`coffer checkpoint verify RUN --all` tells which ones are whole; name one of them \
                 with RUN@step-N"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}
