//! Groups are written as they are applied, by the gateway that leads.

use super::mend;
use super::nodes::Nodes;
use super::replay::whole_plan;
use super::snapshot::{self, Written, position};
use super::{JournalConfig, JournalError};
use crate::catalog::CatalogHandle;
use crate::catalog::raft::types::{Group, LogId};
use coffer_core::catalog::KvError;
use coffer_core::ids::NodeId;
use coffer_core::journal::{self, Cutter, Groups, Record};
use coffer_core::random::OsRandom;
use coffer_core::seal::{Envelope, Key};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

/// Entries of the log in one record at most.
const ENTRIES: u64 = 4096;
/// Entries without commands that wait for one with commands before they are written.
const BLANK: u64 = 1024;
/// Entries that the log keeps for the journal at most.
const HELD: u64 = 1 << 20;
/// The pause after a failure.
const PAUSE: Duration = Duration::from_millis(500);
/// The pause after a snapshot could not be written.
const SNAPSHOT_PAUSE: Duration = Duration::from_secs(30);
/// A snapshot for the number of entries alone waits until these have a share of 1 in so many of what the
/// last one had: a large catalog is not written anew for a few small changes.
const SHARE: u64 = 8;
/// How often it is looked whether a snapshot is due.
const LOOK: Duration = Duration::from_secs(5);

/// How the journal is doing, as the gateway that leads knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct JournalStatus {
    /// Whether this gateway writes it.
    pub writes: bool,
    /// The first entry of the log whose commands may not be in it.
    pub end: u64,
    /// The first entry that no record covers.
    pub covered: u64,
    /// The last entry that has been applied.
    pub applied: u64,
    /// Whether it has all that is needed to rebuild the catalog as of its end.
    pub whole: bool,
    /// The entry that its newest snapshot is of.
    pub snapshot: Option<u64>,
    /// What went wrong last, if it has not been done since.
    pub error: Option<String>,
}

impl JournalStatus {
    /// How many entries have been applied that are not in it.
    pub fn lag(&self) -> u64 {
        self.applied.saturating_add(1).saturating_sub(self.end)
    }
}

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal {
    /// How it is doing.
    pub status: watch::Receiver<JournalStatus>,
    /// The task that writes it.
    pub task: JoinHandle<()>,
}

/// Writes the journal, while this gateway leads the catalog, until the task is aborted.
pub fn spawn(catalog: CatalogHandle, nodes: Nodes, master: &Key, config: JournalConfig) -> Journal {
    // At once, so that no answer slips through.
    catalog.gate().close(config.patience);
    let (status, watched) = watch::channel(JournalStatus::default());
    let envelope = Arc::new(journal::envelope(master));
    let writer = Writer {
        catalog,
        nodes,
        envelope,
        config: Arc::new(config),
        status,
        wants_snapshot: AtomicBool::new(false),
    };
    Journal { status: watched, task: tokio::spawn(writer.run()) }
}

struct Writer {
    catalog: CatalogHandle,
    nodes: Nodes,
    envelope: Arc<Envelope>,
    config: Arc<JournalConfig>,
    status: watch::Sender<JournalStatus>,
    /// Whether some record can't be read any more.
    wants_snapshot: AtomicBool,
}

/// How far the journal has come, what has been written since the last snapshot, and what becomes of
/// the next one.
struct Since {
    /// The first entry that no record covers.
    next: u64,
    /// A snapshot at or after the entry before this one is needed to make the journal whole.
    broken: Option<u64>,
    /// Entries up to here are in the last one.
    snapshot: Option<u64>,
    /// Its length.
    snapshot_bytes: u64,
    bytes: u64,
    at: Instant,
    /// The nodes that there were then.
    members: BTreeSet<NodeId>,
    under_way: Option<AbortOnDropHandle<Result<Written, JournalError>>>,
    not_before: Instant,
}

impl Writer {
    async fn run(self) {
        let mut lead = self.catalog.leadership();
        while lead.wait_for(|leads| *leads).await.is_ok() {
            self.status.send_modify(|status| status.writes = true);
            tokio::select! {
                () = self.lead() => {}
                () = self.mend_copies() => {}
                _ = lead.wait_for(|leads| !*leads) => {}
            }
            // Others may write on until this gateway leads again.
            self.catalog.gate().close(self.config.patience);
            self.catalog.log().hold(None);
            self.status.send_replace(JournalStatus::default());
        }
    }

