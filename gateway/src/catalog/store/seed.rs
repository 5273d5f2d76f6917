//! A catalog that is made from a snapshot and a log which come from elsewhere.

use super::export::Export;
use super::log::LogStore;
use super::machine::apply;
use super::state::{Applied, Catalog, Position, Staged, States};
use super::trees::{Trees, Work};
use crate::catalog::handle::envelope;
use crate::catalog::raft::snapshot::Page;
use crate::catalog::raft::types::{Entry, GatewayId, Group, LogId, Membership, Peer, Vote};
use coffer_core::catalog::{Batch, KvError};
use coffer_core::random::OsRandom;
use coffer_core::seal::Key;
use openraft::storage::RaftLogStorage;
use openraft::{CommittedLeaderId, EntryPayload};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A catalog that is being made.
pub struct Seed {
    states: Arc<States>,
}

/// Rows of a snapshot that are being taken.
pub struct SeedSnapshot(Staged);

impl SeedSnapshot {
    /// Takes a page.
    ///
    /// # Errors
    /// [`KvError`].
    pub async fn take(&self, page: Page) -> Result<(), KvError> {
        self.0.take(page).await
    }
}

impl Seed {
    /// Begins an empty catalog in empty trees, sealed by a key that derives from `master`.
    ///
    /// # Errors
    /// [`KvError`].
    pub fn open(trees: Arc<dyn Trees>, master: &Key, work: Work) -> Result<Self, KvError> {
        let states = States::open(trees, envelope(master), Arc::new(OsRandom), work)?;
        Ok(Self { states })
    }

    /// Begins to take a snapshot; what another one has left goes.
    ///
    /// # Errors
    /// [`KvError`].
    pub fn snapshot(&self) -> Result<SeedSnapshot, KvError> {
        self.states.stage().map(SeedSnapshot)
    }

    /// Goes on from a snapshot that has been taken whole.
    ///
    /// # Errors
    /// [`KvError`] when it is not the catalog as of `last`.
    pub fn install(&self, snapshot: SeedSnapshot, last: LogId) -> Result<(), KvError> {
        self.states.install(snapshot.0, Some(last)).map(|_| ())
    }

    /// Applies groups in their order.
    ///
    /// # Errors
    /// [`KvError`].
    pub fn apply(&self, groups: Vec<(LogId, Group)>) -> Result<(), KvError> {
        let state = self.states.current().kv();
        let applied = Applied::read(&*state)?;
        let entry = |(log_id, group)| Entry { log_id, payload: EntryPayload::Normal(group) };
        apply(state, applied, groups.into_iter().map(entry).collect()).map(|_| ())
    }

    /// Queries of what there is so far.
    pub fn catalog(&self) -> Catalog {
        self.states.catalog()
    }

    /// Makes it the catalog of a gateway that is alone, which goes on after `last` in a new term of
    /// its own. Returns all rows, for a snapshot as of `last`.
    ///
    /// # Errors
    /// [`KvError`].
    pub async fn found(&self, id: GatewayId, peer: Peer, last: LogId) -> Result<Export, KvError> {
        let members =
            openraft::Membership::new(vec![BTreeSet::from([id])], BTreeMap::from([(id, peer)]));
        let applied = Applied {
            position: Position { last: Some(last), begun: None },
            membership: Membership::new(Some(last), members),
        };
        let current = self.states.current();
        let mut batch = Batch::default();
        applied.position.write(&mut batch)?;
        applied.write_members(&mut batch)?;
        current.kv().commit(batch)?;
        current.kv().sync()?;

        let rows = self.states.log();
        let state = current.kv();
        let mut log = LogStore::open(rows.clone(), move || state.sync(), self.states.work())?;
        let failed = |e: openraft::StorageError<GatewayId>| KvError::Io(e.to_string());
        log.save_vote(&Vote::new(last.leader_id.term, id)).await.map_err(failed)?;
        log.purge(last).await.map_err(failed)?;
        rows.sync()?;
        Ok(current.export())
    }
}

/// A position in the log by its parts.
pub fn log_id(term: u64, leader: GatewayId, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term, leader), index)
}
