//! The one thread that writes. It takes what has queued up, writes it in one go, fsyncs once, tells
//! the index, and answers: a group commit.

use super::recover::{count, new_volume};
use super::{Active, Shared};
use crate::disk::is_full;
use crate::index::{Change, Location};
use crate::volume::record::{self, Kind, Place, Record};
use bytes::Bytes;
use coffer_core::shard::{ShardError, ShardInfo, ShardKey};
use std::collections::HashMap;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

/// Jobs that share one fsync at most.
const GROUP: usize = 256;
/// Bytes of payload that share one fsync at most.
pub(super) const GROUP_BYTES: usize = 32 << 20;
/// Holes are punched in whole pages; less can't be given back.
const PAGE: u64 = 4096;

/// Up to seven zeros align the next record to [`record::ALIGN`].
const PADDING: [u8; 8] = [0; 8];
const _: () = assert!(PADDING.len() as u64 == record::ALIGN);

/// What is to be done.
#[derive(Debug)]
pub(super) enum Work {
    Put { key: ShardKey, info: ShardInfo, payload: Bytes },
    Delete { keys: Vec<ShardKey> },
}

/// Work and whom to answer.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) work: Work,
    pub(super) reply: oneshot::Sender<Result<(), ShardError>>,
    pub(super) _held: Option<OwnedSemaphorePermit>,
}

