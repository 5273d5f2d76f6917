//! Compaction: what a volume still has of worth is written anew at the end, and the volume is
//! removed.
//!
//! Dead records keep their place in a volume: their payloads become holes where the file system has
//! any, but headers, small payloads and tombstones stay. The compactor picks volumes of which little
//! is live ([`options`](self::options)), the one first that gains most for each byte that is copied.
//! It walks through the volume ([`walk`](self::walk)), verifies every byte of what is live and hands
//! it to the writer, which moves a record only if the shard is still there. Then, in this order:
//!
//! 1. the copies are durable (the writer answers after its fsync),
//! 2. the index is durable, so that no start looks for anything in the old volume,
//! 3. the file is removed, and the directory synced,
//! 4. the volume counts as gone: only now may tombstones go that kill in it.
//!
//! A crash leaves both copies, of which a replay takes the later, or the new one. Whoever reads from
//! the old file goes on with it.
//!
//! Tombstones are rewritten as long as a volume may hold a record that they kill. A record that is
//! damaged becomes a finding, and its volume is left alone until the shard was stored anew or
//! deleted.

mod options;
mod walk;

pub use options::CompactOptions;

use super::Shared;
use super::pace::Throttle;
use super::work::Job;
use crate::clock::Stop;
use crate::disk::Disk;
use crate::volume::VolumeNo;
use coffer_core::shard::CompactionStat;
use options::{Candidate, sort};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use walk::Walk;

/// How long nothing is looked for when there is nothing to compact.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// How long a volume is left alone after it could not be compacted.
const RETRY: Duration = Duration::from_secs(3600);

/// Files take whole pages.
const PAGE: u64 = 4096;

/// What compaction remembers, for itself and for all to see.
#[derive(Debug, Default)]
pub(crate) struct Compaction {
    memory: Mutex<Memory>,
    figures: Mutex<CompactionStat>,
}

#[derive(Debug, Default)]
struct Memory {
    /// Volumes to leave alone, and until when.
    left_alone: BTreeMap<VolumeNo, Duration>,
    /// Bytes of needed tombstones in volumes that were found not to be worth it for them. Holds until
    /// a volume is removed, which makes tombstones needless.
    surveyed: BTreeMap<VolumeNo, u64>,
    /// Nothing is compacted before the next start: what is removed can't be relied on to be gone.
    stuck: bool,
}

impl Compaction {
    fn figures(&self) -> MutexGuard<'_, CompactionStat> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The figures, with what only the caller knows.
    pub(crate) fn stat(&self, options: &CompactOptions, dead_bytes: u64) -> CompactionStat {
        let bytes_per_second = if options.is_on() { options.max_bytes_per_second } else { 0 };
        CompactionStat { dead_bytes, bytes_per_second, ..*self.figures() }
    }
}

/// Why a volume was not compacted.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the node is stopping")]
    Stopping,
    #[error("there is no space for the copies")]
    Full,
    #[error("it holds a damaged record, which is among the findings")]
    Damaged,
    #[error("bytes {0} and on are damaged where a record was, maybe a tombstone that is needed")]
    Rotten(u64),
    #[error("{0} live shards were not found in it; the scrub will name those that are damaged")]
    Missed(u64),
    #[error("{0}")]
    Node(String),
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Whether the file comes back after a crash is not known, and a later sync that succeeds would
    /// not tell.
    #[error("its file was removed, but the directory could not be synced: {0}")]
    Unsynced(io::Error),
}

/// The compaction of a node, until `stop` is raised.
pub(super) fn run(shared: &Shared, jobs: &mpsc::Sender<Job>, stop: &Stop) {
    let rate = Some(shared.options.compact.max_bytes_per_second);
    let mut compactor = Compactor::new(shared, jobs, stop, rate);
    while !stop.is_raised() {
        if !compactor.next_volume() {
            shared.options.clock.wait(LOOK_AGAIN, stop);
        }
    }
}

/// Compacts all that is due, as fast as it goes; volumes that were left alone are tried again.
pub(super) fn run_once(shared: &Shared, jobs: &mpsc::Sender<Job>, stop: &Stop) {
    let mut compactor = Compactor::new(shared, jobs, stop, None);
    compactor.memory().left_alone.clear();
    while !stop.is_raised() && compactor.next_volume() {}
}

struct Compactor<'a> {
    shared: &'a Shared,
    jobs: &'a mpsc::Sender<Job>,
    stop: &'a Stop,
    throttle: Throttle<'a>,
    /// Bytes a second; `None` is as fast as it goes.
    rate: Option<u64>,
}

impl<'a> Compactor<'a> {
    fn new(
        shared: &'a Shared,
        jobs: &'a mpsc::Sender<Job>,
        stop: &'a Stop,
        rate: Option<u64>,
    ) -> Self {
        Self { shared, jobs, stop, throttle: Throttle::new(shared, stop), rate }
    }

    fn memory(&self) -> MutexGuard<'a, Memory> {
        self.shared.compaction.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compacts the best volume that is due; false when there is none.
    fn next_volume(&mut self) -> bool {
        // Held meanwhile: one at a time.
        let mut memory = self.memory();
        let Some(volume) = self.choose(&mut memory) else { return false };
        self.shared.compaction.figures().current = Some(volume.no.0);
        let outcome = self.compact(&volume);
        self.shared.compaction.figures().current = None;
        match outcome {
            Ok(copied) => {
                memory.surveyed.clear();
                let mut figures = self.shared.compaction.figures();
                figures.volumes += 1;
                figures.freed_bytes = figures.freed_bytes.saturating_add(volume.allocated);
                drop(figures);
                tracing::info!(volume = %volume.no, copied, freed = volume.allocated, "a volume was compacted");
                true
            }
            Err(Failure::Stopping) => false,
            Err(failure) => self.give_up(&mut memory, volume.no, &failure),
        }
    }

