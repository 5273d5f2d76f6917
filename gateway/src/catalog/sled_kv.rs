//! [`Kv`] on sled.
//!
//! All tables share one sled tree, told apart by the first byte of the key, so that a batch over
//! several tables is one atomic sled batch. What [`Kv::sync`] has returned for is on disk: sled's
//! `flush` writes its log buffers and fsyncs.

use coffer_core::catalog::kv::Rows;
use coffer_core::catalog::{Batch, Kv, KvError, Table};
use std::path::Path;

/// The memory that sled may use for its page cache, in bytes.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// A catalog store in a directory.
#[derive(Debug, Clone)]
pub struct SledKv {
    db: sled::Db,
}

impl SledKv {
    /// Opens the store in `dir`, making it if need be.
    ///
    /// # Errors
    /// When the directory can't be used, or another process has it open.
    pub fn open(dir: &Path) -> Result<Self, KvError> {
        let db = sled::Config::new()
            .path(dir)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None)
            .open()
            .map_err(|e| KvError::Io(format!("can't open {}: {e}", dir.display())))?;
        Ok(Self { db })
    }
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
        Table::Condemned => b'X',
        Table::Cluster => b'C',
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
        Ok(self.db.get(row_key(table, key)).map_err(io)?.map(|v| v.to_vec()))
    }

    fn scan(&self, table: Table, from: &[u8], until: &[u8], limit: usize) -> Result<Rows, KvError> {
        if from >= until {
            return Ok(Vec::new());
        }
        self.db
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
        self.db.apply_batch(rows).map_err(io)
    }

    fn sync(&self) -> Result<(), KvError> {
        self.db.flush().map(|_| ()).map_err(io)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_do_not_run_into_each_other_and_survive_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let kv = SledKv::open(dir.path()).unwrap();
        let mut batch = Batch::default();
        for table in Table::ALL {
            batch.put(table, vec![0xFF], table.name().into());
            batch.put(table, vec![], table.name().into());
        }
        kv.commit(batch).unwrap();
        kv.sync().unwrap();
        drop(kv);
        let kv = SledKv::open(dir.path()).unwrap();
        for table in Table::ALL {
            let rows = kv.scan(table, &[], &[0xFF, 0xFF], 10).unwrap();
            let name = table.name().as_bytes().to_vec();
            assert_eq!(rows, vec![(vec![], name.clone()), (vec![0xFF], name)]);
        }
    }
}
