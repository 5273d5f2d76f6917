//! The records of the journal, read from nodes and applied to a new catalog.

use super::nodes::Listing;
use super::rebuild::RebuildError;
use crate::catalog::raft::snapshot::Page;
use crate::catalog::raft::types::{Encoded, GatewayId, Group, LogId};
use crate::catalog::store::Seed;
use crate::catalog::store::seed::log_id;
use coffer_core::journal::record::follows;
use coffer_core::journal::{self, Frames, Groups, Joiner, Plan, Position, Record};
use coffer_core::seal::Envelope;
use std::collections::{BTreeMap, BTreeSet};

/// A plan of which the snapshot, if there is one, has its end. Adds what has not to `unusable`.
pub async fn whole_plan(
    listing: &Listing,
    envelope: &Envelope,
    unusable: &mut BTreeSet<Record>,
) -> Plan {
    loop {
        let plan = listing.names.plan(unusable);
        let Some(snapshot) = plan.snapshot else { return plan };
        match listing.has_end(envelope, snapshot).await {
            Ok(true) => return plan,
            Ok(false) => tracing::debug!(%snapshot, "a snapshot has not been finished"),
            Err(error) => tracing::warn!(error, "a snapshot of the journal can't be used"),
        }
        unusable.insert(snapshot);
    }
}

/// How far a replay has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// The entry that the snapshot is of.
    pub snapshot: Option<u64>,
    /// Groups that have been applied after it.
    pub groups: u64,
    /// Bytes that have been read.
    pub bytes: u64,
}

/// Applies the journal to a new catalog.
pub struct Replay<'a> {
    listing: &'a Listing,
    envelope: &'a Envelope,
    seed: &'a Seed,
    unusable: BTreeSet<Record>,
    /// What is wrong with them.
    reasons: BTreeMap<Record, String>,
    last: Option<Position>,
    next: u64,
    progress: Progress,
}

impl<'a> Replay<'a> {
    /// Of what nodes have listed, to an empty catalog.
    pub fn new(listing: &'a Listing, envelope: &'a Envelope, seed: &'a Seed) -> Self {
        Self {
            listing,
            envelope,
            seed,
            unusable: BTreeSet::new(),
            reasons: BTreeMap::new(),
            last: None,
            next: 0,
            progress: Progress::default(),
        }
    }

    /// Applies all that can be applied without a gap. Returns how far it came, the last position,
    /// and the gap at which it ended, if `accept_loss` lets it end at one.
    ///
    /// # Errors
    /// [`RebuildError`].
    pub async fn run(
        mut self,
        accept_loss: bool,
        tell: &(dyn Fn(Progress) + Sync),
    ) -> Result<(Progress, Option<Position>, Option<String>), RebuildError> {
        loop {
            let plan = whole_plan(self.listing, self.envelope, &mut self.unusable).await;
            if let Some(gap) = plan.gap.as_ref().filter(|_| !accept_loss) {
                return Err(self.gap(gap));
            }
            if self.attempt(&plan, tell).await? {
                let gap = plan.gap.as_ref().map(|gap| self.gap(gap).to_string());
                return Ok((self.progress, self.last, gap));
            }
        }
    }

    fn gap(&self, gap: &journal::Gap) -> RebuildError {
        let reasons: Vec<String> = self.reasons.values().take(3).cloned().collect();
        RebuildError::Gap { gap: gap.clone(), reasons: reasons.join("; ") }
    }

