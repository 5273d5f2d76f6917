//! The log's commands applied to the state, each once.
//!
//! The changes of an entry's commands and the note that it has been applied are one batch. Where a
//! crash takes the last changes back, it takes the notes back with them, and the log is applied again
//! from there.

use super::overlay::Overlay;
use super::state::{Applied, Catalog, Position, States};
use crate::catalog::raft::snapshot::SnapshotData;
use crate::catalog::raft::types::{
    Answers, Entry, GatewayId, Group, LogId, Membership, Peer, SnapshotMeta, Types,
};
use coffer_core::catalog::{CatalogError, Kv, KvError, Machine};
use openraft::storage::RaftStateMachine;
use openraft::{EntryPayload, RaftSnapshotBuilder, Snapshot, StorageError, StorageIOError};
use std::sync::Arc;
use tokio::sync::watch;

type Raised<T> = Result<T, StorageError<GatewayId>>;

/// Applies the log.
pub struct StateMachine {
    states: Arc<States>,
    applied: Applied,
    progress: watch::Sender<Option<LogId>>,
}

impl StateMachine {
    /// Goes on where the state that counts has come to.
    ///
    /// # Errors
    /// [`KvError`].
    pub fn open(states: Arc<States>) -> Result<Self, KvError> {
        let applied = Applied::read(&*states.current().kv())?;
        let progress = watch::Sender::new(applied.position.last);
        Ok(Self { states, applied, progress })
    }

    /// Follows which entry was applied last.
    pub fn progress(&self) -> watch::Receiver<Option<LogId>> {
        self.progress.subscribe()
    }

    /// A snapshot of this moment.
    fn snapshot(&self) -> Snapshot<Types> {
        let last = self.applied.position.last;
        let meta = SnapshotMeta {
            last_log_id: last,
            last_membership: self.applied.membership.clone(),
            snapshot_id: last.map_or_else(|| "empty".into(), |id| id.to_string()),
        };
        let export = self.states.current().export();
        Snapshot { meta, snapshot: Box::new(SnapshotData::Source(export)) }
    }
}

/// Applies entries to a state. Returns what their commands did, and how far it has come.
///
/// # Errors
/// [`KvError`] when the state can't be read or changed, or an entry not be understood: this gateway
/// must apply no more.
pub fn apply(
    state: Arc<dyn Kv>,
    mut applied: Applied,
    entries: Vec<Entry>,
) -> Result<(Vec<Answers>, Applied), KvError> {
    let overlay = Arc::new(Overlay::new(state));
    let catalog = Machine::new(overlay.clone() as Arc<dyn Kv>);
    let mut answers = Vec::with_capacity(entries.len());
    let mut is_noted = true;
    for Entry { log_id, payload } in entries {
        let before = applied.position;
        applied.position = Position { last: Some(log_id), begun: None };
        is_noted = !matches!(payload, EntryPayload::Blank);
        answers.push(match payload {
            EntryPayload::Blank => Answers::default(),
            EntryPayload::Membership(members) => {
                applied.membership = Membership::new(Some(log_id), members);
                overlay.settle(|batch| {
                    applied.write_members(batch)?;
                    applied.position.write(batch)
                })?;
                Answers::default()
            }
            EntryPayload::Normal(group) => {
                let answers = apply_group(&catalog, before, log_id, group)?;
                overlay.settle(|batch| applied.position.write(batch))?;
                answers
            }
        });
    }
    if !is_noted {
        overlay.settle(|batch| applied.position.write(batch))?;
    }
    Ok((answers, applied))
}

/// Applies the commands of the entry `log_id` but for those that were applied `before`, by a release
/// that committed each of them for itself.
fn apply_group(
    catalog: &Catalog,
    before: Position,
    log_id: LogId,
    group: Group,
) -> Result<Answers, KvError> {
    let begun = before.begun.filter(|(id, _)| *id == log_id).map_or(0, |(_, n)| n);
    let mut answers = Vec::with_capacity(group.0.len());
    for (n, command) in (1u32..).zip(group.0) {
        if n <= begun {
            answers.push(Err(CatalogError::Stopped("a crash came between".into())));
            continue;
        }
        match catalog.apply(command.decode()?) {
            Err(CatalogError::Kv(error)) => return Err(error),
            answer => answers.push(answer),
        }
    }
    Ok(Answers(answers))
}

/// A snapshot of the moment when this was made.
pub struct Builder(Option<Snapshot<Types>>);

impl RaftSnapshotBuilder<Types> for Builder {
    async fn build_snapshot(&mut self) -> Raised<Snapshot<Types>> {
        let twice = || KvError::Io("a snapshot can be taken once only".into());
        self.0.take().ok_or_else(|| StorageIOError::read_snapshot(None, &twice()).into())
    }
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotBuilder = Builder;

    async fn applied_state(
        &mut self,
    ) -> Raised<(Option<LogId>, openraft::StoredMembership<GatewayId, Peer>)> {
        Ok((self.applied.position.last, self.applied.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Raised<Vec<Answers>>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let (state, applied) = (self.states.current().kv(), self.applied.clone());
        let entries: Vec<Entry> = entries.into_iter().collect();
        let (answers, applied) = self
            .states
            .work()
            .run(move || apply(state, applied, entries))
            .await
            .map_err(|e| StorageError::from(StorageIOError::write_state_machine(&e)))?;
        self.applied = applied;
        self.progress.send_replace(self.applied.position.last);
        Ok(answers)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder(Some(self.snapshot()))
    }

    async fn begin_receiving_snapshot(&mut self) -> Raised<Box<SnapshotData>> {
        let states = self.states.clone();
        let staged = self.states.work().run(move || states.stage()).await;
        staged
            .map(|staged| Box::new(SnapshotData::Arrived(staged)))
            .map_err(|e| StorageIOError::write_snapshot(None, &e).into())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<SnapshotData>,
    ) -> Raised<()> {
        let (states, last) = (self.states.clone(), meta.last_log_id);
        let install = move || {
            let staged = match *snapshot {
                SnapshotData::Arrived(staged) => staged,
                SnapshotData::Source(export) => {
                    let staged = states.stage()?;
                    staged.take_all(export)?;
                    staged
                }
            };
            states.install(staged, last)
        };
        self.applied = self
            .states
            .work()
            .run(install)
            .await
            .map_err(|e| StorageError::from(StorageIOError::write_snapshot(None, &e)))?;
        self.progress.send_replace(self.applied.position.last);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Raised<Option<Snapshot<Types>>> {
        Ok(self.applied.position.last.is_some().then(|| self.snapshot()))
    }
}
