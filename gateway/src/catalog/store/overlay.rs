//! Changes on top of a store, which read as if they were in it, until they are committed together.

use coffer_core::catalog::kv::Rows;
use coffer_core::catalog::{Batch, Kv, KvError, Table};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Changes = BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>;

/// A store with changes on top. What is committed to it is among these, and waits for
/// [`Overlay::settle`].
pub struct Overlay {
    inner: Arc<dyn Kv>,
    changes: Mutex<Changes>,
}

impl Overlay {
    /// No changes yet.
    pub fn new(inner: Arc<dyn Kv>) -> Self {
        Self { inner, changes: Mutex::default() }
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits all changes below, as one batch with what `note` adds.
    ///
    /// # Errors
    /// `note`'s, or the store's: nothing has changed then.
    pub fn settle(
        &self,
        note: impl FnOnce(&mut Batch) -> Result<(), KvError>,
    ) -> Result<(), KvError> {
        let mut batch = Batch::default();
        let changes = std::mem::take(&mut *self.changes());
        batch.changes.extend(changes.into_iter().map(|((table, key), value)| (table, key, value)));
        note(&mut batch)?;
        self.inner.commit(batch)
    }
}

impl Kv for Overlay {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        match self.changes().get(&(table, key.to_vec())) {
            Some(value) => Ok(value.clone()),
            None => self.inner.get(table, key),
        }
    }

    fn scan(&self, table: Table, from: &[u8], until: &[u8], limit: usize) -> Result<Rows, KvError> {
        if from >= until {
            return Ok(Rows::new());
        }
        let changes = self.changes();
        let above = changes.range((table, from.to_vec())..(table, until.to_vec()));
        let mut above = above.map(|((_, key), value)| (key, value)).peekable();
        if above.peek().is_none() {
            return self.inner.scan(table, from, until, limit);
        }
        let above: Vec<_> = above.collect();
        // Each change hides one row at most: the first `limit` rows are among these.
        let below = self.inner.scan(table, from, until, limit.saturating_add(above.len()))?;
        let mut rows: BTreeMap<Vec<u8>, Vec<u8>> = below.into_iter().collect();
        for (key, value) in above {
            match value {
                Some(value) => rows.insert(key.clone(), value.clone()),
                None => rows.remove(key),
            };
        }
        Ok(rows.into_iter().take(limit).collect())
    }

    fn commit(&self, batch: Batch) -> Result<(), KvError> {
        let changes = batch.changes.into_iter().map(|(table, key, value)| ((table, key), value));
        self.changes().extend(changes);
        Ok(())
    }

    fn sync(&self) -> Result<(), KvError> {
        self.inner.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_core::catalog::MemoryKv;
    use proptest::prelude::*;

    type Change = (bool, u8, Option<u8>);

    fn batch(changes: &[Change]) -> Batch {
        let mut batch = Batch::default();
        for (other, key, value) in changes {
            let table = if *other { Table::Versions } else { Table::Objects };
            batch.changes.push((table, vec![*key], value.map(|v| vec![v])));
        }
        batch
    }

    proptest! {
        #[test]
        fn it_reads_as_if_the_changes_were_below_and_then_they_are(
            below in prop::collection::vec((any::<bool>(), 0..12u8, any::<Option<u8>>()), 0..20),
            above in prop::collection::vec((any::<bool>(), 0..12u8, any::<Option<u8>>()), 0..20),
            (from, until, limit) in (0..13u8, 0..13u8, 0..14usize),
        ) {
            let (model, inner) = (MemoryKv::default(), Arc::new(MemoryKv::default()));
            let overlay = Overlay::new(inner.clone());
            model.commit(batch(&below)).unwrap();
            inner.commit(batch(&below)).unwrap();
            for one in above.chunks(3) {
                model.commit(batch(one)).unwrap();
                overlay.commit(batch(one)).unwrap();
            }
            let same = |kv: &dyn Kv| {
                for table in [Table::Objects, Table::Versions] {
                    for key in 0..12u8 {
                        assert_eq!(kv.get(table, &[key]), model.get(table, &[key]));
                    }
                    let scan = |kv: &dyn Kv| kv.scan(table, &[from], &[until], limit);
                    assert_eq!(scan(kv), scan(&model));
                }
            };
            same(&overlay);
            overlay.settle(|_| Ok(())).unwrap();
            same(&*inner);
        }
    }
}
