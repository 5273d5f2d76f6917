//! A store that seals values on their way down: the disk below sees keys (names), but no sizes,
//! etags, user metadata or wrapped keys.

use super::kv::{Batch, Kv, KvError, Rows, Table};
use crate::random::Random;
use crate::seal::Envelope;
use std::sync::Arc;

/// Wraps a store; each value is sealed for its table and key, so that values can't be swapped.
pub struct SealedKv<K> {
    inner: K,
    envelope: Envelope,
    random: Arc<dyn Random>,
}

impl<K: Kv> SealedKv<K> {
    /// Values in `inner` are sealed by `envelope`.
    pub fn new(inner: K, envelope: Envelope, random: Arc<dyn Random>) -> Self {
        Self { inner, envelope, random }
    }

    fn open(&self, table: Table, key: &[u8], value: &[u8]) -> Result<Vec<u8>, KvError> {
        self.envelope
            .open(&context(table, key), value)
            .map(|mut plain| std::mem::take(&mut *plain))
            .map_err(|e| KvError::Corrupt { table, why: e.to_string() })
    }
}

fn context(table: Table, key: &[u8]) -> Vec<u8> {
    [b"catalog ", table.name().as_bytes(), b"\0", key].concat()
}

impl<K: Kv> Kv for SealedKv<K> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.inner.get(table, key)?.map(|v| self.open(table, key, &v)).transpose()
    }

    fn scan(&self, table: Table, from: &[u8], until: &[u8], limit: usize) -> Result<Rows, KvError> {
        let mut rows = self.inner.scan(table, from, until, limit)?;
        for (key, value) in &mut rows {
            *value = self.open(table, key, value)?;
        }
        Ok(rows)
    }

    fn commit(&self, mut batch: Batch) -> Result<(), KvError> {
        for (table, key, value) in &mut batch.changes {
            if let Some(value) = value {
                *value = self
                    .envelope
                    .seal(&context(*table, key), value, &*self.random)
                    .map_err(|e| KvError::Io(e.to_string()))?;
            }
        }
        self.inner.commit(batch)
    }

    fn sync(&self) -> Result<(), KvError> {
        self.inner.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::MemoryKv;
    use crate::random::SeededRandom;
    use crate::seal::Key;

    #[test]
    fn values_are_sealed_below_and_bound_to_their_place() {
        let envelope = Envelope::new(Key::from_bytes([1; 32]));
        let kv = SealedKv::new(MemoryKv::default(), envelope, Arc::new(SeededRandom::new(1)));
        let mut batch = Batch::default();
        batch.put(Table::Objects, b"b\0key".to_vec(), b"a secret header".to_vec());
        kv.commit(batch).unwrap();
        assert_eq!(kv.get(Table::Objects, b"b\0key"), Ok(Some(b"a secret header".to_vec())));

        let below = kv.inner.get(Table::Objects, b"b\0key").unwrap().unwrap();
        assert!(!below.windows(6).any(|w| w == b"secret"));
        let mut swapped = Batch::default();
        swapped.put(Table::Objects, b"b\0other".to_vec(), below);
        kv.inner.commit(swapped).unwrap();
        assert!(matches!(kv.get(Table::Objects, b"b\0other"), Err(KvError::Corrupt { .. })));
    }
}
