//! A disk in memory that fails as real ones do.
//!
//! * [`content`](self::content): files, and what a crash leaves of them
//! * [`files`](self::files): the disk's operations

mod content;
mod files;
#[cfg(test)]
mod tests;

use content::{Change, Content, Dice};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An in-memory [`Disk`](crate::disk::Disk) with faults on demand.
///
/// - [`FaultyDisk::crash`] forgets what was not synced: each write since the last sync survives
///   wholly, in part, or not at all; names made or removed since the last sync of the directory may
///   be gone, or back. Handles from before the crash are dead, as those of a killed process are.
/// - [`FaultyDisk::stop_after`] is the moment of a crash: nothing works after so many changes.
/// - [`FaultyDisk::set_capacity`] makes writes fail with `StorageFull`, the last one half done.
/// - [`FaultyDisk::fail_syncs`] makes syncs fail as Linux does: of what was to be written any part
///   is dropped, later syncs succeed, and reads still show the lost bytes until the crash.
/// - [`FaultyDisk::fail_dir_syncs`] makes syncs of the directory fail.
/// - [`FaultyDisk::fail_reads`] makes all reads of a file fail.
/// - [`FaultyDisk::flip`] flips bits of a byte on the medium.
#[derive(Clone)]
pub struct FaultyDisk {
    state: Arc<Mutex<State>>,
    generation: u64,
}

#[derive(Clone, Default)]
struct State {
    /// All files, with those that are still open though they were removed.
    files: BTreeMap<u64, FileState>,
    names: BTreeMap<String, u64>,
    /// The names that a crash can't take away or bring back ...
    durable_names: BTreeMap<String, u64>,
    /// ... and what happened to names since.
    unsynced_names: Vec<Naming>,
    generation: u64,
    stop_after: Option<u64>,
    capacity: Option<u64>,
    no_holes: bool,
    failing_syncs: u64,
    failing_dir_syncs: u64,
    failing_seed: u64,
    syncs: u64,
    bytes_read: u64,
}

#[derive(Clone, Default)]
struct FileState {
    /// What reads show.
    seen: Content,
    /// What a crash can't take away.
    durable: Content,
    /// What happened since the last sync.
    unsynced: Vec<Change>,
    unreadable: bool,
}

#[derive(Clone)]
enum Naming {
    Made { name: String, file: u64 },
    Removed { name: String },
}

impl Default for FaultyDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for FaultyDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyDisk(generation {})", self.generation)
    }
}

impl FaultyDisk {
    /// An empty disk without faults.
    pub fn new() -> Self {
        Self { state: Arc::default(), generation: 0 }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.lock();
        if state.generation == self.generation {
            Ok(state)
        } else {
            Err(io::Error::other("this handle is from before the crash"))
        }
    }

    /// The state for an operation that changes something.
    fn live_for_change(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.live()?;
        match &mut state.stop_after {
            Some(0) => {
                state.generation += 1;
                state.stop_after = None;
                return Err(io::Error::other("injected: the power is cut"));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(state)
    }

    /// Cuts the power: returns the disk as the next start finds it. The same seed loses the same.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut state = self.lock();
        state.failing_syncs = 0;
        state.failing_dir_syncs = 0;
        let mut names = std::mem::take(&mut state.durable_names);
        for naming in std::mem::take(&mut state.unsynced_names) {
            match naming {
                _ if dice.roll(2) == 0 => {}
                Naming::Made { name, file } => drop(names.insert(name, file)),
                Naming::Removed { name } => drop(names.remove(&name)),
            }
        }
        state.files.retain(|id, _| names.values().any(|named| named == id));
        for file in state.files.values_mut() {
            for change in std::mem::take(&mut file.unsynced) {
                for left in change.survive(&mut dice) {
                    left.apply(&mut file.durable);
                }
            }
            file.seen.clone_from(&file.durable);
        }
        state.names.clone_from(&names);
        state.durable_names = names;
        drop(state);
        self.kill()
    }

    /// Kills the process but not the machine: what was written stays, though it is not yet synced.
    #[must_use]
    pub fn kill(&self) -> Self {
        let mut state = self.lock();
        state.generation += 1;
        state.stop_after = None;
        let generation = state.generation;
        drop(state);
        Self { state: self.state.clone(), generation }
    }

    /// After `changes` more operations that change something, all operations fail until the next
    /// [`FaultyDisk::crash`] or [`FaultyDisk::kill`].
    pub fn stop_after(&self, changes: u64) {
        self.lock().stop_after = Some(changes);
    }

    /// Whether the moment of [`FaultyDisk::stop_after`] has come.
    pub fn has_stopped(&self) -> bool {
        self.lock().generation != self.generation
    }

    /// Bounds the bytes that all files may take together; `None` is unbounded.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    /// Whether holes give nothing back from now on, as on file systems that have none.
    pub fn refuse_holes(&self, refuse: bool) {
        self.lock().no_holes = refuse;
    }

    /// The next `n` syncs fail and lose what they were to make durable, wholly or in part as `seed`
    /// decides.
    pub fn fail_syncs(&self, n: u64, seed: u64) {
        let mut state = self.lock();
        state.failing_syncs = n;
        state.failing_seed = seed;
    }

    /// The next `n` syncs of the directory fail.
    pub fn fail_dir_syncs(&self, n: u64) {
        self.lock().failing_dir_syncs = n;
    }

    /// Whether reads of a file fail from now on.
    pub fn fail_reads(&self, name: &str, fail: bool) {
        if let Some(file) = self.lock().named(name) {
            file.unreadable = fail;
        }
    }

    /// Flips the bits `mask` of the byte at `offset` of a file; false where there is no such byte.
    pub fn flip(&self, name: &str, offset: usize, mask: u8) -> bool {
        let mut state = self.lock();
        let Some(file) = state.named(name) else { return false };
        let seen = file.seen.bytes.get_mut(offset).map(|b| *b ^= mask).is_some();
        if let Some(b) = file.durable.bytes.get_mut(offset) {
            *b ^= mask;
        }
        seen
    }

    /// What reads of a file show; empty where there is no such file.
    pub fn content(&self, name: &str) -> Vec<u8> {
        self.lock().named(name).map(|f| f.seen.bytes.clone()).unwrap_or_default()
    }

    /// A copy of everything but the faults, which goes its own way from here.
    #[must_use]
    pub fn fork(&self) -> Self {
        let State { files, names, durable_names, unsynced_names, .. } = self.lock().clone();
        let fork = State { files, names, durable_names, unsynced_names, ..State::default() };
        Self { state: Arc::new(Mutex::new(fork)), generation: 0 }
    }

    /// Syncs of files that succeeded so far.
    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    /// Bytes read from files so far.
    pub fn bytes_read(&self) -> u64 {
        self.lock().bytes_read
    }

    /// Bytes that all files take.
    pub fn used(&self) -> u64 {
        self.lock().used()
    }
}

impl State {
    fn named(&mut self, name: &str) -> Option<&mut FileState> {
        self.files.get_mut(self.names.get(name)?)
    }

    fn used(&self) -> u64 {
        self.names.values().filter_map(|id| self.files.get(id)).map(|f| f.seen.allocated()).sum()
    }

    fn room(&self) -> u64 {
        self.capacity.map_or(u64::MAX / 2, |c| c.saturating_sub(self.used()))
    }
}
