//! [`Index`] on sled.

use super::{Change, Index, IndexError, Location, Note, Usage, Watermark};
use coffer_core::ids::NodeId;
use coffer_core::shard::ShardKey;
use serde::{Serialize, de::DeserializeOwned};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

/// The memory that sled may use for its page cache, in bytes.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// sled frees its file lock in the background: a node that is stopped and started within one process
/// may find it still held for a moment.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Keys of shards have [`ShardKey::LEN`] bytes; these are shorter: the watermark ...
const WATERMARK: &[u8] = b"watermark v2";
/// ... and, before a volume's number, big-endian, what it holds.
const USAGE: &[u8] = b"usage ";

/// The tree of notes is named by the node's id and this.
const NOTES: &[u8] = b" notes";

/// An index in a directory.
#[derive(Debug)]
pub struct SledIndex {
    db: sled::Db,
    entries: sled::Tree,
    notes: sled::Tree,
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
                Self::recreate(dir, node)
            }
        }
    }

    /// Removes what is in `dir` and makes a new, empty index.
    ///
    /// # Errors
    /// [`IndexError`] when that can't be done.
    pub fn recreate(dir: &Path, node: NodeId) -> Result<Self, IndexError> {
        std::fs::remove_dir_all(dir)
            .map_err(|e| IndexError(format!("can't remove {}: {e}", dir.display())))?;
        Self::try_open(dir, node)
    }

    fn try_open(dir: &Path, node: NodeId) -> Result<Self, IndexError> {
        let config = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES);
        let mut tries = 0;
        let db = loop {
            match guarded(|| config.open()) {
                Err(e) if e.0.contains("could not acquire lock") && tries < LOCK_TRIES => {
                    tries += 1;
                    std::thread::sleep(LOCK_PAUSE);
                }
                opened => break opened?,
            }
        };
        // A tree of the node's own: an index that was copied from another node looks empty.
        let entries = guarded(|| db.open_tree(node.as_bytes()))?;
        let notes = guarded(|| db.open_tree([node.as_bytes(), NOTES].concat()))?;
        Ok(Self { db, entries, notes })
    }
}

/// Runs a call into sled. Damaged files make it panic in places, which must not take the node down:
/// a damaged index is no loss.
fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, IndexError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(outcome) => outcome.map_err(|e| IndexError(e.to_string())),
        Err(_) => Err(IndexError("sled panicked; the index is damaged".to_owned())),
    }
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, IndexError> {
    postcard::to_stdvec(value).map_err(|e| IndexError(e.to_string()))
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, IndexError> {
    postcard::from_bytes(bytes).map_err(|e| IndexError(format!("damaged entry: {e}")))
}

impl Index for SledIndex {
    fn get(&self, key: ShardKey) -> Result<Option<Location>, IndexError> {
        guarded(|| self.entries.get(key.to_bytes()))?.map(|v| decode(&v)).transpose()
    }

    fn apply(
        &self,
        changes: &[Change],
        watermark: Watermark,
        usage: &[(u32, Usage)],
    ) -> Result<(), IndexError> {
        let mut batch = sled::Batch::default();
        for (key, location) in changes {
            match location {
                Some(location) => batch.insert(key.to_bytes().as_slice(), encode(location)?),
                None => batch.remove(key.to_bytes().as_slice()),
            }
        }
        batch.insert(WATERMARK, encode(&watermark)?);
        for (volume, usage) in usage {
            let key = [USAGE, &volume.to_be_bytes()].concat();
            match *usage == Usage::default() {
                true => batch.remove(key),
                false => batch.insert(key, encode(usage)?),
            }
        }
        guarded(|| self.entries.apply_batch(batch))
    }

    fn usage(&self) -> Result<Vec<(u32, Usage)>, IndexError> {
        // A blob's id may begin like this too.
        let is_usage = |key: &[u8]| key.len() == USAGE.len() + size_of::<u32>();
        let rows: Vec<_> = guarded(|| self.entries.scan_prefix(USAGE).collect())?;
        let rows = rows.iter().filter(|(key, _)| is_usage(key));
        rows.filter_map(|(key, value)| {
            let volume: [u8; 4] = key[USAGE.len()..].try_into().ok()?;
            Some(decode(value).map(|usage| (u32::from_be_bytes(volume), usage)))
        })
        .collect()
    }

    fn watermark(&self) -> Result<Option<Watermark>, IndexError> {
        guarded(|| self.entries.get(WATERMARK))?.map(|v| decode(&v)).transpose()
    }

    fn scan(
        &self,
        after: Option<ShardKey>,
        limit: usize,
    ) -> Result<Vec<(ShardKey, Location)>, IndexError> {
        let after = after.map(ShardKey::to_bytes);
        let from = after.as_ref().map_or(Bound::Unbounded, |k| Bound::Excluded(k.as_slice()));
        let range = (from, Bound::Unbounded);
        // The watermark and what volumes hold are among the rows.
        let is_other = |row: &sled::Result<(sled::IVec, sled::IVec)>| {
            row.as_ref().is_ok_and(|(key, _)| key.len() != ShardKey::LEN)
        };
        let rows: Vec<_> = guarded(|| {
            let rows = self.entries.range::<&[u8], _>(range);
            rows.filter(|row| !is_other(row)).take(limit).collect()
        })?;
        rows.iter()
            .filter_map(|(key, value)| {
                let key: [u8; ShardKey::LEN] = key.as_ref().try_into().ok()?;
                Some(decode(value).map(|location| (ShardKey::from_bytes(&key), location)))
            })
            .collect()
    }

    fn notes(&self, prefix: &[u8]) -> Result<Vec<Note>, IndexError> {
        let rows: Vec<_> = guarded(|| self.notes.scan_prefix(prefix).collect())?;
        Ok(rows.into_iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect())
    }

    fn set_note(&self, name: &[u8], value: Option<&[u8]>) -> Result<(), IndexError> {
        guarded(|| match value {
            Some(value) => self.notes.insert(name, value),
            None => self.notes.remove(name),
        })?;
        Ok(())
    }

    fn clear(&self) -> Result<(), IndexError> {
        guarded(|| self.entries.clear())?;
        guarded(|| self.notes.clear())
    }

    fn flush(&self) -> Result<(), IndexError> {
        guarded(|| self.db.flush()).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn arbitrary_entries_never_panic_and_what_decodes_reads_back(bytes: Vec<u8>) {
            if let Ok(location) = decode::<Location>(&bytes) {
                let encoded = encode(&location).unwrap();
                prop_assert_eq!(decode::<Location>(&encoded).unwrap(), location);
            }
            if let Ok(watermark) = decode::<Watermark>(&bytes) {
                let encoded = encode(&watermark).unwrap();
                prop_assert_eq!(decode::<Watermark>(&encoded).unwrap(), watermark);
            }
        }
    }
}
