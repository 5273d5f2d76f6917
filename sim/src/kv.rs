//! The catalog's store as the simulator has it: in memory, with a hash of its content, and with the
//! loss of what was not yet synced when its gateway crashes.

use coffer_core::catalog::{Batch, Kv, KvError, Table};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock};

type Row = (Table, Vec<u8>);
type Change = (Row, Option<Vec<u8>>);

/// A store in memory.
#[derive(Debug, Default)]
pub struct SimKv(RwLock<Inner>);

#[derive(Debug, Default, Clone)]
struct Inner {
    rows: BTreeMap<Row, Vec<u8>>,
    /// The sum of the rows' hashes: cheap to keep in step.
    hash: u64,
    /// For each batch since the last sync: the command that it belongs to, and what undoes it.
    undo: Vec<(usize, Vec<Change>)>,
    /// The command that is being applied.
    applying: usize,
    /// The command after the last one that is durable.
    synced: usize,
    batches: usize,
}

impl SimKv {
    /// What follows belongs to the command `index` of the log.
    pub fn begin(&self, index: usize) {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        inner.applying = index;
        inner.batches = 0;
    }

    /// How many batches the present command has committed.
    pub fn batches(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).batches
    }

    /// The content's hash: equal content, equal hash.
    pub fn hash(&self) -> u64 {
        self.0.read().unwrap_or_else(PoisonError::into_inner).hash
    }

    /// Loses the last `lose` batches that were not synced, at most. Returns the command that is to
    /// be applied next: each batch says which command it belongs to, as in the real store.
    pub fn crash(&self, lose: usize) -> usize {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..lose {
            let Some((_, changes)) = inner.undo.pop() else { break };
            for (row, value) in changes.into_iter().rev() {
                inner.set(row, value);
            }
        }
        let next = inner.undo.last().map_or(inner.synced, |(index, _)| index + 1);
        inner.undo.clear();
        inner.synced = next;
        next
    }

    /// Takes over the content of another store, as a snapshot does.
    pub fn install(&self, from: &Self, next: usize) {
        let content = from.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *inner = Inner { undo: Vec::new(), synced: next, ..content };
    }
}

impl Inner {
    fn set(&mut self, row: Row, value: Option<Vec<u8>>) -> Option<Vec<u8>> {
        if let Some(new) = &value {
            self.hash = self.hash.wrapping_add(hash_row(&row, new));
        }
        let old = match value {
            Some(value) => self.rows.insert(row.clone(), value),
            None => self.rows.remove(&row),
        };
        if let Some(old) = &old {
            self.hash = self.hash.wrapping_sub(hash_row(&row, old));
        }
        old
    }
}

fn hash_row(row: &Row, value: &[u8]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(row.0.name().as_bytes());
    hasher.update(&(row.1.len() as u64).to_le_bytes());
    hasher.update(&row.1);
    hasher.update(value);
    let mut first = [0u8; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first)
}

impl Kv for SimKv {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Ok(inner.rows.get(&(table, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        until: &[u8],
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, KvError> {
        if from >= until {
            return Ok(Vec::new());
        }
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let range =
            (Bound::Included((table, from.to_vec())), Bound::Excluded((table, until.to_vec())));
        Ok(inner.rows.range(range).take(limit).map(|((_, k), v)| (k.clone(), v.clone())).collect())
    }

    fn commit(&self, batch: Batch) -> Result<(), KvError> {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut undo = Vec::with_capacity(batch.changes.len());
        for (table, key, value) in batch.changes {
            let row = (table, key);
            let old = inner.set(row.clone(), value);
            undo.push((row, old));
        }
        let index = inner.applying;
        inner.undo.push((index, undo));
        inner.batches += 1;
        Ok(())
    }

    fn sync(&self) -> Result<(), KvError> {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        inner.synced = inner.applying + 1;
        inner.undo.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(kv: &SimKv, index: usize, value: u8) {
        kv.begin(index);
        let mut batch = Batch::default();
        batch.put(Table::Buckets, vec![1], vec![value]);
        kv.commit(batch).unwrap();
    }

    #[test]
    fn a_crash_loses_the_last_commands_that_were_not_synced() {
        let kv = SimKv::default();
        let mut hashes = Vec::new();
        for index in 0..4 {
            put(&kv, index, 7);
            put(&kv, index, u8::try_from(index).unwrap());
            hashes.push(kv.hash());
            if index == 1 {
                kv.sync().unwrap();
            }
        }
        assert_eq!(kv.crash(2), 3, "the last command had two batches");
        assert_eq!(kv.hash(), hashes[2]);
        put(&kv, 3, 3);
        assert_eq!(kv.hash(), hashes[3], "equal content, equal hash");
        kv.begin(4);
        assert_eq!(kv.crash(9), 3, "what a crash has left is durable");
        assert_eq!(kv.hash(), hashes[2]);
    }
}
