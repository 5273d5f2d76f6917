//! [`Index`] in memory, for tests.

use super::{Change, Index, IndexError, Location, Note, Usage, Watermark};
use coffer_core::shard::ShardKey;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A map in memory.
#[derive(Debug, Default)]
pub struct MemoryIndex {
    now: Mutex<State>,
    flushed: Mutex<State>,
    failing_applies: AtomicU64,
}

#[derive(Debug, Clone, Default)]
struct State {
    entries: BTreeMap<ShardKey, Location>,
    watermark: Option<Watermark>,
    usage: BTreeMap<u32, Usage>,
    notes: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl MemoryIndex {
    /// The index as the last flush left it: what a crash may leave.
    #[must_use]
    pub fn as_flushed(&self) -> Self {
        let flushed = lock(&self.flushed).clone();
        let (now, flushed) = (Mutex::new(flushed.clone()), Mutex::new(flushed));
        Self { now, flushed, ..Self::default() }
    }

    /// The next `n` calls of [`Index::apply`] fail.
    pub fn fail_applies(&self, n: u64) {
        self.failing_applies.store(n, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.now)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Index for MemoryIndex {
    fn get(&self, key: ShardKey) -> Result<Option<Location>, IndexError> {
        Ok(self.lock().entries.get(&key).copied())
    }

    fn apply(
        &self,
        changes: &[Change],
        watermark: Watermark,
        usage: &[(u32, Usage)],
    ) -> Result<(), IndexError> {
        let left = |n: u64| n.checked_sub(1);
        let (order, failing) = (Ordering::Relaxed, &self.failing_applies);
        if failing.fetch_update(order, order, left).is_ok() {
            return Err(IndexError("injected: nothing was changed".to_owned()));
        }
        let mut state = self.lock();
        for (key, location) in changes {
            match location {
                Some(location) => state.entries.insert(*key, *location),
                None => state.entries.remove(key),
            };
        }
        state.watermark = Some(watermark);
        for (volume, usage) in usage {
            match *usage == Usage::default() {
                true => state.usage.remove(volume),
                false => state.usage.insert(*volume, *usage),
            };
        }
        Ok(())
    }

    fn usage(&self) -> Result<Vec<(u32, Usage)>, IndexError> {
        Ok(self.lock().usage.iter().map(|(volume, usage)| (*volume, *usage)).collect())
    }

    fn watermark(&self) -> Result<Option<Watermark>, IndexError> {
        Ok(self.lock().watermark)
    }

    fn scan(
        &self,
        after: Option<ShardKey>,
        limit: usize,
    ) -> Result<Vec<(ShardKey, Location)>, IndexError> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.lock();
        Ok(state
            .entries
            .range((from, Bound::Unbounded))
            .take(limit)
            .map(|(k, v)| (*k, *v))
            .collect())
    }

    fn notes(&self, prefix: &[u8]) -> Result<Vec<Note>, IndexError> {
        let state = self.lock();
        let from = state.notes.range(prefix.to_vec()..);
        let found = from.take_while(|(name, _)| name.starts_with(prefix));
        Ok(found.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    fn set_note(&self, name: &[u8], value: Option<&[u8]>) -> Result<(), IndexError> {
        let notes = &mut self.lock().notes;
        match value {
            Some(value) => notes.insert(name.to_vec(), value.to_vec()),
            None => notes.remove(name),
        };
        Ok(())
    }

    fn clear(&self) -> Result<(), IndexError> {
        *self.lock() = State::default();
        Ok(())
    }

    fn flush(&self) -> Result<(), IndexError> {
        let now = self.lock().clone();
        *lock(&self.flushed) = now;
        Ok(())
    }
}