/// A record that is about to be written.
struct Staged {
    key: ShardKey,
    head: Vec<u8>,
    payload: Bytes,
    padding: usize,
    location: Option<Location>,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    /// `None` after a failed fsync, until a new volume is begun.
    active: Option<Active>,
    last_no: crate::volume::VolumeNo,
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
            let outcome = self.commit(&jobs);
            let (deletes, puts): (Vec<_>, Vec<_>) =
                jobs.into_iter().partition(|j| matches!(j.work, Work::Delete { .. }));
            // Deletes must not fail for the puts that happened to be grouped with them.
            let retry = outcome == Err(ShardError::Full) && !puts.is_empty();
            answer(puts, &outcome);
            let outcome = if retry { self.write(&deletes) } else { outcome };
            answer(deletes, &outcome);
        }
        self.stop();
    }

    fn commit(&mut self, jobs: &[Job]) -> Result<(), ShardError> {
        let outcome = self.write(jobs);
        let full = matches!(outcome, Err(ShardError::Full));
        self.shared.writable.store(!full, Ordering::Relaxed);
        outcome
    }

    fn write(&mut self, jobs: &[Job]) -> Result<(), ShardError> {
        let active = self.active()?;
        let mut watermark = self.shared.watermark();
        let mut end = active.end;
        let mut staged = Vec::new();
        for job in jobs {
            match &job.work {
                Work::Put { key, info, payload } => {
                    let kind = Kind::Shard { key: *key, info: *info };
                    staged.push(self.stage(
                        &active,
                        &mut end,
                        &mut watermark.next_seq,
                        kind,
                        payload,
                    ));
                }
                Work::Delete { keys } => {
                    for key in keys {
                        let kind = Kind::Tombstone { key: *key };
                        let none = Bytes::new();
                        staged.push(self.stage(
                            &active,
                            &mut end,
                            &mut watermark.next_seq,
                            kind,
                            &none,
                        ));
                    }
                }
            }
        }
        if staged.is_empty() {
            return Ok(());
        }
        self.check_space(end - active.end, jobs)?;
        self.append(&active, &staged)?;

        // Durable: now the index may know.
        let changes: Vec<Change> = staged.iter().map(|s| (s.key, s.location)).collect();
        watermark.volume = active.no.0;
        watermark.offset = end;
        let dead = self.replaced(&changes)?;
        let index_failed = |e: crate::index::IndexError| ShardError::Disk(e.to_string());
        let watermark = count(&*self.shared.index, &changes, watermark).map_err(index_failed)?;
        self.shared.index.apply(&changes, watermark).map_err(index_failed)?;
        *self.shared.watermark.lock().unwrap_or_else(PoisonError::into_inner) = watermark;
        self.active = Some(Active { end, ..active });
        self.shared.findings.settle(&*self.shared.index, changes.iter().map(|(key, _)| *key));
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
            self.vouch(&full);
        }
        let no = self.last_no.next();
        let shared = &self.shared;
        let active = new_volume(shared.node, &*shared.disk, &shared.volumes, no).map_err(disk)?;
        self.last_no = no;
        self.active = Some(active.clone());
        Ok(active)
    }

    fn stage(
        &self,
        active: &Active,
        end: &mut u64,
        seq: &mut u64,
        kind: Kind,
        payload: &Bytes,
    ) -> Staged {
        let offset = *end;
        let place = Place { node: self.shared.node, volume: active.no, offset };
        // All before `active.end` is durable: what this group adds is not yet.
        let record = Record { kind, seq: *seq, synced: active.end };
        let (key, location, table) = match kind {
            Kind::Shard { key, info } => {
                let location = Location { volume: active.no.0, offset, info };
                (key, Some(location), record::checksums(payload, info.block_size))
            }
            Kind::Tombstone { key } => (key, None, Vec::new()),
            Kind::Mark => (ShardKey::from_bytes(&[0; ShardKey::LEN]), None, Vec::new()),
        };
        *seq += 1;
        *end += record.total_len();
        let head = record::encode(&record, &place, &table);
        let used = head.len() + payload.len();
        let padding = used.next_multiple_of(PADDING.len()) - used;
        Staged { key, head, payload: payload.clone(), padding, location }
    }

    /// Deletes are let through: they give space back.
    fn check_space(&self, bytes: u64, jobs: &[Job]) -> Result<(), ShardError> {
        if jobs.iter().all(|j| matches!(j.work, Work::Delete { .. })) {
            return Ok(());
        }
        let free = self.shared.disk.free_space().map_err(disk)?;
        if free < bytes.saturating_add(self.shared.options.reserve_bytes) {
            return Err(ShardError::Full);
        }
        Ok(())
    }

    fn append(&mut self, active: &Active, staged: &[Staged]) -> Result<(), ShardError> {
        let parts: Vec<&[u8]> =
            staged.iter().flat_map(|s| [&s.head[..], &s.payload, &PADDING[..s.padding]]).collect();
        if let Err(error) = active.file.write_at(&parts, active.end) {
            // Nothing of it was acknowledged. If it can't be cut off, a new volume is begun.
            if active.file.set_len(active.end).is_err() {
                self.active = None;
            }
            return Err(disk(error));
        }
        if let Err(error) = active.file.sync_data() {
            // The kernel may have dropped what it could not write, and says so only once: this
            // volume takes no more records. Cutting off what nobody was promised is a courtesy.
            tracing::error!(volume = %active.no, %error, "fsync failed; a new volume is begun");
            self.active = None;
            let _ = active.file.set_len(active.end);
            return Err(disk(error));
        }
        Ok(())
    }

    /// The records that `changes` make dead.
    fn replaced(&self, changes: &[Change]) -> Result<Vec<Location>, ShardError> {
        let mut seen: HashMap<ShardKey, Option<Location>> = HashMap::new();
        let mut dead = Vec::new();
        for (key, location) in changes {
            let before = match seen.insert(*key, *location) {
                Some(before) => before,
                None => self.shared.index.get(*key).map_err(super::read::index_failed)?,
            };
            dead.extend(before);
        }
        Ok(dead)
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
            self.vouch(&active);
            // Only a cache: without it the next start replays a little.
            let _ = self.shared.index.apply(&[], self.shared.watermark());
        }
        let _ = self.shared.index.flush();
    }

    /// Ends a volume with a mark. Where that fails, the volume's last group is unproven: damage to
    /// it would pass for the trace of a crash.
    fn vouch(&mut self, active: &Active) {
        let mut watermark = self.shared.watermark();
        let mut end = active.end;
        let none = Bytes::new();
        let mark = self.stage(active, &mut end, &mut watermark.next_seq, Kind::Mark, &none);
        match self.append(active, &[mark]) {
            Ok(()) => {
                watermark.volume = active.no.0;
                watermark.offset = end;
                *self.shared.watermark.lock().unwrap_or_else(PoisonError::into_inner) = watermark;
            }
            Err(error) => tracing::warn!(volume = %active.no, %error, "the mark was not written"),
        }
    }
}

fn answer(jobs: Vec<Job>, outcome: &Result<(), ShardError>) {
    for job in jobs {
        // Whoever asked may have gone.
        let _ = job.reply.send(outcome.clone());
    }
}

impl Work {
    fn bytes(&self) -> usize {
        match self {
            Self::Put { payload, .. } => payload.len(),
            Self::Delete { .. } => 0,
        }
    }
}

fn disk(error: io::Error) -> ShardError {
    if is_full(&error) { ShardError::Full } else { ShardError::Disk(error.to_string()) }
}
