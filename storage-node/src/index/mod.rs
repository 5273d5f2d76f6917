//! Where each shard is: a cache of what the volumes say.
//!
//! Entries change together with a [`Watermark`], which says how far into the volumes they go. After
//! a crash the volumes are replayed from there. An index that is missing, damaged or somebody
//! else's is thrown away and built anew.

mod location;
mod memory;
mod sled_index;

pub use location::{Copies, Location, Usage};
pub use memory::MemoryIndex;
pub use sled_index::SledIndex;

use coffer_core::shard::ShardKey;
use serde::{Deserialize, Serialize};

/// How far into the volumes the index goes, and totals up to there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    /// The volume.
    pub volume: u32,
    /// All records of that volume before this offset, and all of earlier volumes, are indexed.
    pub offset: u64,
    /// The sequence number of the next record.
    pub next_seq: u64,
    /// Shards in the index.
    pub shards: u64,
    /// Bytes of their payloads.
    pub live_bytes: u64,
}

/// A change of one entry: its new location, or `None` when the shard is deleted.
pub type Change = (ShardKey, Option<Location>);

/// A small value beside the entries, and its name before it.
pub type Note = (Vec<u8>, Vec<u8>);

/// The index failed. The volumes are not affected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("index: {0}")]
pub struct IndexError(pub String);

/// A map from shards to locations.
pub trait Index: Send + Sync + std::fmt::Debug {
    /// Where a shard is.
    ///
    /// # Errors
    /// [`IndexError`] when it can't be read.
    fn get(&self, key: ShardKey) -> Result<Option<Location>, IndexError>;

    /// Applies changes, the watermark, and what volumes hold now (nothing: they are forgotten), all
    /// or nothing. Need not be durable.
    ///
    /// # Errors
    /// [`IndexError`] when nothing was changed.
    fn apply(
        &self,
        changes: &[Change],
        watermark: Watermark,
        usage: &[(u32, Usage)],
    ) -> Result<(), IndexError>;

    /// What each volume holds, by its number; those that hold nothing are left out.
    ///
    /// # Errors
    /// [`IndexError`] when it can't be read.
    fn usage(&self) -> Result<Vec<(u32, Usage)>, IndexError>;

    /// How far the index goes; `None` if it is new.
    ///
    /// # Errors
    /// [`IndexError`] when it can't be read.
    fn watermark(&self) -> Result<Option<Watermark>, IndexError>;

    /// Entries in key order, after `after`, at most `limit`.
    ///
    /// # Errors
    /// [`IndexError`] when it can't be read.
    fn scan(
        &self,
        after: Option<ShardKey>,
        limit: usize,
    ) -> Result<Vec<(ShardKey, Location)>, IndexError>;

    /// Small values kept beside the entries under names that begin with `prefix`, in the order of
    /// their names: what was found damaged, how far a scrub is.
    ///
    /// # Errors
    /// [`IndexError`] when they can't be read.
    fn notes(&self, prefix: &[u8]) -> Result<Vec<Note>, IndexError>;

    /// Sets or removes such a value. Need not be durable.
    ///
    /// # Errors
    /// [`IndexError`] when nothing was changed.
    fn set_note(&self, name: &[u8], value: Option<&[u8]>) -> Result<(), IndexError>;

    /// Forgets everything, notes too.
    ///
    /// # Errors
    /// [`IndexError`] when it can't.
    fn clear(&self) -> Result<(), IndexError>;

    /// Makes durable what was applied so far: the next start goes on from here at least.
    ///
    /// # Errors
    /// [`IndexError`] when it can't be written.
    fn flush(&self) -> Result<(), IndexError>;
}
