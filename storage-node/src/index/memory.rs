//! [`Index`] in memory, for tests.

use super::{Change, Index, IndexError, Location, Note, Watermark};
use coffer_core::shard::ShardKey;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A map in memory.
#[derive(Debug, Default)]
pub struct MemoryIndex(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<ShardKey, Location>,
    watermark: Option<Watermark>,
    notes: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl MemoryIndex {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index for MemoryIndex {
    fn get(&self, key: ShardKey) -> Result<Option<Location>, IndexError> {
        Ok(self.lock().entries.get(&key).copied())
    }

    fn apply(&self, changes: &[Change], watermark: Watermark) -> Result<(), IndexError> {
        let mut state = self.lock();
        for (key, location) in changes {
            match location {
                Some(location) => state.entries.insert(*key, *location),
                None => state.entries.remove(key),
            };
        }
        state.watermark = Some(watermark);
        Ok(())
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
        Ok(())
    }
}
