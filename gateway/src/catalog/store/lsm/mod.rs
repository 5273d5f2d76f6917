//! [`Trees`] on fjall, a log-structured merge tree.
//!
//! What is written goes to one journal and to memory, and from there to sorted files that are merged in
//! the background; so the cost of a write does not depend on how large the catalog is, and a start
//! reads the journal, which is short, but not the files. A tree is a keyspace. The tables of a [`Kv`]
//! share it, told apart by the first byte of the key.
//!
//! A batch is one record of the journal: after a crash it is there or not, and with it all before it.
//! What [`Kv::sync`] has returned for is on disk: the journal, which all trees share, is fsynced. What
//! a crash may have left behind that is not whole is looked at before fjall sees it ([`journal`]).
//!
//! fjall's own `persist` holds up all commits while the disk works. Here it only hands its buffer to
//! the system; the `fdatasync` is done beside it, so that the state takes up one group of commands
//! while the log syncs the next.

pub mod journal;

use super::trees::Trees;
use coffer_core::catalog::kv::Rows;
use coffer_core::catalog::{Batch, Kv, KvError, Table};
use fjall::config::BlockSizePolicy;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};
use journal::Mark;
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Memory for blocks of the files, in bytes.
const CACHE_BYTES: u64 = 64 << 20;
/// What a tree gathers in memory before it is written to a file, in bytes.
const MEMTABLE_BYTES: u64 = 16 << 20;
/// Bytes of a block, which is read and kept whole. As large as a look-up takes for little more than it
/// would a small one: a page of a listing reads a quarter as many as of 4 KiB, and an index of four times
/// fewer stays in memory.
const BLOCK_BYTES: u32 = 16 << 10;
/// The journal from which a start has to make what was in memory, in bytes.
const JOURNAL_BYTES: u64 = 128 << 20;
/// Threads that write and merge files.
const WORKERS: usize = 2;

/// A directory of trees.
#[derive(Clone)]
pub struct LsmTrees {
    db: Database,
    disk: Arc<Disk>,
}

/// What all trees share: how far the journal is written, and how far it is on disk.
struct Disk {
    dir: PathBuf,
    progress: Mutex<Progress>,
    syncs: AtomicU64,
}

struct Progress {
    /// What the last batch was marked with.
    mark: Mark,
    /// After an fsync has failed, nobody knows what is on disk, and the next may seem to work.
    lost: bool,
}

impl Disk {
    fn progress(&self) -> Result<MutexGuard<'_, Progress>, KvError> {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if progress.lost {
            return Err(KvError::Io(
                "an earlier fsync of the catalog failed; restart the gateway when its disk is well"
                    .into(),
            ));
        }
        Ok(progress)
    }
}

impl LsmTrees {
    /// Opens the trees in `dir`, making it if need be.
    ///
    /// # Errors
    /// When the directory can't be used, another process has it open, it holds a catalog of another
    /// format, or its journal is damaged where it had been synced.
    pub fn open(dir: &Path) -> Result<Self, KvError> {
        let named = |why: String| KvError::Io(format!("can't open {}: {why}", dir.display()));
        if dir.join("db").is_file() && dir.join("conf").is_file() {
            return Err(named(
                "it holds a catalog of an earlier format; with all gateways stopped, have \
                 `coffer-gateway rebuild-catalog --replace` make it anew from the journal on the \
                 storage nodes"
                    .into(),
            ));
        }
        let locked = || KvError::Locked(dir.display().to_string());
        let mark = match File::open(dir.join("lock")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Mark::default(),
            Err(error) => return Err(named(format!("its lock: {error}"))),
            Ok(lock) => match lock.try_lock() {
                // Nobody writes to the journal before it has been looked at. fjall then locks it itself.
                Ok(()) => journal::check(dir).map_err(|error| named(error.to_string()))?,
                Err(TryLockError::WouldBlock) => return Err(locked()),
                Err(TryLockError::Error(error)) => return Err(named(format!("its lock: {error}"))),
            },
        };
        let db = Database::builder(dir)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .worker_threads(WORKERS)
            .manual_journal_persist(true)
            .open()
            .map_err(|error| match error {
                fjall::Error::Locked => locked(),
                error => named(error.to_string()),
            })?;
        let progress = Mutex::new(Progress { mark, lost: false });
        let disk = Disk { dir: dir.to_owned(), progress, syncs: AtomicU64::new(0) };
        Ok(Self { db, disk: Arc::new(disk) })
    }
}

impl Trees for LsmTrees {
    fn open(&self, name: &str) -> Result<Arc<dyn Kv>, KvError> {
        let options = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(MEMTABLE_BYTES)
                .data_block_size_policy(BlockSizePolicy::all(BLOCK_BYTES))
                .manual_journal_persist(true)
        };
        let rows = self.db.keyspace(name, options).map_err(io)?;
        Ok(Arc::new(LsmKv { db: self.db.clone(), rows, disk: self.disk.clone() }))
    }

    fn names(&self) -> Result<Vec<String>, KvError> {
        Ok(self.db.list_keyspace_names().iter().map(|name| name.to_string()).collect())
    }

    fn remove(&self, name: &str) -> Result<(), KvError> {
        if !self.db.keyspace_exists(name) {
            return Ok(());
        }
        let rows = self.db.keyspace(name, KeyspaceCreateOptions::default).map_err(io)?;
        self.db.delete_keyspace(rows).map_err(io)
    }

    fn syncs(&self) -> u64 {
        self.disk.syncs.load(Ordering::Relaxed)
    }
}

