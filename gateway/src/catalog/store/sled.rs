//! [`Trees`] on sled.
//!
//! The tables of a [`Kv`] share one sled tree, told apart by the first byte of the key, so that a
//! batch over several tables is one atomic sled batch. All trees share one log, in one file. sled's
//! `flush` writes that log's buffers; on Linux it then only calls `sync_file_range`, which waits for
//! the pages but neither for the file's length nor for the disk's cache. So [`Kv::sync`] adds the
//! `fdatasync`: what it has returned for is on disk.

use super::trees::Trees;
use coffer_core::catalog::kv::Rows;
use coffer_core::catalog::{Batch, Kv, KvError, Table};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The memory that sled may use for its page cache, in bytes.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// The file of sled's log, in its directory.
const LOG_FILE: &str = "db";

/// A directory of trees.
#[derive(Debug, Clone)]
pub struct SledTrees {
    db: sled::Db,
    disk: Arc<LogFile>,
}

/// The file that all trees are in, and how often it was synced.
#[derive(Debug)]
struct LogFile {
    file: File,
    syncs: AtomicU64,
}

impl SledTrees {
    /// Opens the trees in `dir`, making it if need be.
    ///
    /// # Errors
    /// When the directory can't be used, another process has it open, or it holds a catalog of
    /// before there was a log.
    pub fn open(dir: &Path) -> Result<Self, KvError> {
        let db = sled::Config::new()
            .path(dir)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None)
            .open()
            .map_err(|e| KvError::Io(format!("can't open {}: {e}", dir.display())))?;
        if !db.is_empty() {
            return Err(KvError::Io(format!(
                "{} holds a catalog of an earlier format, which this version can't read",
                dir.display()
            )));
        }
        let path = dir.join(LOG_FILE);
        let file = File::open(&path)
            .map_err(|e| KvError::Io(format!("can't open {}: {e}", path.display())))?;
        Ok(Self { db, disk: Arc::new(LogFile { file, syncs: AtomicU64::new(0) }) })
    }
}

impl Trees for SledTrees {
    fn open(&self, name: &str) -> Result<Arc<dyn Kv>, KvError> {
        let tree = self.db.open_tree(name).map_err(io)?;
        Ok(Arc::new(SledKv { db: self.db.clone(), tree, disk: self.disk.clone() }))
    }

    fn names(&self) -> Result<Vec<String>, KvError> {
        let names = self.db.tree_names();
        Ok(names.iter().filter_map(|n| std::str::from_utf8(n).ok()).map(Into::into).collect())
    }

    fn remove(&self, name: &str) -> Result<(), KvError> {
        self.db.drop_tree(name).map(|_| ()).map_err(io)
    }

    fn syncs(&self) -> u64 {
        self.disk.syncs.load(Ordering::Relaxed)
    }
}

/// A tree of a [`SledTrees`].
#[derive(Debug, Clone)]
struct SledKv {
    db: sled::Db,
    tree: sled::Tree,
    disk: Arc<LogFile>,
}

/// The byte that a table's keys begin with. Part of the disk format: never change one.
const fn tag(table: Table) -> u8 {
    match table {
        Table::Buckets => b'B',
        Table::Objects => b'O',
        Table::Manifests => b'M',
        Table::Uploads => b'U',
        Table::Parts => b'P',
        Table::Garbage => b'G',
        Table::Versions => b'V',
        Table::Nulls => b'N',
        Table::Usage => b'S',
        Table::Blobs => b'D',
        Table::Owed => b'W',
        Table::Cluster => b'C',
        Table::Applied => b'A',
        Table::Log => b'L',
        Table::Member => b'R',
    }
}

fn row_key(table: Table, key: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(1 + key.len());
    row.push(tag(table));
    row.extend_from_slice(key);
    row
}

fn io(error: sled::Error) -> KvError {
    KvError::Io(error.to_string())
}

impl Kv for SledKv {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        Ok(self.tree.get(row_key(table, key)).map_err(io)?.map(|v| v.to_vec()))
    }

    fn scan(&self, table: Table, from: &[u8], until: &[u8], limit: usize) -> Result<Rows, KvError> {
        if from >= until {
            return Ok(Vec::new());
        }
        self.tree
            .range(row_key(table, from)..row_key(table, until))
            .take(limit)
            .map(|row| {
                let (key, value) = row.map_err(io)?;
                Ok((key[1..].to_vec(), value.to_vec()))
            })
            .collect()
    }

    fn commit(&self, batch: Batch) -> Result<(), KvError> {
        let mut rows = sled::Batch::default();
        for (table, key, value) in batch.changes {
            match value {
                Some(value) => rows.insert(row_key(table, &key), value),
                None => rows.remove(row_key(table, &key)),
            }
        }
        self.tree.apply_batch(rows).map_err(io)
    }

    fn sync(&self) -> Result<(), KvError> {
        self.db.flush().map_err(io)?;
        self.disk.syncs.fetch_add(1, Ordering::Relaxed);
        let failed = |e| KvError::Io(format!("the catalog could not be synced: {e}"));
        self.disk.file.sync_data().map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_trees_do_not_run_into_each_other_and_survive_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let trees = SledTrees::open(dir.path()).unwrap();
        let (kv, other) = (trees.open("a").unwrap(), trees.open("b").unwrap());
        let mut batch = Batch::default();
        for table in Table::ALL {
            batch.put(table, vec![0xFF], table.name().into());
            batch.put(table, vec![], table.name().into());
        }
        kv.commit(batch).unwrap();
        kv.sync().unwrap();
        assert!(other.scan(Table::Objects, &[], &[0xFF, 0xFF], 10).unwrap().is_empty());
        drop((kv, other, trees));
        let trees = SledTrees::open(dir.path()).unwrap();
        let kv = trees.open("a").unwrap();
        for table in Table::ALL {
            let rows = kv.scan(table, &[], &[0xFF, 0xFF], 10).unwrap();
            let name = table.name().as_bytes().to_vec();
            assert_eq!(rows, vec![(vec![], name.clone()), (vec![0xFF], name)]);
        }
    }
}