    /// Sees to it that damaged copies do not add up.
    async fn mend_copies(&self) {
        loop {
            sleep(self.config.mend_every).await;
            let mended = mend::mend(&(self.nodes)(), &self.envelope).await;
            if mended.copies > 0 {
                tracing::info!(copies = mended.copies, "damaged copies were written anew");
            }
            let snapshot = self.status.borrow().snapshot;
            let is_needed = |record: &Record| snapshot.is_none_or(|index| record.until() >= index);
            if mended.unreadable.iter().any(is_needed) {
                self.wants_snapshot.store(true, Ordering::Relaxed);
            }
        }
    }

    async fn lead(&self) {
        let mut applied = self.catalog.applied();
        let mut since = loop {
            match self.survey().await {
                Ok(since) => break since,
                Err(error) => self.failed(&error).await,
            }
        };
        loop {
            let last = applied.borrow_and_update().map(|last| last.index);
            self.status.send_modify(|status| status.applied = last.unwrap_or(0));
            match self.write_until(last, &mut since).await {
                Ok(()) => {
                    self.status.send_modify(|status| status.error = None);
                    self.pass(true);
                    if self.begin_snapshot(&mut since) {
                        continue;
                    }
                }
                Err(error) => {
                    self.failed(&error).await;
                    continue;
                }
            }
            tokio::select! {
                changed = applied.changed() => if changed.is_err() { return },
                () = sleep(LOOK) => {}
                ended = ended(&mut since.under_way) => self.end_snapshot(ended, &mut since),
            }
        }
    }

    /// Finds how far the journal has come.
    async fn survey(&self) -> Result<Since, JournalError> {
        let view = (self.nodes)();
        let listing = view.list().await;
        if listing.answered() == 0 {
            return Err(JournalError::NoNodes);
        }
        if let Some(newest) = listing.names.newest() {
            let catalog = self.catalog.log().last().map_or(0, |last| last.index);
            if newest > catalog {
                return Err(JournalError::Ahead { journal: newest, catalog });
            }
        }
        let plan = whole_plan(&listing, &self.envelope, &mut BTreeSet::new()).await;
        let snapshot = plan.snapshot.map(Record::until);
        self.catalog.log().hold(Some(plan.end));
        // If it has a gap, what is written again from here closes it.
        self.status.send_modify(|status| {
            (status.end, status.covered) = (plan.end, plan.end);
            (status.whole, status.snapshot) = (true, snapshot);
        });
        tracing::info!(end = plan.end, snapshot, "the journal of the catalog goes on");
        Ok(Since {
            next: plan.end,
            broken: None,
            snapshot,
            snapshot_bytes: plan.snapshot.map_or(0, |record| listing.names.bytes(record)),
            bytes: plan.groups.iter().map(|record| listing.names.bytes(*record)).sum(),
            at: Instant::now(),
            members: view.members(),
            under_way: None,
            not_before: Instant::now(),
        })
    }

    /// Writes what has been applied up to the entry `last`.
    async fn write_until(&self, last: Option<u64>, since: &mut Since) -> Result<(), JournalError> {
        let Some(last) = last else { return Ok(()) };
        loop {
            let next = since.next;
            let first = self.catalog.log().first();
            if first > next || last.saturating_sub(next) > HELD {
                // Only a snapshot has what is missing now.
                since.next = first.max(last.saturating_sub(HELD / 2));
                since.broken = Some(since.next);
                tracing::warn!(
                    from = next,
                    until = since.next,
                    "the log does not have what the journal lacks: it needs a snapshot"
                );
                self.status.send_modify(|status| status.whole = false);
                self.reached(since.next);
                continue;
            }
            if next > last {
                return Ok(());
            }
            let until = last.min(next.saturating_add(ENTRIES - 1));
            let Some(run) = self.catalog.log().groups(next, until).await? else {
                let why = format!("entry {next} of the log can't be read");
                return Err(KvError::Io(why).into());
            };
            // What comes after the last group can wait for the next one, unless a snapshot waits.
            let at_once = since.under_way.is_some() || run.until < until;
            let until = match run.groups.last() {
                Some((id, _)) => id.index,
                None if at_once || run.until - next >= BLANK => run.until,
                None => {
                    self.status.send_modify(|status| status.end = last.saturating_add(1));
                    return Ok(());
                }
            };
            since.bytes =
                since.bytes.saturating_add(self.write_groups(next, until, run.groups).await?);
            since.next = until.saturating_add(1);
            self.reached(since.next);
        }
    }

    /// Records cover all entries before `next`.
    fn reached(&self, next: u64) {
        self.status.send_modify(|status| (status.end, status.covered) = (next, next));
        self.catalog.log().hold(Some(next));
        self.pass(false);
    }

