//! What a group of records changes: entries of the index, what volumes hold, and which records die.

use crate::index::{Change, Copies, Index, IndexError, Location, Usage, Watermark};
use crate::volume::{VolumeNo, VolumeSet};
use coffer_core::shard::{ShardInfo, ShardKey};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Totals of what is live, always those of the index.
#[derive(Debug, Default)]
pub(crate) struct Totals(Mutex<Figures>);

#[derive(Debug, Default)]
struct Figures {
    watermark: Watermark,
    usage: BTreeMap<u32, Usage>,
    /// Volumes that are gone and that the index has not forgotten yet.
    gone: Vec<u32>,
}

impl Totals {
    /// The totals of an index. Volumes that are gone and held nothing will be forgotten.
    pub(crate) fn new(watermark: Watermark, usage: Vec<(u32, Usage)>, volumes: &VolumeSet) -> Self {
        let (usage, gone): (BTreeMap<_, _>, BTreeMap<_, _>) = usage
            .into_iter()
            .partition(|(no, usage)| usage.records > 0 || volumes.exists(VolumeNo(*no)));
        let gone = gone.into_keys().collect();
        Self(Mutex::new(Figures { watermark, usage, gone }))
    }

    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn watermark(&self) -> Watermark {
        self.lock().watermark
    }

    /// What a volume holds.
    pub(crate) fn usage(&self, no: VolumeNo) -> Usage {
        self.lock().usage.get(&no.0).copied().unwrap_or_default()
    }

    /// Forgets a volume that is gone.
    pub(crate) fn forget(&self, no: VolumeNo) {
        let mut figures = self.lock();
        figures.usage.remove(&no.0);
        figures.gone.push(no.0);
    }

    /// Bytes of all live records.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.lock().usage.values().map(|usage| usage.bytes).sum()
    }
}

/// What a group changes, seen as if it were done already.
pub(super) struct Ledger<'a> {
    index: &'a dyn Index,
    volumes: &'a VolumeSet,
    now: HashMap<ShardKey, Option<Location>>,
    /// Shards that were stored or deleted.
    renewed: Vec<ShardKey>,
    pub(super) watermark: Watermark,
    gained: BTreeMap<u32, Usage>,
    lost: BTreeMap<u32, Usage>,
    dead: Vec<Location>,
}

impl<'a> Ledger<'a> {
    /// An empty group on top of what there is.
    pub(super) fn new(index: &'a dyn Index, volumes: &'a VolumeSet, watermark: Watermark) -> Self {
        Self {
            index,
            volumes,
            now: HashMap::new(),
            renewed: Vec::new(),
            watermark,
            gained: BTreeMap::new(),
            lost: BTreeMap::new(),
            dead: Vec::new(),
        }
    }

    /// Entries that change.
    pub(super) fn len(&self) -> usize {
        self.now.len()
    }

    pub(super) fn get(&self, key: ShardKey) -> Result<Option<Location>, IndexError> {
        match self.now.get(&key) {
            Some(now) => Ok(*now),
            None => self.index.get(key),
        }
    }

    /// The shard's record is the one at this place from now on.
    pub(super) fn put(
        &mut self,
        key: ShardKey,
        volume: VolumeNo,
        offset: u64,
        info: ShardInfo,
    ) -> Result<(), IndexError> {
        let before = self.get(key)?;
        let copies = Copies::after(before.as_ref(), volume, |no| self.volumes.exists(no));
        let location = Location { volume: volume.0, offset, info, copies };
        self.die(before);
        let gained = self.gained.entry(volume.0).or_default();
        *gained = gained.plus(Usage::of(&location));
        self.watermark.shards += 1;
        self.watermark.live_bytes += u64::from(info.len);
        self.now.insert(key, Some(location));
        self.renewed.push(key);
        Ok(())
    }

    /// The shard is deleted by a tombstone in `volume`.
    pub(super) fn delete(&mut self, key: ShardKey, volume: VolumeNo) -> Result<(), IndexError> {
        let before = self.get(key)?;
        self.die(before);
        let gained = self.gained.entry(volume.0).or_default();
        *gained = gained.plus(Usage::TOMBSTONE);
        self.now.insert(key, None);
        self.renewed.push(key);
        Ok(())
    }

    /// A tombstone of this live shard is dropped: dead records that it had to kill may be anywhere.
    pub(super) fn drop_tombstone(&mut self, key: ShardKey, live: Location) {
        self.now.insert(key, Some(Location { copies: Copies::Anywhere, ..live }));
    }

    fn die(&mut self, before: Option<Location>) {
        let Some(before) = before else { return };
        let lost = self.lost.entry(before.volume).or_default();
        *lost = lost.plus(Usage::of(&before));
        self.watermark.shards = self.watermark.shards.saturating_sub(1);
        self.watermark.live_bytes =
            self.watermark.live_bytes.saturating_sub(before.info.len.into());
        self.dead.push(before);
    }

    /// Tells the index, then the totals; gives the shards that were stored or deleted and the
    /// records that died.
    pub(super) fn apply(
        self,
        totals: &Totals,
    ) -> Result<(Vec<ShardKey>, Vec<Location>), IndexError> {
        let (mut rows, gone) = {
            let figures = totals.lock();
            let touched = self.gained.keys().chain(self.lost.keys());
            let rows: BTreeMap<u32, Usage> = touched
                .map(|no| {
                    let of =
                        |usage: &BTreeMap<u32, Usage>| usage.get(no).copied().unwrap_or_default();
                    let now = of(&figures.usage).plus(of(&self.gained)).minus(of(&self.lost));
                    (*no, now)
                })
                .collect();
            (rows, figures.gone.clone())
        };
        rows.extend(gone.iter().map(|no| (*no, Usage::default())));
        let rows: Vec<(u32, Usage)> = rows.into_iter().collect();
        let changes: Vec<Change> = self.now.into_iter().collect();
        self.index.apply(&changes, self.watermark, &rows)?;
        let mut figures = totals.lock();
        figures.watermark = self.watermark;
        figures.gone.drain(..gone.len());
        for (no, usage) in rows {
            match usage == Usage::default() {
                true => figures.usage.remove(&no),
                false => figures.usage.insert(no, usage),
            };
        }
        Ok((self.renewed, self.dead))
    }
}
