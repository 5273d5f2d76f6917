//! What a storage node offers: storing, reading and deleting shards.
//!
//! [`ShardStore`] is the only door to a node. It is implemented by the node's own engine (used in
//! process by embedded mode), by the shard service's client, and by test doubles that fail on demand.
//!
//! * [`finding`]: what a node has found damaged
//! * [`stat`], [`disk`]: how a node and its disks are doing, in raw figures; [`crate::health`]
//!   judges them

pub mod disk;
pub mod finding;
pub mod stat;

pub use disk::DiskReport;
pub use finding::{Damage, Finding};
pub use stat::{CompactionStat, IoStat, Latencies, NodeStat, OpStat, ScrubStat};

use crate::erasure::Code;
use crate::ids::BlobId;
use crate::layout::{CHUNK_SEGMENTS, MAX_SEGMENT, TAG_LEN};
use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The largest payload of a shard, in bytes: a whole sealed chunk (the case of plain replication).
pub const MAX_SHARD_LEN: u32 = CHUNK_SEGMENTS * (MAX_SEGMENT + TAG_LEN);

/// The most shards that one delete or list call may name.
pub const MAX_BATCH: usize = 4096;

/// The most bytes of payload that one call may store: see [`ShardStore::put_all`].
pub const MAX_PUT_ALL: usize = 16 << 20;

/// The most findings in one answer.
pub const MAX_FINDINGS: usize = 1024;

/// Which shard: the `index`-th of the `k + m` shards of a chunk of a blob.
///
/// A name is never used twice. A shard that is moved or rebuilt elsewhere gets the next generation,
/// so that a delete of its old name, however late, can't meet the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ShardKey {
    /// The blob that the chunk belongs to.
    pub blob: BlobId,
    /// The chunk's number within the blob, from 0.
    pub chunk: u32,
    /// The shard's number within the chunk: 0..k are data, k..k+m are parity.
    pub index: u8,
    /// How often the shard has changed its place, from 0.
    pub generation: u16,
}

impl ShardKey {
    /// The key's length as bytes.
    pub const LEN: usize = 23;

    /// Sorts as the key does: blob, chunk, index, generation, all big-endian.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut out = [0u8; Self::LEN];
        out[..16].copy_from_slice(self.blob.as_bytes());
        out[16..20].copy_from_slice(&self.chunk.to_be_bytes());
        out[20] = self.index;
        out[21..].copy_from_slice(&self.generation.to_be_bytes());
        out
    }

    /// The inverse of [`ShardKey::to_bytes`].
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let mut blob = [0u8; 16];
        blob.copy_from_slice(&bytes[..16]);
        let mut chunk = [0u8; 4];
        chunk.copy_from_slice(&bytes[16..20]);
        Self {
            blob: BlobId::from_bytes(blob),
            chunk: u32::from_be_bytes(chunk),
            index: bytes[20],
            generation: u16::from_be_bytes([bytes[21], bytes[22]]),
        }
    }
}

impl fmt::Display for ShardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}.{}g{}", self.blob, self.chunk, self.index, self.generation)
    }
}

/// What a node records beside a shard's payload, so that volumes describe themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardInfo {
    /// The erasure code of the chunk.
    pub code: Code,
    /// Bytes that share one checksum and are read as one: a sealed segment.
    pub block_size: u32,
    /// Bytes of payload. All shards of a chunk have the same length.
    pub len: u32,
}

impl ShardInfo {
    /// How many blocks the payload has; the last one may be short.
    pub fn blocks(&self) -> u32 {
        self.len.div_ceil(self.block_size.max(1))
    }

    /// Refuses lengths that no writer of ours makes, before anything is allocated for them.
    ///
    /// # Errors
    /// [`ShardError::BadRequest`] naming the field.
    pub fn check(&self) -> Result<(), ShardError> {
        if self.len == 0 || self.len > MAX_SHARD_LEN {
            return Err(ShardError::BadRequest(format!(
                "shard length {} is not between 1 and {MAX_SHARD_LEN}",
                self.len
            )));
        }
        if self.block_size <= TAG_LEN || self.block_size > MAX_SEGMENT + TAG_LEN {
            return Err(ShardError::BadRequest(format!(
                "block size {} is not between {} and {}",
                self.block_size,
                TAG_LEN + 1,
                MAX_SEGMENT + TAG_LEN
            )));
        }
        Ok(())
    }
}

/// A shard that is to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardPut {
    /// Its name.
    pub key: ShardKey,
    /// Its shape.
    pub info: ShardInfo,
    /// Its `info.len` bytes.
    pub payload: Bytes,
}

/// A run of blocks within a shard: `first .. first + count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockRange {
    /// The first block, from 0.
    pub first: u32,
    /// How many blocks; at least 1.
    pub count: u32,
}

