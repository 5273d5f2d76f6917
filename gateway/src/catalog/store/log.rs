//! The log of commands, as openraft wants it stored.
//!
//! One tree holds the entries by their index ([`Table::Log`]) and what a member must remember
//! ([`Table::Member`]), all sealed. Entries and votes are synced before they count. What was appended
//! last is also kept in memory, where it is read from to be applied and sent.

use super::trees::Work;
use crate::catalog::raft::types::{Entry, GatewayId, Group, LogId, Types, Vote};
use coffer_core::catalog::{Batch, Kv, KvError, Table};
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{EntryPayload, LogState, RaftLogReader, StorageError, StorageIOError};
use std::collections::VecDeque;
use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Rows that are read or removed at a time.
const PAGE: u64 = 256;
/// What is read of the log at once to be sent, in bytes, if that is more than one entry.
const READ_BYTES: usize = 8 << 20;
/// What is kept in memory of the end of the log, in entries and bytes.
const RECENT: usize = 256;
const RECENT_BYTES: usize = 16 << 20;

/// Names of the rows in [`Table::Member`].
const VOTE: &[u8] = b"vote";
const PURGED: &[u8] = b"purged";

type Raised<T> = Result<T, StorageError<GatewayId>>;

/// Groups of commands that follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRun {
    /// The groups with their positions.
    pub groups: Vec<(LogId, Group)>,
    /// The last entry that was read for them, with commands or without.
    pub until: u64,
}

/// The log; clones share it.
#[derive(Clone)]
pub struct LogStore {
    shared: Arc<Shared>,
    work: Work,
}

struct Shared {
    /// Sealed.
    rows: Arc<dyn Kv>,
    /// The state's tree or one beside it: synced before entries go that made it.
    state: Arc<dyn Fn() -> Result<(), KvError> + Send + Sync>,
    ends: Mutex<Ends>,
}

/// Where the log begins and ends.
#[derive(Default)]
struct Ends {
    /// Up to here, entries are done with.
    purged: Option<LogId>,
    last: Option<LogId>,
    /// The first entry that is still stored; it may be below `purged` while somebody holds the log.
    first: u64,
    /// From here on, entries must not be removed.
    held: Option<u64>,
    recent: VecDeque<Entry>,
    recent_bytes: usize,
}

impl LogStore {
    /// The log in `rows`. `sync_state` syncs the state that it has made.
    ///
    /// # Errors
    /// [`KvError`].
    pub fn open(
        rows: Arc<dyn Kv>,
        sync_state: impl Fn() -> Result<(), KvError> + Send + Sync + 'static,
        work: Work,
    ) -> Result<Self, KvError> {
        let purged: Option<LogId> = member_row(&*rows, PURGED)?;
        let first = purged.map_or(0, |last| last.index.saturating_add(1));
        let ends = Ends { purged, last: purged, first, ..Ends::default() };
        let state = Arc::new(sync_state);
        let shared = Arc::new(Shared { rows, state, ends: Mutex::new(ends) });
        while let Some(first) = entries(&*shared.rows, 0, u64::MAX, 1, READ_BYTES)?.first() {
            let last = last_entry(&*shared.rows, first.log_id)?;
            if Some(last) >= purged {
                let mut ends = shared.ends();
                (ends.first, ends.last) = (first.log_id.index, Some(last));
                break;
            }
            // A snapshot took the place of the log, and a crash came before its entries were gone.
            shared.remove(first.log_id.index, last.index.saturating_add(1))?;
        }
        Ok(Self { shared, work })
    }

    /// The groups of commands at `from` and after it, the last at `until`; as many as fit into one
    /// message. Nothing when the entry at `from` has been removed, or has not come yet.
    ///
    /// # Errors
    /// [`KvError`].
    pub async fn groups(&self, from: u64, until: u64) -> Result<Option<GroupRun>, KvError> {
        let shared = self.shared.clone();
        let until = until.saturating_add(1);
        let entries = self.work.run(move || shared.read(from, until, READ_BYTES)).await?;
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(None) };
        if first.log_id.index != from {
            return Ok(None);
        }
        let until = last.log_id.index;
        let groups = entries
            .into_iter()
            .filter_map(|entry| match entry.payload {
                EntryPayload::Normal(group) => Some((entry.log_id, group)),
                EntryPayload::Blank | EntryPayload::Membership(_) => None,
            })
            .collect();
        Ok(Some(GroupRun { groups, until }))
    }

    /// The first entry that is still stored, or that is to come.
    pub fn first(&self) -> u64 {
        self.shared.ends().first
    }

    /// Keeps entries from the index `from` on from being removed, until this is called again with
    /// another index or `None`. A snapshot that is installed removes them nevertheless.
    pub fn hold(&self, from: Option<u64>) {
        self.shared.ends().held = from;
    }

    /// Makes a member that led when it went down come back as one that follows: how much was
    /// committed is told by what it has applied, which a crash may have taken back, and only the
    /// first commit of a new term tells a leader more. (openraft 0.9 lets it lead on at once, and
    /// its reads would be stale.) The term stays used up.
    ///
    /// # Errors
    /// [`KvError`].
    pub fn step_down(&self, id: GatewayId) -> Result<(), KvError> {
        let rows = &*self.shared.rows;
        match member_row::<Vote>(rows, VOTE)? {
            Some(vote) if vote.is_committed() && vote.leader_id().voted_for() == Some(id) => {
                save_vote(rows, Vote { committed: false, ..vote })
            }
            _ => Ok(()),
        }
    }

    /// The last entry's position.
    pub fn last(&self) -> Option<LogId> {
        self.shared.ends().last
    }
}

