//! Reading all rows as they are at one moment, page by page, while they go on changing.
//!
//! A row that is about to change for the first time, and that an export has not read yet, is put
//! aside for the export as it was (copy on write). A page is then what stands in the store, with
//! what was put aside in place of it.

use crate::catalog::raft::snapshot::{Page, Row};
use coffer_core::catalog::kv::Rows;
use coffer_core::catalog::{Batch, Kv, KvError, Table};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// A page is full with this many rows, or bytes.
const PAGE_ROWS: usize = 1024;
const PAGE_BYTES: usize = 1 << 20;
/// Rows that are read at a time: bounds how long commits wait.
const STEP: usize = 64;
/// What may be put aside for an export, in bytes; one that is read too slowly is given up.
const MAX_ASIDE: usize = 256 << 20;
/// After all keys: none is that long, and all 0xFF.
const LAST_KEY: [u8; 64] = [0xFF; 64];

/// A place in a store: before this key of this table.
type Place = (Table, Vec<u8>);

/// An export under way.
#[derive(Debug, Default)]
struct Progress {
    /// What comes before has been read; `None` when all has.
    next: Option<Place>,
    /// Rows that have changed since, as they were; `None` where there was none.
    aside: BTreeMap<Place, Option<Vec<u8>>>,
    aside_bytes: usize,
    /// Too much was put aside.
    given_up: bool,
}

type Exports = Mutex<Vec<Weak<Mutex<Progress>>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A store whose rows can be exported.
pub struct Exportable {
    inner: Arc<dyn Kv>,
    /// Locked while a commit or a step of an export is at it.
    exports: Exports,
}

impl Exportable {
    /// All that is in `inner` must be changed through this.
    pub fn new(inner: Arc<dyn Kv>) -> Self {
        Self { inner, exports: Mutex::default() }
    }

    /// Begins to read all rows as they are now.
    pub fn export(self: &Arc<Self>) -> Export {
        let next = Table::ALL.iter().min().map(|table| (*table, Vec::new()));
        let progress = Arc::new(Mutex::new(Progress { next, ..Progress::default() }));
        lock(&self.exports).push(Arc::downgrade(&progress));
        Export { store: self.clone(), progress }
    }
}

impl Kv for Exportable {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.inner.get(table, key)
    }

    fn scan(&self, table: Table, from: &[u8], until: &[u8], limit: usize) -> Result<Rows, KvError> {
        self.inner.scan(table, from, until, limit)
    }

    fn commit(&self, batch: Batch) -> Result<(), KvError> {
        let mut exports = lock(&self.exports);
        exports.retain(|export| export.strong_count() > 0);
        for export in exports.iter().filter_map(Weak::upgrade) {
            let mut export = lock(&export);
            for (table, key, _) in &batch.changes {
                export.put_aside(&*self.inner, *table, key)?;
            }
        }
        self.inner.commit(batch)
    }

    fn sync(&self) -> Result<(), KvError> {
        self.inner.sync()
    }
}

impl Progress {
    fn put_aside(&mut self, store: &dyn Kv, table: Table, key: &[u8]) -> Result<(), KvError> {
        let place = (table, key.to_vec());
        let unread = self.next.as_ref().is_some_and(|next| place >= *next);
        if self.given_up || !unread || self.aside.contains_key(&place) {
            return Ok(());
        }
        let value = store.get(table, key)?;
        self.aside_bytes += key.len() + value.as_ref().map_or(0, Vec::len);
        self.aside.insert(place, value);
        if self.aside_bytes > MAX_ASIDE {
            *self = Self { given_up: true, ..Self::default() };
        }
        Ok(())
    }

    /// Reads some rows on; returns whether there may be more.
    fn step(&mut self, store: &dyn Kv, page: &mut Vec<Row>) -> Result<bool, KvError> {
        let Some((table, from)) = self.next.clone() else { return Ok(false) };
        let rows = store.scan(table, &from, &LAST_KEY, STEP)?;
        let next = match rows.last() {
            Some((last, _)) if rows.len() == STEP => {
                Some((table, [last.as_slice(), b"\0"].concat()))
            }
            _ => Table::ALL.iter().filter(|t| **t > table).min().map(|t| (*t, Vec::new())),
        };
        let unread = match &next {
            Some(next) => self.aside.split_off(next),
            None => BTreeMap::new(),
        };
        let aside = std::mem::replace(&mut self.aside, unread);
        let mut merged: BTreeMap<Vec<u8>, Option<Vec<u8>>> =
            rows.into_iter().map(|(key, value)| (key, Some(value))).collect();
        for ((_, key), value) in aside {
            self.aside_bytes =
                self.aside_bytes.saturating_sub(key.len() + value.as_ref().map_or(0, Vec::len));
            merged.insert(key, value);
        }
        page.extend(
            merged
                .into_iter()
                .filter_map(|(key, value)| value.map(|value| Row { table, key, value })),
        );
        self.next = next;
        Ok(self.next.is_some())
    }
}

