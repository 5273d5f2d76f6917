//! Streams a packed dataset out of a store as batches of digits, in an order that a seed determines.
//!
//! The client library's loader does the work (`coffer_client::dataset`): shards are fetched, verified
//! and decoded ahead of need. Memory is bounded by the window that is being read and the shards on
//! their way: with the defaults, for MNIST, about 14 MB decoded for the window, and at most four
//! shards of about 8 MB each.

mod dataset;
mod loader;

pub use coffer_client::dataset::{Cursor, Holdout, OnCorrupt, Order, ReadOptions, Subset, Workers};
pub use dataset::Dataset;
pub use loader::{Batch, Loader, LoaderConfig};

use coffer_client::dataset::DatasetError;

/// Why a dataset can't be streamed.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// It can't be read.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// It holds something else.
    #[error(
        "the dataset at {dataset} isn't of digits: {why}; pack MNIST with `coffer-train pack --to \
         PLACE`"
    )]
    NotDigits {
        /// Address of the dataset.
        dataset: String,
        /// What it holds.
        why: String,
    },
}

impl StreamError {
    /// Whether stored data turned out to be damaged, as opposed to missing or out of reach.
    pub fn is_corruption(&self) -> bool {
        matches!(self, Self::Dataset(error) if error.is_corruption())
    }
}