impl Shared {
    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, from: u64, until: u64, bytes: usize) -> Result<Vec<Entry>, KvError> {
        if let Some(recent) = self.ends().recent(from, until) {
            return Ok(recent);
        }
        entries(&*self.rows, from, until, usize::MAX, bytes)
    }

    fn append(&self, entries: Vec<Entry>) -> Result<(), KvError> {
        let mut batch = Batch::default();
        for entry in &entries {
            batch.put(Table::Log, row(entry.log_id.index), encode(Table::Log, entry)?);
        }
        self.rows.commit(batch)?;
        self.rows.sync()?;
        let mut ends = self.ends();
        for entry in entries {
            if ends.last.is_none_or(|last| last.index < ends.first) {
                ends.first = entry.log_id.index;
            }
            ends.last = Some(entry.log_id);
            ends.remember(entry);
        }
        Ok(())
    }

    fn truncate(&self, from: u64) -> Result<(), KvError> {
        let Some(last) = self.ends().last else { return Ok(()) };
        // From the end, so that no hole is left by a crash.
        let mut until = last.index.saturating_add(1);
        while until > from {
            let start = from.max(until.saturating_sub(PAGE));
            self.remove(start, until)?;
            until = start;
        }
        let before = match from.checked_sub(1) {
            Some(index) => entries(&*self.rows, index, from, 1, READ_BYTES)?.pop(),
            None => None,
        };
        let mut ends = self.ends();
        ends.last = before.map(|e| e.log_id).or(ends.purged);
        while ends.recent.back().is_some_and(|e| e.log_id.index >= from) {
            let gone = ends.recent.pop_back();
            ends.recent_bytes -= gone.as_ref().map_or(0, size);
        }
        Ok(())
    }

    fn purge(&self, upto: LogId) -> Result<(), KvError> {
        (self.state)()?;
        let mut batch = Batch::default();
        batch.put(Table::Member, PURGED.to_vec(), encode(Table::Member, &Some(upto))?);
        self.rows.commit(batch)?;
        let (first, until, next) = {
            let mut ends = self.ends();
            ends.purged = Some(upto);
            let end = ends.last.map_or(0, |last| last.index.saturating_add(1));
            let until = upto.index.saturating_add(1);
            if until > end {
                // A snapshot from elsewhere takes the place of the whole log.
                ends.last = Some(upto);
                (ends.first, end, until)
            } else {
                let until = until.min(ends.held.unwrap_or(u64::MAX));
                (ends.first, until, until.max(ends.first))
            }
        };
        self.remove(first, until)?;
        let mut ends = self.ends();
        ends.first = next;
        while ends.recent.front().is_some_and(|e| e.log_id.index < until) {
            let gone = ends.recent.pop_front();
            ends.recent_bytes -= gone.as_ref().map_or(0, size);
        }
        Ok(())
    }

    /// Removes the entries from the index `from` to before `until`, the first first.
    fn remove(&self, mut from: u64, until: u64) -> Result<(), KvError> {
        while from < until {
            let next = until.min(from.saturating_add(PAGE));
            let mut batch = Batch::default();
            for index in from..next {
                batch.remove(Table::Log, row(index));
            }
            self.rows.commit(batch)?;
            from = next;
        }
        Ok(())
    }
}

impl Ends {
    fn remember(&mut self, entry: Entry) {
        self.recent_bytes += size(&entry);
        self.recent.push_back(entry);
        while self.recent.len() > RECENT || self.recent_bytes > RECENT_BYTES {
            let gone = self.recent.pop_front();
            self.recent_bytes -= gone.as_ref().map_or(0, size);
        }
    }

    /// The entries from `from` to before `until`, if all of them are kept.
    fn recent(&self, from: u64, until: u64) -> Option<Vec<Entry>> {
        let oldest = self.recent.front()?.log_id.index;
        let newest = self.recent.back()?.log_id.index;
        if from < oldest || from > newest || until <= from {
            return None;
        }
        let skip = usize::try_from(from - oldest).ok()?;
        let count = usize::try_from(until.min(newest.saturating_add(1)) - from).ok()?;
        Some(self.recent.iter().skip(skip).take(count).cloned().collect())
    }
}

