//! The ordered key-value store below the catalog, as narrow as it can be.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock};

/// The catalog's tables. Each is ordered by its keys' bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Table {
    /// bucket name → [`super::records::BucketRecord`]
    Buckets,
    /// bucket, NUL, key → [`super::records::ObjectVersion`]: the current version of each object.
    /// A key whose current version is a delete marker has no row here, so that listings skip it.
    Objects,
    /// bucket, NUL, key, NUL, inverted sequence number → [`super::records::VersionRecord`]: all
    /// other versions, the newest first
    Versions,
    /// bucket, NUL, key → sequence number: where a null version is that is not current
    Nulls,
    /// version id → [`crate::manifest::Manifest`]
    Manifests,
    /// bucket, NUL, key, NUL, upload id → [`super::records::UploadRecord`]
    Uploads,
    /// upload id, part number → [`super::records::PartRecord`]
    Parts,
    /// time in ms, id → [`super::records::GarbageRecord`]
    Garbage,
    /// bucket name → [`super::records::Usage`]
    Usage,
    /// blob id → [`super::records::BlobOwner`]: whose the sealed data on the nodes is
    Blobs,
    /// blob id → nothing: blobs with shards that are still to be written
    Owed,
    /// nothing → [`crate::placement::ClusterMap`]
    Cluster,
    /// (one row) → how far the replicated log has been applied to the other tables
    Applied,
    /// index → an entry of the replicated log
    Log,
    /// name → what a member of the replicated log must remember
    Member,
}

impl Table {
    /// All tables.
    pub const ALL: [Self; 15] = [
        Self::Buckets,
        Self::Objects,
        Self::Versions,
        Self::Nulls,
        Self::Manifests,
        Self::Uploads,
        Self::Parts,
        Self::Garbage,
        Self::Usage,
        Self::Blobs,
        Self::Owed,
        Self::Cluster,
        Self::Applied,
        Self::Log,
        Self::Member,
    ];

    /// The table's name on disk.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Buckets => "buckets",
            Self::Objects => "objects",
            Self::Versions => "versions",
            Self::Nulls => "nulls",
            Self::Manifests => "manifests",
            Self::Uploads => "uploads",
            Self::Parts => "parts",
            Self::Garbage => "garbage",
            Self::Usage => "usage",
            Self::Blobs => "blobs",
            Self::Owed => "owed",
            Self::Cluster => "cluster",
            Self::Applied => "applied",
            Self::Log => "log",
            Self::Member => "member",
        }
    }
}

/// Changes that happen all together or not at all. `None` removes a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// The changes, in order; the last one of a key wins.
    pub changes: Vec<(Table, Vec<u8>, Option<Vec<u8>>)>,
}

impl Batch {
    /// Sets a key.
    pub fn put(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.changes.push((table, key, Some(value)));
    }

    /// Removes a key.
    pub fn remove(&mut self, table: Table, key: Vec<u8>) {
        self.changes.push((table, key, None));
    }
}

/// The store below failed; the catalog can't go on with the command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum KvError {
    /// Reading or writing failed.
    #[error("catalog store: {0}")]
    Io(String),
    /// A value does not decode: damage, or a format of another version.
    #[error(
        "catalog table {}: a value can't be decoded ({why}); restore it from a backup or rebuild it",
        .table.name()
    )]
    Corrupt {
        /// The table.
        table: Table,
        /// What the decoder says.
        why: String,
    },
    /// Somebody else has it open.
    #[error("catalog store: another process has locked {0}")]
    Locked(String),
}

/// A run of keys and values in key order.
pub type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// An ordered key-value store with atomic batches.
pub trait Kv: Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// [`KvError`] when the store can't be read.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, KvError>;

    /// At most `limit` rows in ascending order, from the key `from` (inclusive) to `until`
    /// (exclusive).
    ///
    /// # Errors
    /// [`KvError`] when the store can't be read.
    fn scan(&self, table: Table, from: &[u8], until: &[u8], limit: usize) -> Result<Rows, KvError>;

    /// Applies a batch: visible to all later reads at once, durable only after [`Kv::sync`].
    ///
    /// # Errors
    /// [`KvError`] when nothing was changed.
    fn commit(&self, batch: Batch) -> Result<(), KvError>;

    /// Makes all commits so far durable.
    ///
    /// # Errors
    /// [`KvError`] when durability can't be promised; nothing may then be acknowledged.
    fn sync(&self) -> Result<(), KvError>;
}

impl<K: Kv + ?Sized> Kv for std::sync::Arc<K> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        (**self).get(table, key)
    }

    fn scan(&self, table: Table, from: &[u8], until: &[u8], limit: usize) -> Result<Rows, KvError> {
        (**self).scan(table, from, until, limit)
    }

    fn commit(&self, batch: Batch) -> Result<(), KvError> {
        (**self).commit(batch)
    }

    fn sync(&self) -> Result<(), KvError> {
        (**self).sync()
    }
}

type MemoryTable = BTreeMap<Vec<u8>, Vec<u8>>;

/// A store in memory, for tests and simulation.
#[derive(Debug, Default)]
pub struct MemoryKv {
    tables: RwLock<BTreeMap<Table, MemoryTable>>,
}

impl Kv for MemoryKv {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        Ok(tables.get(&table).and_then(|t| t.get(key)).cloned())
    }

    fn scan(&self, table: Table, from: &[u8], until: &[u8], limit: usize) -> Result<Rows, KvError> {
        if from >= until {
            return Ok(Vec::new());
        }
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        let range = (Bound::Included(from), Bound::Excluded(until));
        Ok(tables
            .get(&table)
            .map(|t| t.range::<[u8], _>(range).take(limit))
            .into_iter()
            .flatten()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect())
    }

    fn commit(&self, batch: Batch) -> Result<(), KvError> {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        for (table, key, value) in batch.changes {
            let table = tables.entry(table).or_default();
            match value {
                Some(value) => table.insert(key, value),
                None => table.remove(&key),
            };
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), KvError> {
        Ok(())
    }
}
