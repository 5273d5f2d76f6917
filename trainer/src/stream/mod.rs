//! Streams a packed dataset out of a store as batches, in an order that a seed determines.
//!
//! Shards are fetched, verified and decoded ahead of need. Memory is bounded by the window that is
//! being read and the shards on their way: with the defaults, for MNIST, about 13 MB decoded for
//! the window, and at most four shards of about 12 MB each.

mod fetch;
mod loader;
mod plan;
mod subset;

pub use fetch::Dataset;
pub use loader::{Batch, Loader, LoaderConfig};
pub use plan::{Cursor, Order, Window, windows};
pub use subset::{Holdout, Subset};

use coffer_client::Digest;
use coffer_client::place::PlaceError;

use crate::dataset::index::IndexError;
use crate::dataset::shard::ShardError;

/// Why a dataset can't be streamed.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// There is no index, so no dataset.
    #[error("no dataset at {0}: pack one there with `coffer-train pack --to {0}`")]
    NoDataset(String),
    /// The index is damaged or of another release.
    #[error("index {object}: {source}")]
    Index {
        /// Its full address.
        object: String,
        /// What is wrong with it.
        source: IndexError,
    },
    /// A shard's bytes aren't those that the index describes.
    #[error(
        "corrupt shard {object}: its BLAKE3 is {found} where the index says {wanted}; pack the \
         dataset again, or restore the shard"
    )]
    Corrupt {
        /// Its full address.
        object: String,
        /// The hash in the index.
        wanted: Digest,
        /// The hash of what was read.
        found: Digest,
    },
    /// A shard has the right hash but not the right content: it was packed so.
    #[error("shard {object}: {source}")]
    Shard {
        /// Its full address.
        object: String,
        /// What is wrong with it.
        source: ShardError,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] PlaceError),
    /// The loader's tasks were ended before it was done, as when the program shuts down.
    #[error("the loader was stopped")]
    Stopped,
}

impl StreamError {
    /// Whether stored data turned out to be damaged, as opposed to missing or out of reach.
    pub fn is_corruption(&self) -> bool {
        match self {
            Self::Corrupt { .. } | Self::Shard { .. } | Self::Index { .. } => true,
            Self::Store(error) => matches!(error, PlaceError::TooLarge { .. }),
            Self::NoDataset(_) | Self::Stopped => false,
        }
    }
}