    /// Writes a record of groups; returns its length.
    async fn write_groups(
        &self,
        from: u64,
        until: u64,
        groups: Vec<(LogId, Group)>,
    ) -> Result<u64, JournalError> {
        let unnamed = || JournalError::Record(format!("entries {from} to {until} have no name"));
        let record = Record::groups(from, until).ok_or_else(unnamed)?;
        let group = |(id, group): (LogId, Group)| journal::Group {
            position: position(id),
            commands: group.0.iter().map(|command| command.bytes().to_vec()).collect(),
        };
        let bytes = Groups(groups.into_iter().map(group).collect()).encode()?;
        let mut cutter = Cutter::new(&self.envelope, &OsRandom, record);
        cutter.push(&bytes);
        while let Some(part) = cutter.next_part()? {
            (self.nodes)().store(record, part, self.config.copies).await?;
        }
        (self.nodes)().store(record, cutter.finish()?, self.config.copies).await?;
        Ok(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
    }

    /// Lets answers go, of which the journal has all.
    fn pass(&self, caught_up: bool) {
        let status = self.status.borrow();
        if status.whole {
            self.catalog.gate().advance(status.end, caught_up);
        }
    }

    /// Begins a snapshot, if one is due.
    fn begin_snapshot(&self, since: &mut Since) -> bool {
        let now = Instant::now();
        let members = (self.nodes)().members();
        let entries = since.next.saturating_sub(since.snapshot.map_or(0, |index| index + 1));
        let due = since.broken.is_some()
            || (entries >= self.config.snapshot_entries
                && since.bytes >= since.snapshot_bytes / SHARE)
            || since.bytes >= self.config.snapshot_bytes.max(since.snapshot_bytes)
            || now - since.at >= self.config.snapshot_after
            || self.wants_snapshot.load(Ordering::Relaxed)
            // What they held of the journal is gone with them.
            || !members.is_superset(&since.members);
        if since.under_way.is_some() || now < since.not_before || !due {
            return false;
        }
        self.wants_snapshot.store(false, Ordering::Relaxed);
        (since.at, since.bytes, since.members) = (now, 0, members);
        let (catalog, nodes) = (self.catalog.clone(), self.nodes.clone());
        let (envelope, config) = (self.envelope.clone(), self.config.clone());
        let mut progress = self.status.subscribe();
        let task = tokio::spawn(async move {
            let nothing = || JournalError::Record("nothing has been applied yet".into());
            let (meta, export) = catalog.snapshot().await?.ok_or_else(nothing)?;
            let last = meta.last_log_id.ok_or_else(nothing)?;
            // A reader concludes from a snapshot that was begun how far the journal has come.
            let _ = progress.wait_for(|status| status.covered > last.index).await;
            let written = snapshot::write(last, export, &nodes, &envelope, &config).await?;
            snapshot::delete_older(written.record, &nodes).await;
            Ok(written)
        });
        since.under_way = Some(AbortOnDropHandle::new(task));
        true
    }

    fn end_snapshot(&self, ended: Result<Written, JournalError>, since: &mut Since) {
        match ended {
            Ok(Written { record, bytes }) => {
                let index = record.until();
                (since.snapshot, since.snapshot_bytes) = (Some(index), bytes);
                since.broken = since.broken.filter(|from| *from > index.saturating_add(1));
                let whole = since.broken.is_none();
                self.status.send_modify(|status| {
                    (status.snapshot, status.whole) = (Some(index), whole);
                });
                tracing::info!(index, bytes, "the journal has a new snapshot of the catalog");
                self.pass(false);
            }
            Err(error) => {
                since.not_before = Instant::now() + SNAPSHOT_PAUSE;
                // It stays due.
                since.bytes = u64::MAX / 2;
                tracing::warn!(%error, "the catalog's snapshot for the journal will be tried again");
                self.status.send_modify(|status| status.error = Some(error.to_string()));
            }
        }
    }

    async fn failed(&self, error: &JournalError) {
        let text = error.to_string();
        let new = self.status.send_if_modified(|status| {
            let new = status.error.as_ref() != Some(&text);
            status.error = Some(text.clone());
            new
        });
        if new {
            tracing::warn!(error = text, "the journal of the catalog can't be written");
        }
        sleep(PAUSE).await;
    }
}

async fn ended(
    task: &mut Option<AbortOnDropHandle<Result<Written, JournalError>>>,
) -> Result<Written, JournalError> {
    let Some(running) = task else { return std::future::pending().await };
    let ended = running.await;
    *task = None;
    ended.unwrap_or_else(|e| Err(JournalError::Record(format!("it broke off: {e}"))))
}