    /// Follows a plan; returns false when another one must be made.
    async fn attempt(
        &mut self,
        plan: &Plan,
        tell: &(dyn Fn(Progress) + Sync),
    ) -> Result<bool, RebuildError> {
        if let (Some(snapshot), None) = (plan.snapshot, self.last) {
            match self.take_snapshot(snapshot, tell).await {
                Ok(last) => {
                    (self.last, self.next) = (Some(last), last.index + 1);
                    self.progress.snapshot = Some(last.index);
                }
                Err(Unread::Record(why)) => return Ok(self.give_up(snapshot, why)),
                Err(Unread::Other(error)) => return Err(error),
            }
        }
        for record in &plan.groups {
            let Record::Groups { from, until } = *record else { continue };
            if until < self.next {
                continue;
            }
            match self.read_groups(*record, from, until).await {
                Ok(groups) => self.apply(groups, until)?,
                Err(why) => return Ok(self.give_up(*record, why)),
            }
            tell(self.progress);
        }
        Ok(true)
    }

    fn give_up(&mut self, record: Record, why: String) -> bool {
        tracing::warn!(%record, why, "a record of the journal can't be used");
        self.unusable.insert(record);
        self.reasons.insert(record, why);
        false
    }

    /// Takes a snapshot; returns the position that it is of.
    async fn take_snapshot(
        &mut self,
        record: Record,
        tell: &(dyn Fn(Progress) + Sync),
    ) -> Result<Position, Unread> {
        let unread = |e: &dyn std::fmt::Display| Unread::Record(format!("{record}: {e}"));
        let staged = self.seed.snapshot().map_err(RebuildError::Store)?;
        let mut joiner = Joiner::new(self.envelope, record);
        let mut frames = Frames::default();
        let mut last: Option<Position> = None;
        while let Some(bytes) =
            self.listing.next(record, &mut joiner).await.map_err(Unread::Record)?
        {
            self.progress.bytes += u64::try_from(bytes.len()).unwrap_or(0);
            frames.push(&bytes);
            while let Some(frame) = frames.next_frame().map_err(|e| unread(&e))? {
                if last.is_none() {
                    last = Some(postcard::from_bytes(&frame).map_err(|e| unread(&e))?);
                } else {
                    let page: Page = postcard::from_bytes(&frame).map_err(|e| unread(&e))?;
                    staged.take(page).await.map_err(RebuildError::Store)?;
                }
            }
            tell(self.progress);
        }
        let last = last.filter(|last| last.index == record.until() && frames.is_empty());
        let last = last.ok_or_else(|| unread(&"it is not of the entry that it is named after"))?;
        self.seed.install(staged, log_of(last)).map_err(|e| unread(&e))?;
        Ok(last)
    }

    async fn read_groups(
        &mut self,
        record: Record,
        from: u64,
        until: u64,
    ) -> Result<Groups, String> {
        let mut joiner = Joiner::new(self.envelope, record);
        let mut content = Vec::new();
        while let Some(bytes) = self.listing.next(record, &mut joiner).await? {
            content.extend_from_slice(&bytes);
        }
        self.progress.bytes += u64::try_from(content.len()).unwrap_or(0);
        Groups::decode(&content, from, until).map_err(|e| format!("{record}: {e}"))
    }

    /// Applies what is new in a record that covers all entries up to `until`.
    fn apply(&mut self, groups: Groups, until: u64) -> Result<(), RebuildError> {
        let mut new = Vec::new();
        for group in groups.0.into_iter().filter(|group| group.position.index >= self.next) {
            if let Some(last) = self.last.filter(|last| !follows(*last, group.position)) {
                return Err(RebuildError::Contradiction { last, next: group.position });
            }
            self.last = Some(group.position);
            self.progress.groups += 1;
            let commands = group.commands.into_iter().map(Encoded::from).collect();
            new.push((log_of(group.position), Group(commands)));
        }
        self.seed.apply(new)?;
        self.next = until.saturating_add(1);
        Ok(())
    }
}

fn log_of(position: Position) -> LogId {
    log_id(position.term, GatewayId(position.leader), position.index)
}

/// Why a record was not taken.
enum Unread {
    /// It is not whole: there may be another plan.
    Record(String),
    Other(RebuildError),
}

impl From<RebuildError> for Unread {
    fn from(error: RebuildError) -> Self {
        Self::Other(error)
    }
}
