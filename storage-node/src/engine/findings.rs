//! What is known to be damaged: kept in memory, and beside the index, so that a restart forgets
//! nothing. If the index is lost, reads and the next scrub find it again.

use crate::index::{Index, IndexError, Location};
use crate::volume::VolumeNo;
use coffer_core::shard::{Damage, Finding, ShardKey};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Findings that are kept. A disk that is damaged beyond this is to be replaced; what is not kept
/// is counted, and found again by the next scrub.
const MAX_OPEN: usize = 65_536;

/// What the index's notes of findings begin with; the id follows, big-endian.
const PREFIX: &[u8] = b"finding ";

/// A finding, and the record that it is about.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Open {
    finding: Finding,
    location: Location,
}

/// The open findings of a node.
#[derive(Debug)]
pub(crate) struct Findings(Mutex<State>);

#[derive(Debug)]
struct State {
    open: BTreeMap<u64, Open>,
    by_key: HashMap<ShardKey, u64>,
    next: u64,
    /// Found since the start.
    found: u64,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reported {
    /// The shard was not known to be damaged.
    New,
    /// It was.
    Known,
    /// The shard was replaced or deleted meanwhile: nothing is wrong.
    Replaced,
}

impl Findings {
    /// The findings that the index remembers, without those whose shards were replaced since. Ids
    /// go on above `floor`, too.
    pub(crate) fn load(index: &dyn Index, floor: u64) -> Result<Self, IndexError> {
        let mut state =
            State { open: BTreeMap::new(), by_key: HashMap::new(), next: floor, found: 0 };
        for (name, value) in index.notes(PREFIX)? {
            // What can't be read is found again.
            match postcard::from_bytes::<Open>(&value) {
                Ok(open) if is_still(index, open.finding.key, &open.location)? => {
                    state.next = state.next.max(open.finding.id.saturating_add(1));
                    state.by_key.insert(open.finding.key, open.finding.id);
                    state.open.insert(open.finding.id, open);
                }
                _ => index.set_note(&name, None)?,
            }
        }
        Ok(Self(Mutex::new(state)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the record of `key` at `location` is damaged, unless another record has taken its
    /// place: the writer changes the index first and calls [`Findings::settle`] then, so that a
    /// shard that is stored anew while this runs never stays behind as a finding.
    pub(crate) fn report(
        &self,
        index: &dyn Index,
        key: ShardKey,
        location: Location,
        damage: Damage,
    ) -> Result<Reported, IndexError> {
        let mut state = self.lock();
        if !is_still(index, key, &location)? {
            return Ok(Reported::Replaced);
        }
        if state.by_key.contains_key(&key) {
            return Ok(Reported::Known);
        }
        tracing::error!(shard = %key, volume = %location.volume(), offset = location.offset, %damage, "a shard is damaged");
        state.found += 1;
        if state.open.len() < MAX_OPEN {
            let id = state.next;
            state.next += 1;
            let open = Open { finding: Finding { id, key, damage }, location };
            state.by_key.insert(key, id);
            let note = postcard::to_stdvec(&open).map_err(|e| IndexError(e.to_string()))?;
            state.open.insert(id, open);
            index.set_note(&name(id), Some(&note))?;
        }
        Ok(Reported::New)
    }

    /// Forgets what was found about these shards: they were stored anew or deleted, or are whole
    /// after all.
    pub(crate) fn settle(&self, index: &dyn Index, keys: impl Iterator<Item = ShardKey>) {
        let mut state = self.lock();
        if state.open.is_empty() {
            return;
        }
        for key in keys {
            let Some(id) = state.by_key.remove(&key) else { continue };
            state.open.remove(&id);
            if let Err(error) = index.set_note(&name(id), None) {
                // It is dropped at the next start if its record is no longer the shard's.
                tracing::warn!(%error, "a finding that is settled could not be removed");
            }
        }
    }

    /// Forgets what was found about a shard whose record at `location` was read whole: the disk, or
    /// what lies before it, had a bad moment.
    pub(crate) fn whole_after_all(&self, index: &dyn Index, key: ShardKey, location: Location) {
        let state = self.lock();
        let open = state.by_key.get(&key).and_then(|id| state.open.get(id));
        let same_record = open.is_some_and(|open| open.location.is_at(&location));
        drop(state);
        if same_record {
            tracing::info!(shard = %key, "a shard that was found damaged reads well again");
            self.settle(index, std::iter::once(key));
        }
    }

    /// Open findings with ids over `after`.
    pub(crate) fn page(&self, after: Option<u64>, limit: usize) -> Vec<Finding> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.lock();
        let open = state.open.range((from, Bound::Unbounded));
        open.take(limit).map(|(_, open)| open.finding.clone()).collect()
    }

    /// The volumes that hold what is found damaged.
    pub(crate) fn volumes(&self) -> BTreeSet<VolumeNo> {
        self.lock().open.values().map(|open| open.location.volume()).collect()
    }

    /// How many are open, and how many were found since the start.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let state = self.lock();
        (state.open.len() as u64, state.found)
    }
}

/// Whether the record of the shard is the one at `location`.
fn is_still(index: &dyn Index, key: ShardKey, location: &Location) -> Result<bool, IndexError> {
    Ok(index.get(key)?.is_some_and(|now| now.is_at(location)))
}

fn name(id: u64) -> Vec<u8> {
    [PREFIX, &id.to_be_bytes()].concat()
}
