//! The state that the log has made, and the switch to that of a snapshot.
//!
//! A state is a tree. A snapshot arrives in a tree beside it; when it is complete and synced, one row
//! in the log's tree says which tree counts from then on. What other trees hold is removed on the
//! next start, or as soon as nobody reads them any more.

use super::export::{Export, Exportable};
use super::log::{decode, encode};
use super::trees::{Trees, Work};
use crate::catalog::raft::snapshot::Page;
use crate::catalog::raft::types::{LogId, Membership};
use coffer_core::catalog::{Batch, Kv, KvError, Machine, SealedKv, Table};
use coffer_core::random::Random;
use coffer_core::seal::Envelope;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// The catalog's state machine over whichever store.
pub type Catalog = Machine<Arc<dyn Kv>>;

/// The tree of the log, and how the names of those of states begin.
const LOG: &str = "log";
const STATE: &str = "state-";
/// The row in [`Table::Member`] with the number of the state that counts.
const CURRENT: &[u8] = b"state";
/// How often it is looked whether a tree is still read.
const LOOK: Duration = Duration::from_millis(200);

/// A position in the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// After this entry.
    pub last: Option<LogId>,
    /// And after so many commands of the next one.
    pub begun: Option<(LogId, u32)>,
}

/// How far the log has been applied to a state. Stored with the changes that brought it there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Up to here.
    pub position: Position,
    /// The members as of there.
    pub membership: Membership,
}

/// The rows of [`Table::Applied`].
const POSITION: &[u8] = b"position";
const MEMBERS: &[u8] = b"members";

impl Position {
    /// Adds it to a batch.
    pub(super) fn write(&self, batch: &mut Batch) -> Result<(), KvError> {
        batch.put(Table::Applied, POSITION.to_vec(), encode(Table::Applied, self)?);
        Ok(())
    }
}

impl Applied {
    /// Reads what a state says of itself.
    ///
    /// # Errors
    /// [`KvError`].
    pub fn read(state: &dyn Kv) -> Result<Self, KvError> {
        fn row<T: DeserializeOwned + Default>(state: &dyn Kv, name: &[u8]) -> Result<T, KvError> {
            let row = state.get(Table::Applied, name)?;
            row.map_or_else(|| Ok(T::default()), |value| decode(Table::Applied, &value))
        }
        Ok(Self { position: row(state, POSITION)?, membership: row(state, MEMBERS)? })
    }

    /// Adds the members to a batch.
    pub(super) fn write_members(&self, batch: &mut Batch) -> Result<(), KvError> {
        batch.put(Table::Applied, MEMBERS.to_vec(), encode(Table::Applied, &self.membership)?);
        Ok(())
    }
}

/// A state.
#[derive(Clone)]
pub struct State {
    number: u64,
    /// Its rows as they stand in the tree.
    rows: Arc<Exportable>,
    /// The same, opened.
    open: Arc<dyn Kv>,
}

impl State {
    /// Its rows, opened.
    pub fn kv(&self) -> Arc<dyn Kv> {
        self.open.clone()
    }

    /// Begins to read all rows as they are now.
    pub fn export(&self) -> Export {
        self.rows.export()
    }
}

/// All states of a gateway: the one that counts, and snapshots that arrive.
pub struct States {
    trees: Arc<dyn Trees>,
    envelope: Envelope,
    random: Arc<dyn Random>,
    log: Arc<dyn Kv>,
    work: Work,
    current: RwLock<State>,
}

impl States {
    /// Opens the state that counts. Values are sealed under `envelope`.
    ///
    /// # Errors
    /// [`KvError`] when a tree can't be read, or is sealed under another key.
    pub fn open(
        trees: Arc<dyn Trees>,
        envelope: Envelope,
        random: Arc<dyn Random>,
        work: Work,
    ) -> Result<Arc<Self>, KvError> {
        let log = trees.open(LOG)?;
        let log: Arc<dyn Kv> = Arc::new(SealedKv::new(log, envelope.clone(), random.clone()));
        let number = match log.get(Table::Member, CURRENT)? {
            Some(row) => decode(Table::Member, &row)?,
            None => 0,
        };
        for name in trees.names()? {
            if name.starts_with(STATE) && name != tree_name(number) {
                trees.remove(&name)?;
            }
        }
        let current = open_state(&*trees, &envelope, &random, number)?;
        let current = RwLock::new(current);
        Ok(Arc::new(Self { trees, envelope, random, log, work, current }))
    }