fn size(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(group) => group.size(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}

fn row(index: u64) -> Vec<u8> {
    index.to_be_bytes().to_vec()
}

/// Encodes what a row holds.
pub(super) fn encode<T: serde::Serialize>(table: Table, value: &T) -> Result<Vec<u8>, KvError> {
    postcard::to_stdvec(value).map_err(|e| KvError::Corrupt { table, why: e.to_string() })
}

/// Decodes what a row holds.
pub(super) fn decode<T: serde::de::DeserializeOwned>(
    table: Table,
    value: &[u8],
) -> Result<T, KvError> {
    postcard::from_bytes(value).map_err(|e| KvError::Corrupt { table, why: e.to_string() })
}

fn save_vote(rows: &dyn Kv, vote: Vote) -> Result<(), KvError> {
    let mut batch = Batch::default();
    batch.put(Table::Member, VOTE.to_vec(), encode(Table::Member, &Some(vote))?);
    rows.commit(batch)?;
    rows.sync()
}

fn member_row<T: serde::de::DeserializeOwned>(
    rows: &dyn Kv,
    name: &[u8],
) -> Result<Option<T>, KvError> {
    Ok(match rows.get(Table::Member, name)? {
        Some(value) => decode(Table::Member, &value)?,
        None => None,
    })
}

/// Entries from the index `from` to before `until`, at most `limit`, and few enough to be within
/// `bytes`, if that is more than one.
fn entries(
    rows: &dyn Kv,
    from: u64,
    until: u64,
    limit: usize,
    bytes: usize,
) -> Result<Vec<Entry>, KvError> {
    let mut found: Vec<Entry> = Vec::new();
    let mut read = 0;
    let mut next = from;
    while next < until && found.len() < limit {
        let page = limit.saturating_sub(found.len()).min(16);
        let some = rows.scan(Table::Log, &row(next), &row(until), page)?;
        let full = some.len() == page;
        for (_, value) in some {
            read += value.len();
            if read > bytes && !found.is_empty() {
                return Ok(found);
            }
            let entry: Entry = decode(Table::Log, &value)?;
            next = entry.log_id.index.saturating_add(1);
            found.push(entry);
        }
        if !full {
            break;
        }
    }
    Ok(found)
}

/// The last of the entries that follow `first` without a gap, found by doubling and halving.
fn last_entry(rows: &dyn Kv, first: LogId) -> Result<LogId, KvError> {
    let at = |index: u64| -> Result<Option<LogId>, KvError> {
        let value = rows.get(Table::Log, &row(index))?;
        Ok(value.map(|v| decode::<Entry>(Table::Log, &v)).transpose()?.map(|e| e.log_id))
    };
    let mut found = first;
    let mut step = 1u64;
    while let Some(id) = at(found.index.saturating_add(step))? {
        found = id;
        step = step.saturating_mul(2);
    }
    while step > 1 {
        step /= 2;
        if let Some(id) = at(found.index.saturating_add(step))? {
            found = id;
        }
    }
    Ok(found)
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: RB,
    ) -> Raised<Vec<Entry>> {
        let from = match range.start_bound() {
            Bound::Included(n) => *n,
            Bound::Excluded(n) => n.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let until = match range.end_bound() {
            Bound::Included(n) => n.saturating_add(1),
            Bound::Excluded(n) => *n,
            Bound::Unbounded => u64::MAX,
        };
        self.read(from, until, usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Raised<Vec<Entry>> {
        self.read(start, end, READ_BYTES).await
    }
}

impl LogStore {
    /// What is in memory is read at once.
    async fn read(&self, from: u64, until: u64, bytes: usize) -> Raised<Vec<Entry>> {
        if let Some(recent) = self.shared.ends().recent(from, until) {
            return Ok(recent);
        }
        let shared = self.shared.clone();
        self.work
            .run(move || shared.read(from, until, bytes))
            .await
            .map_err(|e| StorageIOError::read_logs(&e).into())
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Raised<LogState<Types>> {
        let ends = self.shared.ends();
        Ok(LogState { last_purged_log_id: ends.purged, last_log_id: ends.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Raised<()> {
        let (shared, vote) = (self.shared.clone(), *vote);
        let save = move || save_vote(&*shared.rows, vote);
        self.work.run(save).await.map_err(|e| StorageIOError::write_vote(&e).into())
    }

    async fn read_vote(&mut self) -> Raised<Option<Vote>> {
        let shared = self.shared.clone();
        let read = move || member_row(&*shared.rows, VOTE);
        self.work.run(read).await.map_err(|e| StorageIOError::read_vote(&e).into())
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Raised<()>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let (shared, entries) = (self.shared.clone(), entries.into_iter().collect());
        self.work
            .run(move || shared.append(entries))
            .await
            .map_err(|e| StorageError::from(StorageIOError::write_logs(&e)))?;
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Raised<()> {
        let shared = self.shared.clone();
        self.work
            .run(move || shared.truncate(log_id.index))
            .await
            .map_err(|e| StorageIOError::write_logs(&e).into())
    }

    async fn purge(&mut self, log_id: LogId) -> Raised<()> {
        let shared = self.shared.clone();
        self.work
            .run(move || shared.purge(log_id))
            .await
            .map_err(|e| StorageIOError::write_logs(&e).into())
    }
}
