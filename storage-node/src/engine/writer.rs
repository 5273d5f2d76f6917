//! The one thread that writes. It takes what has queued up, writes it in one go, fsyncs once, tells
//! the index, and answers: a group commit.

use super::group::Group;
use super::recover::new_volume;
use super::work::{Job, Rank};
use super::{Active, Shared};
use crate::disk::is_full;
use crate::index::{IndexError, Location};
use crate::volume::{VolumeNo, record};
use coffer_core::shard::ShardError;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::mpsc;

/// Jobs that share one fsync at most.
const GROUP: usize = 256;
/// Bytes of payload that share one fsync at most.
pub(super) const GROUP_BYTES: usize = 32 << 20;
/// Holes are punched in whole pages; less can't be given back.
const PAGE: u64 = 4096;

pub(super) struct Writer {
    shared: Arc<Shared>,
    /// `None` after a failed fsync, until a new volume is begun.
    active: Option<Active>,
    last_no: VolumeNo,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, active: Active) -> Self {
        Self { shared, last_no: active.no, active: Some(active) }
    }

    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.blocking_recv() {
            let mut bytes = first.work.bytes();
            let mut jobs = vec![first];
            while jobs.len() < GROUP && bytes < GROUP_BYTES {
                match queue.try_recv() {
                    Ok(job) => {
                        bytes += job.work.bytes();
                        jobs.push(job);
                    }
                    Err(_) => break,
                }
            }
            self.serve(jobs);
        }
        self.stop();
    }

    /// Does the jobs together. Where there is no space, what makes room must not fail for what
    /// takes some and happened to be grouped with it.
    fn serve(&mut self, mut jobs: Vec<Job>) {
        let mut outcome = self.write(&jobs);
        // Moves go by another bound: they say nothing about puts.
        if jobs.iter().any(|j| j.work.rank() != Rank::Move) {
            self.shared.writable.store(outcome != Err(ShardError::Full), Ordering::Relaxed);
        }
        for gives_way in [Rank::Put, Rank::Move] {
            let gives = |j: &Job| j.work.rank() == gives_way;
            if outcome != Err(ShardError::Full) || !jobs.iter().any(gives) {
                continue;
            }
            let (refused, rest) = jobs.into_iter().partition(gives);
            answer(refused, &outcome);
            if rest.is_empty() {
                return;
            }
            jobs = rest;
            outcome = self.write(&jobs);
        }
        answer(jobs, &outcome);
    }

    fn write(&mut self, jobs: &[Job]) -> Result<(), ShardError> {
        let active = self.active()?;
        let shared = self.shared.clone();
        let mut group = Group::new(&shared, &active);
        for job in jobs {
            group.add(&job.work).map_err(index_failed)?;
        }
        if group.is_empty() {
            return Ok(());
        }
        self.check_space(group.len(), jobs)?;
        self.finish(active, group)
    }

    /// Writes a group, makes it durable, and lets the index know.
    fn finish(&mut self, active: Active, group: Group<'_>) -> Result<(), ShardError> {
        self.append(&active, &group)?;
        let (end, ledger) = group.into_ledger();
        let (changed, dead) = match ledger.apply(&self.shared.totals) {
            Ok(applied) => applied,
            Err(error) => {
                self.take_back(&active);
                return Err(index_failed(error));
            }
        };
        self.active = Some(Active { end, ..active });
        self.shared.findings.settle(&*self.shared.index, changed.into_iter());
        self.punch(dead);
        Ok(())
    }

    /// The volume to write to; a new one when the last is full or lost its trust.
    fn active(&mut self) -> Result<Active, ShardError> {
        if let Some(active) = &self.active
            && active.end < self.shared.options.volume_size
        {
            return Ok(active.clone());
        }
        if let Some(full) = self.active.take() {
            self.vouch(full);
        }
        let no = self.last_no.next();
        let shared = &self.shared;
        let active = new_volume(shared.node, &*shared.disk, &shared.volumes, no).map_err(disk)?;
        self.last_no = no;
        self.active = Some(active.clone());
        Ok(active)
    }

    /// Deletes are let through: they give space back. So do moves once their volume is removed, but
    /// first they take some.
    fn check_space(&self, bytes: u64, jobs: &[Job]) -> Result<(), ShardError> {
        let Some(rank) = jobs.iter().map(|j| j.work.rank()).min() else { return Ok(()) };
        let reserve = match rank {
            Rank::Put => self.shared.options.reserve_bytes,
            Rank::Move => self.shared.options.reserve_for_moves(),
            Rank::Delete => return Ok(()),
        };
        let free = self.shared.disk.free_space().map_err(disk)?;
        if free < bytes.saturating_add(reserve) {
            return Err(ShardError::Full);
        }
        Ok(())
    }

    fn append(&mut self, active: &Active, group: &Group<'_>) -> Result<(), ShardError> {
        if let Err(error) = active.file.write_at(&group.parts(), active.end) {
            // Nothing of it was acknowledged. If it can't be cut off, a new volume is begun.
            if active.file.set_len(active.end).is_err() {
                self.abandon(active);
            }
            return Err(disk(error));
        }
        if let Err(error) = active.file.sync_data() {
            // The kernel may have dropped what it could not write, and says so only once: this
            // volume takes no more records. Cutting off what nobody was promised is a courtesy.
            tracing::error!(volume = %active.no, %error, "fsync failed; a new volume is begun");
            self.abandon(active);
            let _ = active.file.set_len(active.end);
            return Err(disk(error));
        }
        Ok(())
    }

    /// Cuts off a group that is durable but can't be acknowledged. Writing over it would leave parts
    /// of it behind, which a replay could take for newer than what follows.
    fn take_back(&mut self, active: &Active) {
        let cut = active.file.set_len(active.end).and_then(|()| active.file.sync_data());
        if let Err(error) = cut {
            tracing::error!(volume = %active.no, %error, "it can't be cut; a new volume is begun");
            self.abandon(active);
        }
    }

    fn abandon(&mut self, active: &Active) {
        self.active = None;
        self.shared.volumes.doubt(active.no);
    }

    /// Gives the space of dead payloads back. Header and table stay, so that the volume can still
    /// be walked through.
    fn punch(&self, dead: Vec<Location>) {
        for location in dead {
            let Some(file) = self.shared.volumes.get(location.volume()) else { continue };
            let start = location.offset + record::head_len(&location.info) as u64;
            let end = (start + u64::from(location.info.len)) / PAGE * PAGE;
            let start = start.next_multiple_of(PAGE);
            if start < end
                && let Err(error) = file.punch_hole(start, end - start)
            {
                tracing::warn!(volume = %location.volume(), %error, "space could not be given back");
            }
        }
    }

    /// Vouches for the last records and saves the index, so that the next start is quick.
    fn stop(mut self) {
        if let Some(active) = self.active.take() {
            self.vouch(active);
        }
        if let Err(error) = self.shared.index.flush() {
            tracing::warn!(%error, "the index was not saved: the next start replays more");
        }
    }

    /// Ends a volume with a mark. Where that fails, the volume's last group is unproven: damage to
    /// it would pass for the trace of a crash.
    fn vouch(&mut self, active: Active) {
        let no = active.no;
        let shared = self.shared.clone();
        let mut group = Group::new(&shared, &active);
        group.mark();
        if let Err(error) = self.finish(active, group) {
            tracing::warn!(volume = %no, %error, "the mark was not written");
        }
        self.active = None;
    }
}

fn answer(jobs: Vec<Job>, outcome: &Result<(), ShardError>) {
    for job in jobs {
        // Whoever asked may have gone.
        let _ = job.reply.send(outcome.clone());
    }
}

fn index_failed(error: IndexError) -> ShardError {
    ShardError::Disk(error.to_string())
}

fn disk(error: io::Error) -> ShardError {
    if is_full(&error) { ShardError::Full } else { ShardError::Disk(error.to_string()) }
}