    /// The rows of the log's tree, opened.
    pub fn log(&self) -> Arc<dyn Kv> {
        self.log.clone()
    }

    /// How often the trees were synced.
    pub fn syncs(&self) -> u64 {
        self.trees.syncs()
    }

    /// In which threads the trees are worked on.
    pub fn work(&self) -> Work {
        self.work
    }

    /// The state that counts now.
    pub fn current(&self) -> State {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Queries of the state that counts now.
    pub fn catalog(&self) -> Catalog {
        Machine::new(self.current().open)
    }

    /// A new, empty tree for a snapshot. There may be one at a time.
    ///
    /// # Errors
    /// [`KvError`].
    pub fn stage(self: &Arc<Self>) -> Result<Staged, KvError> {
        let number = self.current().number + 1;
        self.trees.remove(&tree_name(number))?;
        let state = open_state(&*self.trees, &self.envelope, &self.random, number)?;
        Ok(Staged { state, work: self.work })
    }

    /// Makes a complete snapshot the state that counts. Returns how far it has come.
    ///
    /// # Errors
    /// [`KvError`] when it is not the state as of `last`, or can't be made durable.
    pub fn install(
        self: &Arc<Self>,
        staged: Staged,
        last: Option<LogId>,
    ) -> Result<Applied, KvError> {
        let state = staged.state;
        let applied = Applied::read(&*state.open)?;
        if applied.position.last != last {
            let why = format!("a snapshot of {last:?} has come that is of {:?}", applied.position);
            return Err(KvError::Corrupt { table: Table::Applied, why });
        }
        state.open.sync()?;
        let mut batch = Batch::default();
        let number = encode(Table::Member, &state.number)?;
        batch.put(Table::Member, CURRENT.to_vec(), number);
        self.log.commit(batch)?;
        self.log.sync()?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *current, state);
        drop(current);
        self.retire(old);
        Ok(applied)
    }

    /// Removes a state's tree once nobody reads it.
    fn retire(self: &Arc<Self>, old: State) {
        let State { number, rows, open } = old;
        drop(open);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let states = self.clone();
        runtime.spawn(async move {
            while Arc::strong_count(&rows) > 1 {
                tokio::time::sleep(LOOK).await;
            }
            drop(rows);
            let trees = states.trees.clone();
            let remove = move || trees.remove(&tree_name(number));
            if let Err(error) = states.work.run(remove).await {
                tracing::warn!(%error, "the catalog's former state is left until the next start");
            }
        });
    }
}

fn tree_name(number: u64) -> String {
    format!("{STATE}{number}")
}

fn open_state(
    trees: &dyn Trees,
    envelope: &Envelope,
    random: &Arc<dyn Random>,
    number: u64,
) -> Result<State, KvError> {
    let rows = Arc::new(Exportable::new(trees.open(&tree_name(number))?));
    let open = SealedKv::new(rows.clone(), envelope.clone(), random.clone());
    Ok(State { number, rows, open: Arc::new(open) })
}

/// A snapshot that arrives.
pub struct Staged {
    state: State,
    work: Work,
}

impl Staged {
    /// Takes a page.
    ///
    /// # Errors
    /// [`KvError`].
    pub async fn take(&self, page: Page) -> Result<(), KvError> {
        let rows = self.state.rows.clone();
        self.work.run(move || take(&rows, page)).await
    }

    /// Takes all pages of an export.
    ///
    /// # Errors
    /// [`KvError`].
    pub fn take_all(&self, mut export: Export) -> Result<(), KvError> {
        while let Some(page) = export.next_page()? {
            take(&self.state.rows, page)?;
        }
        Ok(())
    }
}

fn take(rows: &Exportable, page: Page) -> Result<(), KvError> {
    let mut batch = Batch::default();
    for row in page.rows {
        batch.put(row.table, row.key, row.value);
    }
    rows.commit(batch)
}
