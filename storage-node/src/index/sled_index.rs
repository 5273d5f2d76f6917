//! [`Index`] on sled.

use super::{Change, Index, IndexError, Location, Watermark};
use coffer_core::ids::NodeId;
use coffer_core::shard::ShardKey;
use serde::{Serialize, de::DeserializeOwned};
use std::ops::Bound;
use std::path::Path;

/// The memory that sled may use for its page cache, in bytes.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// Keys of shards have [`ShardKey::LEN`] bytes; this one is shorter and sorts nowhere near.
const WATERMARK: &[u8] = b"watermark v1";

/// An index in a directory.
#[derive(Debug)]
pub struct SledIndex {
    db: sled::Db,
    entries: sled::Tree,
}

impl SledIndex {
    /// Opens the index of `node` in `dir`. One that can't be opened is removed: it is only a cache.
    ///
    /// # Errors
    /// [`IndexError`] when not even a new one can be made.
    pub fn open(dir: &Path, node: NodeId) -> Result<Self, IndexError> {
        match Self::try_open(dir, node) {
            Ok(index) => Ok(index),
            Err(error) => {
                tracing::warn!(%error, dir = %dir.display(), "the index is thrown away and will be built anew");
                std::fs::remove_dir_all(dir)
                    .map_err(|e| IndexError(format!("can't remove {}: {e}", dir.display())))?;
                Self::try_open(dir, node)
            }
        }
    }

    fn try_open(dir: &Path, node: NodeId) -> Result<Self, IndexError> {
        let db =
            sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).open().map_err(failed)?;
        // A tree of the node's own: an index that was copied from another node looks empty.
        let entries = db.open_tree(node.as_bytes()).map_err(failed)?;
        Ok(Self { db, entries })
    }
}

fn failed(error: sled::Error) -> IndexError {
    IndexError(error.to_string())
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, IndexError> {
    postcard::to_stdvec(value).map_err(|e| IndexError(e.to_string()))
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, IndexError> {
    postcard::from_bytes(bytes).map_err(|e| IndexError(format!("damaged entry: {e}")))
}

impl Index for SledIndex {
    fn get(&self, key: ShardKey) -> Result<Option<Location>, IndexError> {
        self.entries.get(key.to_bytes()).map_err(failed)?.map(|v| decode(&v)).transpose()
    }

    fn apply(&self, changes: &[Change], watermark: Watermark) -> Result<(), IndexError> {
        let mut batch = sled::Batch::default();
        for (key, location) in changes {
            match location {
                Some(location) => batch.insert(key.to_bytes().as_slice(), encode(location)?),
                None => batch.remove(key.to_bytes().as_slice()),
            }
        }
        batch.insert(WATERMARK, encode(&watermark)?);
        self.entries.apply_batch(batch).map_err(failed)
    }

    fn watermark(&self) -> Result<Option<Watermark>, IndexError> {
        self.entries.get(WATERMARK).map_err(failed)?.map(|v| decode(&v)).transpose()
    }

    fn scan(
        &self,
        after: Option<ShardKey>,
        limit: usize,
    ) -> Result<Vec<(ShardKey, Location)>, IndexError> {
        let after = after.map(ShardKey::to_bytes);
        let from = after.as_ref().map_or(Bound::Unbounded, |k| Bound::Excluded(k.as_slice()));
        self.entries
            .range::<&[u8], _>((from, Bound::Unbounded))
            .filter_map(|row| match row {
                Ok((key, value)) => {
                    let key: [u8; ShardKey::LEN] = key.as_ref().try_into().ok()?;
                    Some(decode(&value).map(|location| (ShardKey::from_bytes(&key), location)))
                }
                Err(error) => Some(Err(failed(error))),
            })
            .take(limit)
            .collect()
    }

    fn clear(&self) -> Result<(), IndexError> {
        self.entries.clear().map_err(failed)
    }

    fn flush(&self) -> Result<(), IndexError> {
        self.db.flush().map(|_| ()).map_err(failed)
    }
}
