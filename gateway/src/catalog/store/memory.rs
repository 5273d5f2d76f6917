//! [`Trees`] in memory, for tests and simulation. A crash loses commits that were not synced.

use super::trees::Trees;
use coffer_core::catalog::kv::Rows;
use coffer_core::catalog::{Batch, Kv, KvError, Table};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Tree = BTreeMap<(Table, Vec<u8>), Vec<u8>>;
type Forest = BTreeMap<String, Tree>;

/// What was done, in order.
#[derive(Debug, Clone)]
enum Change {
    Commit(String, Batch),
    Remove(String),
}

#[derive(Debug, Default)]
struct Inner {
    /// What a crash leaves.
    durable: Forest,
    /// What is seen.
    live: Forest,
    /// How the one became the other.
    unsynced: Vec<Change>,
}

/// Trees in memory; clones share them.
#[derive(Debug, Clone, Default)]
pub struct MemoryTrees {
    inner: Arc<Mutex<Inner>>,
}

impl MemoryTrees {
    /// Commits that a crash may lose.
    pub fn unsynced(&self) -> usize {
        self.lock().unsynced.len()
    }

    /// What is left after a crash that the first `kept` of the unsynced commits survive. Those who
    /// still use these trees do not notice.
    #[must_use]
    pub fn crashed(&self, kept: usize) -> Self {
        let inner = self.lock();
        let mut durable = inner.durable.clone();
        for change in inner.unsynced.iter().take(kept) {
            apply(&mut durable, change.clone());
        }
        let live = durable.clone();
        Self { inner: Arc::new(Mutex::new(Inner { durable, live, unsynced: Vec::new() })) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: Change) {
        let mut inner = self.lock();
        apply(&mut inner.live, change.clone());
        inner.unsynced.push(change);
    }
}

fn apply(forest: &mut Forest, change: Change) {
    match change {
        Change::Commit(name, batch) => {
            let tree = forest.entry(name).or_default();
            for (table, key, value) in batch.changes {
                match value {
                    Some(value) => tree.insert((table, key), value),
                    None => tree.remove(&(table, key)),
                };
            }
        }
        Change::Remove(name) => drop(forest.remove(&name)),
    }
}

impl Trees for MemoryTrees {
    fn open(&self, name: &str) -> Result<Arc<dyn Kv>, KvError> {
        self.change(Change::Commit(name.to_owned(), Batch::default()));
        Ok(Arc::new(MemoryTree { trees: self.clone(), name: name.to_owned() }))
    }

    fn names(&self) -> Result<Vec<String>, KvError> {
        Ok(self.lock().live.keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> Result<(), KvError> {
        self.change(Change::Remove(name.to_owned()));
        Ok(())
    }
}

struct MemoryTree {
    trees: MemoryTrees,
    name: String,
}

impl Kv for MemoryTree {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        let inner = self.trees.lock();
        Ok(inner.live.get(&self.name).and_then(|t| t.get(&(table, key.to_vec()))).cloned())
    }

    fn scan(&self, table: Table, from: &[u8], until: &[u8], limit: usize) -> Result<Rows, KvError> {
        if from >= until {
            return Ok(Vec::new());
        }
        let inner = self.trees.lock();
        let range = (table, from.to_vec())..(table, until.to_vec());
        let rows = inner.live.get(&self.name).into_iter().flat_map(|t| t.range(range.clone()));
        Ok(rows.take(limit).map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    fn commit(&self, batch: Batch) -> Result<(), KvError> {
        self.trees.change(Change::Commit(self.name.clone(), batch));
        Ok(())
    }

    fn sync(&self) -> Result<(), KvError> {
        let mut inner = self.trees.lock();
        for change in std::mem::take(&mut inner.unsynced) {
            apply(&mut inner.durable, change);
        }
        Ok(())
    }
}