/// All rows of a store as they were when the export began.
pub struct Export {
    store: Arc<Exportable>,
    progress: Arc<Mutex<Progress>>,
}

impl Export {
    /// The next page; `None` after the last.
    ///
    /// # Errors
    /// [`KvError`] when the store can't be read, or too much has changed since the export began.
    pub fn next_page(&mut self) -> Result<Option<Page>, KvError> {
        self.page_of(PAGE_ROWS)
    }

    /// The next page of about so many rows.
    fn page_of(&mut self, full: usize) -> Result<Option<Page>, KvError> {
        let mut rows = Vec::new();
        let mut bytes = 0;
        let mut counted = 0;
        while rows.len() < full && bytes < PAGE_BYTES {
            // No commit may come between what is read and what is put aside.
            let _commits_wait = lock(&self.store.exports);
            let mut progress = lock(&self.progress);
            if progress.given_up {
                return Err(KvError::Io(
                    "a snapshot was read too slowly: too much has changed since it was begun"
                        .into(),
                ));
            }
            let more = progress.step(&*self.store.inner, &mut rows)?;
            bytes +=
                rows[counted..].iter().map(|r: &Row| r.key.len() + r.value.len()).sum::<usize>();
            counted = rows.len();
            if !more {
                break;
            }
        }
        Ok((!rows.is_empty()).then_some(Page { rows }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::store::{MemoryTrees, Trees};
    use proptest::prelude::*;

    type Rows = BTreeMap<Place, Vec<u8>>;

    const TABLES: [Table; 3] = [Table::Buckets, Table::Manifests, Table::Usage];

    #[derive(Debug, Clone)]
    enum Step {
        Commit(Vec<(usize, u16, Option<u8>)>),
        Page,
        Begin,
    }

    fn step() -> impl Strategy<Value = Step> {
        let change = (0..TABLES.len(), 0..400u16, prop::option::of(any::<u8>()));
        prop_oneof![
            6 => prop::collection::vec(change, 1..60).prop_map(Step::Commit),
            3 => Just(Step::Page),
            1 => Just(Step::Begin),
        ]
    }

    fn take(found: &mut Rows, page: Option<Page>) -> bool {
        let Some(page) = page else { return false };
        for row in page.rows {
            let place = (row.table, row.key);
            assert!(found.keys().all(|before| *before < place), "rows come in order, and once");
            found.insert(place, row.value);
        }
        true
    }

    proptest! {
        #[test]
        fn an_export_is_what_there_was_when_it_began(steps in prop::collection::vec(step(), 1..60)) {
            let store = Arc::new(Exportable::new(MemoryTrees::default().open("a").unwrap()));
            let mut rows = Rows::new();
            let mut exports: Vec<(Rows, Rows, Export)> = Vec::new();
            for step in steps {
                match step {
                    Step::Commit(changes) => {
                        let mut batch = Batch::default();
                        for (table, key, value) in changes {
                            let place = (TABLES[table], key.to_be_bytes().to_vec());
                            batch.changes.push((place.0, place.1.clone(), value.map(|v| vec![v])));
                            match value {
                                Some(value) => drop(rows.insert(place, vec![value])),
                                None => drop(rows.remove(&place)),
                            }
                        }
                        store.commit(batch).unwrap();
                    }
                    Step::Page => for (_, found, export) in &mut exports {
                        take(found, export.page_of(1).unwrap());
                    },
                    Step::Begin => exports.push((rows.clone(), Rows::new(), store.export())),
                }
            }
            for (then, mut found, mut export) in exports {
                while take(&mut found, export.next_page().unwrap()) {}
                prop_assert_eq!(found, then);
            }
        }
    }
}