impl BlockRange {
    /// The bytes `start..end` of the payload that the blocks cover.
    ///
    /// # Errors
    /// [`ShardError::BadRequest`] when the range is empty or reaches past the last block.
    pub fn bytes_in(&self, info: &ShardInfo) -> Result<std::ops::Range<u32>, ShardError> {
        let end = self.first.checked_add(self.count).filter(|e| *e <= info.blocks());
        match end {
            Some(end) if self.count > 0 => {
                Ok(self.first * info.block_size..end.saturating_mul(info.block_size).min(info.len))
            }
            _ => Err(ShardError::BadRequest(format!(
                "blocks {}+{} are outside a shard of {} blocks",
                self.first,
                self.count,
                info.blocks()
            ))),
        }
    }
}

/// Why a node could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum ShardError {
    /// The node has no such shard.
    #[error("the node has no such shard")]
    NotFound,
    /// A checksum does not match what is on disk: the shard must be read around and repaired.
    #[error("block {block} of the shard does not match its checksum")]
    Corrupt {
        /// The first bad block.
        block: u32,
    },
    /// No space: writes are refused, reads go on.
    #[error("the node's disk is full; add space or drain the node (reads go on)")]
    Full,
    /// The disk failed.
    #[error("disk error on the node: {0}")]
    Disk(String),
    /// The node can't be reached, or the connection broke.
    #[error("node unreachable: {0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("no answer from the node in time")]
    Timeout,
    /// The node is busy beyond its queue's bound; try again later or elsewhere.
    #[error("the node's queue is full")]
    Busy,
    /// The request makes no sense to the node.
    #[error("bad request: {0}")]
    BadRequest(String),
}

/// A storage node, as the rest of the system sees it.
///
/// All methods may be cancelled by dropping the future; a cancelled `put` may or may not have
/// stored the shard.
#[async_trait]
pub trait ShardStore: Send + Sync + fmt::Debug {
    /// Stores a shard. When it returns `Ok`, the payload has been fsynced. Storing the same key
    /// again replaces what was there.
    async fn put(&self, key: ShardKey, info: ShardInfo, payload: Bytes) -> Result<(), ShardError>;

    /// Stores some shards, at most [`MAX_BATCH`] with [`MAX_PUT_ALL`] bytes together, with one fsync
    /// where the node can. On `Ok` all are durable; after an error, any of them may have been stored.
    async fn put_all(&self, puts: Vec<ShardPut>) -> Result<(), ShardError> {
        for ShardPut { key, info, payload } in puts {
            self.put(key, info, payload).await?;
        }
        Ok(())
    }

    /// Reads whole blocks, each verified against its checksum.
    async fn get(&self, key: ShardKey, blocks: BlockRange) -> Result<Bytes, ShardError>;

    /// Reads whole blocks for a caller that authenticates them itself, which may spare the node the
    /// same work. What turns out not to be authentic must be read again by [`ShardStore::get`], so
    /// that the node finds the damage.
    async fn get_unverified(&self, key: ShardKey, blocks: BlockRange) -> Result<Bytes, ShardError> {
        self.get(key, blocks).await
    }

    /// Deletes shards; those that are not there are passed over. Durable on return.
    async fn delete(&self, keys: Vec<ShardKey>) -> Result<(), ShardError>;

    /// Shards in key order, those after `after`, at most `limit` (bounded by [`MAX_BATCH`]).
    async fn list(
        &self,
        after: Option<ShardKey>,
        limit: u32,
    ) -> Result<Vec<(ShardKey, ShardInfo)>, ShardError>;

    /// The open findings with ids over `after`, in the order of their ids, at most `limit` (bounded
    /// by [`MAX_FINDINGS`]). Whoever repairs goes through all pages again from time to time: a
    /// finding is gone when its shard was stored anew, deleted, or read whole again by a scrub.
    async fn findings(&self, after: Option<u64>, limit: u32) -> Result<Vec<Finding>, ShardError>;

    /// How the node is doing.
    async fn stat(&self) -> Result<NodeStat, ShardError>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn key_bytes_round_trip_and_sort_like_keys(a: ([u8; 16], u32, u8, u16), b: ([u8; 16], u32, u8, u16)) {
            let key = |(blob, chunk, index, generation)| ShardKey { blob: BlobId::from_bytes(blob), chunk, index, generation };
            let (a, b) = (key(a), key(b));
            prop_assert_eq!(ShardKey::from_bytes(&a.to_bytes()), a);
            prop_assert_eq!(a.cmp(&b), a.to_bytes().cmp(&b.to_bytes()));
        }

        #[test]
        fn block_ranges_stay_inside_the_payload(first: u32, count: u32, len in 1u32..300_000, block_size in 17u32..70_000) {
            let info = ShardInfo { code: Code::DEFAULT, block_size, len };
            if let Ok(r) = (BlockRange { first, count }).bytes_in(&info) {
                prop_assert!(r.start < r.end && r.end <= len);
                prop_assert_eq!((r.end - r.start).div_ceil(block_size), count);
            }
        }
    }
}