    /// Leaves a volume alone; false when no other is to be tried now.
    fn give_up(&self, memory: &mut Memory, no: VolumeNo, failure: &Failure) -> bool {
        match failure {
            Failure::Full => {
                self.shared.compaction.figures().short_of_space = true;
                tracing::warn!(volume = %no, "compaction waits for space");
                false
            }
            Failure::Unsynced(_) => {
                memory.stuck = true;
                tracing::error!(volume = %no, why = %failure, "compaction ends; restart the node once its disk is well");
                false
            }
            _ => {
                tracing::warn!(volume = %no, why = %failure, "a volume is not compacted");
                let now = self.shared.options.clock.monotonic();
                memory.left_alone.insert(no, now.saturating_add(RETRY));
                true
            }
        }
    }

    /// The best volume that is due and for which there is space.
    fn choose(&mut self, memory: &mut Memory) -> Option<Candidate> {
        if memory.stuck {
            return None;
        }
        let Shared { options, disk, compaction, .. } = self.shared;
        let (candidates, held_back) = self.candidates(memory);
        let free = disk.free_space().unwrap_or(0).saturating_sub(options.reserve_for_moves());
        let mut short_of_space = false;
        let mut chosen = None;
        for volume in candidates {
            let copy = match self.copy_of(memory, &volume, free) {
                Ok(copy) => copy,
                Err(Failure::Stopping) => return None,
                Err(failure) => {
                    self.give_up(memory, volume.no, &failure);
                    continue;
                }
            };
            if !options.compact.wants(&volume, copy) {
                continue;
            }
            if copy <= free {
                chosen = Some(volume);
                break;
            }
            short_of_space = true;
        }
        let mut figures = compaction.figures();
        figures.held_back = held_back;
        if short_of_space && chosen.is_none() && !figures.short_of_space {
            tracing::warn!(
                free,
                "compaction waits for space: no volume's live shards fit in what is free"
            );
        }
        figures.short_of_space = short_of_space && chosen.is_none();
        chosen
    }

    /// Volumes that are worth a look, the best first, and how many are left alone.
    fn candidates(&self, memory: &mut Memory) -> (Vec<Candidate>, u32) {
        let Shared { options, volumes, findings, totals, .. } = self.shared;
        let now = options.clock.monotonic();
        memory.left_alone.retain(|_, until| *until > now);
        let damaged = findings.volumes();
        let written = VolumeNo(totals.watermark().volume);
        let mut candidates = Vec::new();
        let mut held_back = 0;
        for (no, file) in volumes.all().into_iter().filter(|(no, _)| *no < written) {
            let (Ok(len), Ok(allocated)) = (file.size(), file.allocated()) else { continue };
            // What a file system sets aside beyond the end, as XFS does, is none of the volume's.
            let allocated = allocated.min(len.next_multiple_of(PAGE));
            let (usage, doubtful) = (totals.usage(no), volumes.is_doubtful(no));
            let volume = Candidate { no, len, allocated, usage, doubtful };
            let tombstones = memory.surveyed.get(&no).copied().unwrap_or(0);
            if !options.compact.wants(&volume, usage.bytes.saturating_add(tombstones)) {
                continue;
            }
            if memory.left_alone.contains_key(&no) || damaged.contains(&no) {
                held_back += 1;
            } else {
                candidates.push(volume);
            }
        }
        sort(&mut candidates);
        (candidates, held_back)
    }

    /// Bytes that would have to be copied: a bound where that is enough to decide.
    fn copy_of(
        &mut self,
        memory: &mut Memory,
        volume: &Candidate,
        free: u64,
    ) -> Result<u64, Failure> {
        let most = volume.copy_at_most();
        if most <= free && self.shared.options.compact.wants(volume, most) {
            return Ok(most);
        }
        let tombstones = match memory.surveyed.get(&volume.no) {
            Some(tombstones) => *tombstones,
            None => self.walk(volume.no)?.needed_tombstones()?,
        };
        memory.surveyed.insert(volume.no, tombstones);
        Ok(volume.usage.bytes.saturating_add(tombstones))
    }

    fn walk<'w>(&'w mut self, no: VolumeNo) -> Result<Walk<'w, 'a>, Failure> {
        let file = self.shared.scrub_disk.open(&no.file_name())?;
        let Self { shared, jobs, stop, throttle, rate } = self;
        Ok(Walk { shared, jobs, stop, throttle, rate: *rate, no, file })
    }

    /// Copies what a volume still has of worth and removes it; gives the bytes that were copied.
    fn compact(&mut self, volume: &Candidate) -> Result<u64, Failure> {
        let no = volume.no;
        let Shared { totals, index, disk, volumes, writable, .. } = self.shared;
        // First of all: if it can't be saved, copies would only take space.
        index.flush()?;
        let copied = self.walk(no)?.copy()?;
        let left = totals.usage(no).records;
        if left > 0 {
            return Err(Failure::Missed(left));
        }
        index.flush()?;
        disk.remove(&no.file_name())?;
        disk.sync_dir().map_err(Failure::Unsynced)?;
        volumes.remove(no);
        totals.forget(no);
        // Writes may be tried again.
        writable.store(true, Ordering::Relaxed);
        Ok(copied)
    }
}
