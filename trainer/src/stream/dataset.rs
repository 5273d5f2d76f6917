//! A packed dataset of digits.

use coffer_client::dataset::{self as packed, Index, ReadOptions, ReadStats, ShardEntry};
use coffer_client::place::Place;

use super::StreamError;
use crate::dataset::Split;
use crate::dataset::digit::unfit;

/// A packed dataset of digits in a store. Clones share the counters.
#[derive(Debug, Clone)]
pub struct Dataset(packed::Dataset);

impl Dataset {
    /// Opens the dataset at `place`.
    ///
    /// # Errors
    /// If there is none, its index can't be read, or it's none of digits.
    pub async fn open(place: &Place, options: ReadOptions) -> Result<Self, StreamError> {
        let dataset = packed::Dataset::open(place, options).await?;
        if let Some(why) = unfit(&dataset.index().meta) {
            return Err(StreamError::NotDigits { dataset: place.address().to_owned(), why });
        }
        Ok(Self(dataset))
    }

    /// What the dataset holds.
    pub fn index(&self) -> &Index {
        self.0.index()
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        self.0.place().address()
    }

    /// The shards of `split`.
    pub fn shards(&self, split: Split) -> &[ShardEntry] {
        self.0.shards(&split.name())
    }

    /// What reading has cost so far, all loaders together.
    pub fn stats(&self) -> ReadStats {
        self.0.stats()
    }

    pub(super) fn packed(&self) -> &packed::Dataset {
        &self.0
    }
}
