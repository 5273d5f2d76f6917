//! Scrub: every byte of every live shard, its header and table too, is read and verified at a set
//! pace, round after round.
//!
//! A round goes through the index in the order of keys, a few shards at a time, which are read in
//! the order in which they lie on the disk. After each few, the place is noted beside the index: a
//! restart goes on there. Shards that are put meanwhile are verified in this round or the next.
//! Nothing here holds the writer up: the scrub takes none of its locks, and what it finds damaged
//! it reports only if the shard is still where it was read.

mod options;

pub use options::ScrubOptions;

use super::Shared;
use super::pace::Throttle;
use crate::clock::Stop;
use crate::disk::{Disk, DiskFile};
use crate::index::{IndexError, Location};
use crate::volume::record::{self, Kind, Place};
use crate::volume::{Flaw, VolumeNo, examine};
use coffer_core::shard::{Damage, ScrubStat, ShardKey};
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Shards that are taken from the index at a time at most.
const BATCH: usize = 256;
/// Bytes of payload of those shards at most, but for the first: what a restart repeats.
const BATCH_BYTES: u64 = 16 << 20;
/// How long an empty node waits before it looks again.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// The note beside the index.
const NOTE: &[u8] = b"scrub";

/// How far the scrub is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Progress {
    /// When the round began, in Unix milliseconds.
    began: Option<u64>,
    /// The last shard of the last few that were verified.
    after: Option<ShardKey>,
    /// Bytes of payload verified in this round.
    bytes: u64,
    rounds: u64,
}

/// How far the scrub is, for all to see.
#[derive(Debug)]
pub(crate) struct ScrubState(Mutex<Progress>);

impl ScrubState {
    /// Goes on where the index says; from the start if it does not.
    pub(crate) fn load(index: &dyn crate::index::Index) -> Result<Self, IndexError> {
        let notes = index.notes(NOTE)?;
        let progress = notes.first().and_then(|(_, value)| postcard::from_bytes(value).ok());
        Ok(Self(Mutex::new(progress.unwrap_or_default())))
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stat(&self, options: &ScrubOptions, live_bytes: u64) -> ScrubStat {
        let progress = self.lock();
        ScrubStat {
            began: progress.began,
            verified_bytes: progress.bytes,
            // Shards that were verified may have been deleted since.
            total_bytes: live_bytes.max(progress.bytes),
            rounds: progress.rounds,
            bytes_per_second: options.rate(live_bytes),
        }
    }
}

/// The scrub of a node, until `stop` is raised.
pub(super) fn run(shared: &Shared, stop: &Stop) {
    let mut scrub = Scrub { shared, stop, throttle: Throttle::new(shared, stop), open: None };
    while !stop.is_raised() {
        match scrub.next_few() {
            Ok(true) => {}
            Ok(false) => shared.options.clock.wait(LOOK_AGAIN, stop),
            Err(error) => {
                tracing::warn!(%error, "the scrub waits for the index");
                shared.options.clock.wait(LOOK_AGAIN, stop);
            }
        }
    }
}

struct Scrub<'a> {
    shared: &'a Shared,
    stop: &'a Stop,
    throttle: Throttle<'a>,
    /// The volume that was read last.
    open: Option<(VolumeNo, Arc<dyn DiskFile>)>,
}

impl Scrub<'_> {
    /// Verifies the next few shards; false when there are none at all.
    fn next_few(&mut self) -> Result<bool, IndexError> {
        let index = &*self.shared.index;
        let after = self.shared.scrub.lock().after;
        let mut rows = index.scan(after, BATCH)?;
        if rows.is_empty() {
            if after.is_some() {
                self.end_round()?;
            }
            return Ok(after.is_some());
        }
        let mut bytes = 0;
        let few = rows.iter().take_while(|(_, location)| {
            let first = bytes == 0;
            bytes += u64::from(location.info.len);
            first || bytes <= BATCH_BYTES
        });
        rows.truncate(few.count());
        let last = rows.last().map(|(key, _)| *key);
        if after.is_none() {
            let mut progress = self.shared.scrub.lock();
            progress.began = Some(self.shared.options.clock.unix_millis());
            progress.bytes = 0;
        }
        rows.sort_unstable_by_key(|(_, location)| (location.volume, location.offset));
        for (key, location) in rows {
            if self.stop.is_raised() {
                return Ok(true);
            }
            self.verify(key, location)?;
            self.shared.scrub.lock().bytes += u64::from(location.info.len);
            let Shared { options, totals, .. } = self.shared;
            let bytes = record::head_len(&location.info) as u64 + u64::from(location.info.len);
            self.throttle.spend(bytes, || options.scrub.rate(totals.watermark().live_bytes));
        }
        // So that a volume that is removed is not held for longer.
        self.open = None;
        self.shared.scrub.lock().after = last;
        self.save()?;
        Ok(true)
    }

    fn end_round(&self) -> Result<(), IndexError> {
        let mut progress = self.shared.scrub.lock();
        progress.after = None;
        progress.rounds += 1;
        let (bytes, round) = (progress.bytes, progress.rounds);
        drop(progress);
        let (findings, _) = self.shared.findings.counts();
        tracing::info!(round, bytes, findings, "a round of scrubbing has ended");
        self.save()
    }

    fn save(&self) -> Result<(), IndexError> {
        let progress = self.shared.scrub.lock().clone();
        let value = postcard::to_stdvec(&progress).map_err(|e| IndexError(e.to_string()))?;
        self.shared.index.set_note(NOTE, Some(&value))
    }

    fn file(&mut self, no: VolumeNo) -> io::Result<Arc<dyn DiskFile>> {
        match &self.open {
            Some((open, file)) if *open == no => Ok(file.clone()),
            _ => {
                let file = self.shared.scrub_disk.open(&no.file_name())?;
                self.open = Some((no, file.clone()));
                Ok(file)
            }
        }
    }

    fn verify(&mut self, key: ShardKey, location: Location) -> Result<(), IndexError> {
        let Shared { node, index, findings, .. } = self.shared;
        let place = Place { node: *node, volume: location.volume(), offset: location.offset };
        let kind = Kind::Shard { key, info: location.info };
        let examined = self.file(place.volume).and_then(|file| examine(&*file, &place, &kind));
        let damage = match examined {
            Ok(flaw) => flaw.map(Damage::from),
            Err(error) => Some(Damage::unreadable(&error)),
        };
        match damage {
            Some(damage) => findings.report(&**index, key, location, damage).map(|_| ()),
            None => {
                findings.whole_after_all(&**index, key, location);
                Ok(())
            }
        }
    }
}

impl From<Flaw> for Damage {
    fn from(flaw: Flaw) -> Self {
        match flaw {
            Flaw::Record => Self::BadRecord,
            Flaw::Block(block) => Self::BadBlock { block },
        }
    }
}