/// A tree of an [`LsmTrees`].
struct LsmKv {
    db: Database,
    rows: Keyspace,
    disk: Arc<Disk>,
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

fn io(error: fjall::Error) -> KvError {
    KvError::Io(error.to_string())
}

impl Kv for LsmKv {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        // Through a snapshot, since it shows batches whole.
        let value = self.db.snapshot().get(&self.rows, row_key(table, key)).map_err(io)?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn scan(&self, table: Table, from: &[u8], until: &[u8], limit: usize) -> Result<Rows, KvError> {
        if from >= until {
            return Ok(Vec::new());
        }
        self.db
            .snapshot()
            .range(&self.rows, row_key(table, from)..row_key(table, until))
            .take(limit)
            .map(|row| {
                let (key, value) = row.into_inner().map_err(io)?;
                Ok((key[1..].to_vec(), value.to_vec()))
            })
            .collect()
    }

    fn commit(&self, batch: Batch) -> Result<(), KvError> {
        // All changes of a batch are as new as each other: there may be one of each key.
        let changes = batch.changes.into_iter();
        let changes: BTreeMap<_, _> =
            changes.map(|(table, key, value)| (row_key(table, &key), value)).collect();
        let mut rows = self.db.batch();
        let mut progress = self.disk.progress()?;
        progress.mark.number += 1;
        rows.insert(&self.rows, Mark::KEY, progress.mark.encode());
        for (key, value) in changes {
            match value {
                Some(value) => rows.insert(&self.rows, key, value),
                None => rows.remove(&self.rows, key),
            }
        }
        // Still under the lock: marks are in the journal in the order of their numbers.
        rows.commit().map_err(io)
    }

    fn sync(&self) -> Result<(), KvError> {
        let written = self.disk.progress()?.mark.number;
        self.db.persist(PersistMode::Buffer).map_err(io)?;
        let outcome = journal::sync(&self.disk.dir);
        self.disk.syncs.fetch_add(1, Ordering::Relaxed);
        let mut progress = self.disk.progress()?;
        match outcome {
            Ok(()) => progress.mark.synced = progress.mark.synced.max(written),
            Err(error) => {
                progress.lost = true;
                return Err(KvError::Io(format!("the catalog could not be synced: {error}")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn tables_and_trees_do_not_run_into_each_other_and_survive_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let trees = LsmTrees::open(dir.path()).unwrap();
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
        let trees = LsmTrees::open(dir.path()).unwrap();
        assert_eq!(trees.names().unwrap().len(), 2);
        let kv = trees.open("a").unwrap();
        for table in Table::ALL {
            let rows = kv.scan(table, &[], &[0xFF, 0xFF], 10).unwrap();
            let name = table.name().as_bytes().to_vec();
            assert_eq!(rows, vec![(vec![], name.clone()), (vec![0xFF], name)]);
        }
    }

    #[test]
    fn the_last_change_of_a_key_wins_in_a_batch() {
        let dir = tempfile::tempdir().unwrap();
        let kv = LsmTrees::open(dir.path()).unwrap().open("a").unwrap();
        let mut batch = Batch::default();
        batch.put(Table::Objects, vec![1], vec![1]);
        batch.remove(Table::Objects, vec![1]);
        batch.put(Table::Objects, vec![1], vec![2]);
        batch.put(Table::Objects, vec![2], vec![3]);
        batch.remove(Table::Objects, vec![2]);
        kv.commit(batch).unwrap();
        let rows = kv.scan(Table::Objects, &[], &[0xFF], 10).unwrap();
        assert_eq!(rows, vec![(vec![1], vec![2])]);
    }

    #[test]
    fn a_tree_that_was_removed_is_empty_when_it_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let put = |kv: &dyn Kv| {
            let mut batch = Batch::default();
            batch.put(Table::Objects, vec![1], vec![1]);
            kv.commit(batch).unwrap();
            kv.sync().unwrap();
        };
        let empty = |kv: &dyn Kv| kv.scan(Table::Objects, &[], &[0xFF], 10).unwrap().is_empty();
        let trees = LsmTrees::open(dir.path()).unwrap();
        put(&*trees.open("a").unwrap());
        trees.remove("a").unwrap();
        trees.remove("never made").unwrap();
        assert!(trees.names().unwrap().is_empty());
        let anew = trees.open("a").unwrap();
        assert!(empty(&*anew));
        put(&*anew);
        drop(anew);
        trees.remove("a").unwrap();
        drop(trees);
        let trees = LsmTrees::open(dir.path()).unwrap();
        assert!(empty(&*trees.open("a").unwrap()));
    }

    #[test]
    fn a_catalog_of_an_earlier_format_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("db"), "").unwrap();
        fs::write(dir.path().join("conf"), "").unwrap();
        let error = LsmTrees::open(dir.path()).err().unwrap().to_string();
        assert!(error.contains("rebuild-catalog"), "{error}");
    }

    #[test]
    fn a_directory_that_is_open_elsewhere_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let _trees = LsmTrees::open(dir.path()).unwrap();
        assert!(matches!(LsmTrees::open(dir.path()).err(), Some(KvError::Locked(_))));
    }
}
