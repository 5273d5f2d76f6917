//! Walking through the volume that is to be removed, and copying what is needed of it.

use super::Failure;
use crate::clock::Stop;
use crate::disk::DiskFile;
use crate::engine::Shared;
use crate::engine::findings::Reported;
use crate::engine::pace::Throttle;
use crate::engine::work::{Job, Moved, Work};
use crate::index::IndexError;
use crate::volume::record::{HEAD_LEN, Kind, Place};
use crate::volume::{Found, HEADER_LEN, Scanner, VolumeNo, load};
use coffer_core::shard::{Damage, ShardError, ShardInfo, ShardKey};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Bytes of payload that the writer gets at a time: what requests may have to wait for.
const BATCH_BYTES: usize = 1 << 20;
/// Records that it gets at a time.
const BATCH: usize = 1024;

/// A volume that is walked through.
pub(super) struct Walk<'w, 'a> {
    pub(super) shared: &'a Shared,
    pub(super) jobs: &'a mpsc::Sender<Job>,
    pub(super) stop: &'a Stop,
    pub(super) throttle: &'w mut Throttle<'a>,
    pub(super) rate: Option<u64>,
    pub(super) no: VolumeNo,
    pub(super) file: Arc<dyn DiskFile>,
}

/// Records that are on their way to the writer.
#[derive(Default)]
struct Batch {
    records: Vec<Moved>,
    bytes: usize,
}

impl Walk<'_, '_> {
    /// Whether a tombstone must stay when this volume goes.
    fn is_needed(&self, kills: Option<VolumeNo>) -> bool {
        let volumes = &self.shared.volumes;
        match kills {
            Some(kills) => kills != self.no && volumes.exists(kills),
            None => volumes.any_before(self.no),
        }
    }

    /// Bytes of the tombstones that would have to be copied.
    pub(super) fn needed_tombstones(mut self) -> Result<u64, Failure> {
        let file = self.file.clone();
        let mut scanner = Scanner::new(&*file, self.shared.node, self.no, HEADER_LEN)?;
        let mut needed = 0;
        while let Some(found) = scanner.next()? {
            if let Found::Record { record, .. } = found
                && let Kind::Tombstone { kills, .. } = record.kind
                && self.is_needed(kills)
            {
                needed += HEAD_LEN as u64;
            }
            self.pay(scanner.take_read())?;
        }
        Ok(needed)
    }

    /// Copies the live shards and the tombstones that are needed; gives the bytes.
    pub(super) fn copy(mut self) -> Result<u64, Failure> {
        let file = self.file.clone();
        let mut scanner = Scanner::new(&*file, self.shared.node, self.no, HEADER_LEN)?;
        let (mut batch, mut copied) = (Batch::default(), 0);
        let (mut durable, mut bad) = (0, None);
        while let Some(found) = scanner.next()? {
            match found {
                Found::Bad { start, .. } => bad = bad.or(Some(start)),
                Found::Record { offset, record } => {
                    durable = durable.max(record.synced);
                    let moved = match record.kind {
                        Kind::Shard { key, info } => self.live(key, info, offset)?,
                        Kind::Tombstone { key, kills } => {
                            self.is_needed(kills).then_some(Moved::Tombstone { key, kills })
                        }
                        Kind::Mark => None,
                    };
                    if let Some(moved) = moved {
                        batch.bytes += moved.bytes();
                        batch.records.push(moved);
                    }
                    if batch.bytes >= BATCH_BYTES || batch.records.len() >= BATCH {
                        copied += self.send(std::mem::take(&mut batch))?;
                    }
                }
            }
            self.pay(scanner.take_read())?;
        }
        copied += self.send(batch)?;
        // What a crash has torn was never promised to anybody; what is rotten may have been a
        // tombstone, which is needed unless nothing older is there.
        match bad {
            Some(start) if start < durable && self.shared.volumes.any_before(self.no) => {
                Err(Failure::Rotten(start))
            }
            _ => Ok(copied),
        }
    }

    /// The record at `offset`, verified, if it is that of a live shard.
    fn live(
        &mut self,
        key: ShardKey,
        info: ShardInfo,
        offset: u64,
    ) -> Result<Option<Moved>, Failure> {
        let Shared { index, findings, node, .. } = self.shared;
        let here = index.get(key)?.filter(|at| (at.volume, at.offset) == (self.no.0, offset));
        let Some(from) = here else { return Ok(None) };
        let place = Place { node: *node, volume: self.no, offset };
        let damage = match load(&*self.file, &place, &Kind::Shard { key, info }) {
            Ok(Ok(whole)) => {
                let (table, payload) = (whole.table, whole.payload);
                self.pay(payload.len() as u64)?;
                return Ok(Some(Moved::Shard { key, from, table, payload }));
            }
            Ok(Err(flaw)) => Damage::from(flaw),
            Err(error) => Damage::unreadable(&error),
        };
        match findings.report(&**index, key, from, damage)? {
            // Its payload may have been given back while it was read.
            Reported::Replaced => Ok(None),
            Reported::New | Reported::Known => Err(Failure::Damaged),
        }
    }

    /// Has the writer write the records, where they are still needed; gives their bytes.
    fn send(&mut self, batch: Batch) -> Result<u64, Failure> {
        if batch.records.is_empty() {
            return Ok(0);
        }
        let (reply, answer) = oneshot::channel();
        let job = Job { work: Work::Move { records: batch.records }, reply, _held: None };
        self.jobs.blocking_send(job).map_err(|_| Failure::Stopping)?;
        answer.blocking_recv().map_err(|_| Failure::Stopping)??;
        let bytes = batch.bytes as u64;
        let mut figures = self.shared.compaction.figures();
        figures.copied_bytes = figures.copied_bytes.saturating_add(bytes);
        drop(figures);
        self.pay(bytes)?;
        Ok(bytes)
    }

    fn pay(&mut self, bytes: u64) -> Result<(), Failure> {
        if let Some(rate) = self.rate {
            self.throttle.spend(bytes, || rate);
        }
        if self.stop.is_raised() { Err(Failure::Stopping) } else { Ok(()) }
    }
}

impl From<ShardError> for Failure {
    fn from(error: ShardError) -> Self {
        match error {
            ShardError::Full => Self::Full,
            other => Self::Node(other.to_string()),
        }
    }
}

impl From<IndexError> for Failure {
    fn from(error: IndexError) -> Self {
        Self::Node(error.to_string())
    }
}
