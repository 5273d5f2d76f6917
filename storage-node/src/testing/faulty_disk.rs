//! A disk in memory that fails as real ones do.

use crate::disk::{Disk, DiskFile};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes that a disk writes whole or not at all.
const SECTOR: usize = 512;

/// An in-memory [`Disk`] with faults on demand.
///
/// - [`FaultyDisk::crash`] forgets what was not synced: each write since the last sync survives
///   wholly, in part, or not at all, and unsynced names may vanish. Handles from before the crash
///   are dead, as those of a killed process are.
/// - [`FaultyDisk::set_capacity`] makes writes fail with `StorageFull`, the last one half done.
/// - [`FaultyDisk::fail_syncs`] makes syncs fail as Linux does: of what was to be written any part
///   is dropped, later syncs succeed, and reads still show the lost bytes until the crash.
/// - [`FaultyDisk::fail_reads`] makes all reads of a file fail.
/// - [`FaultyDisk::flip`] flips bits of a byte on the medium.
#[derive(Clone)]
pub struct FaultyDisk {
    state: Arc<Mutex<State>>,
    generation: u64,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, FileState>,
    generation: u64,
    capacity: Option<u64>,
    failing_syncs: u64,
    failing_seed: u64,
    syncs: u64,
    bytes_read: u64,
}

#[derive(Default)]
struct FileState {
    /// What reads show.
    seen: Vec<u8>,
    /// What a crash can't take away.
    durable: Vec<u8>,
    /// What happened since the last sync.
    unsynced: Vec<Change>,
    named: bool,
    unreadable: bool,
    /// Bytes given back by holes.
    holes: u64,
}

#[derive(Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Len(usize),
    Hole { offset: usize, len: usize },
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => {
                let end = offset + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*offset..end].copy_from_slice(bytes);
            }
            Self::Len(len) => content.resize(*len, 0),
            Self::Hole { offset, len } => {
                let end = (offset + len).min(content.len());
                if *offset < end {
                    content[*offset..end].fill(0);
                }
            }
        }
    }

    /// What is left of the change after a crash.
    fn survive(self, dice: &mut Dice) -> Vec<Self> {
        match (dice.roll(4), self) {
            (0, _) => Vec::new(),
            (1, Self::Write { offset, mut bytes }) => {
                bytes.truncate(dice.below(bytes.len() + 1));
                vec![Self::Write { offset, bytes }]
            }
            (2, Self::Write { offset, bytes }) => {
                // Sectors reach the medium in any order.
                let sectors = bytes.chunks(SECTOR).enumerate();
                sectors
                    .filter(|_| dice.roll(2) == 0)
                    .map(|(i, s)| Self::Write { offset: offset + i * SECTOR, bytes: s.to_vec() })
                    .collect()
            }
            (_, whole) => vec![whole],
        }
    }
}

/// A small generator (xorshift64*, Vigna 2014), so that a seed replays a crash.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % sides
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.roll(n as u64)).unwrap_or(0)
    }
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

    /// Cuts the power: returns the disk as the next start finds it. The same seed loses the same.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        let mut dice = Dice(seed | 1);
        let mut state = self.lock();
        state.generation += 1;
        state.failing_syncs = 0;
        state.files.retain(|_, f| f.named || dice.roll(2) == 0);
        for file in state.files.values_mut() {
            for change in std::mem::take(&mut file.unsynced) {
                for left in change.survive(&mut dice) {
                    left.apply(&mut file.durable);
                }
            }
            file.seen.clone_from(&file.durable);
            file.named = true;
        }
        let generation = state.generation;
        drop(state);
        Self { state: self.state.clone(), generation }
    }

    /// Kills the process but not the machine: what was written stays, though it is not yet synced.
    #[must_use]
    pub fn kill(&self) -> Self {
        let mut state = self.lock();
        state.generation += 1;
        let generation = state.generation;
        drop(state);
        Self { state: self.state.clone(), generation }
    }

    /// Bounds the bytes that all files may take together; `None` is unbounded.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    /// The next `n` syncs fail and lose what they were to make durable, wholly or in part as `seed`
    /// decides.
    pub fn fail_syncs(&self, n: u64, seed: u64) {
        let mut state = self.lock();
        state.failing_syncs = n;
        state.failing_seed = seed;
    }

    /// Whether reads of a file fail from now on.
    pub fn fail_reads(&self, name: &str, fail: bool) {
        if let Some(file) = self.lock().files.get_mut(name) {
            file.unreadable = fail;
        }
    }

    /// Flips the bits `mask` of the byte at `offset` of a file; false where there is no such byte.
    pub fn flip(&self, name: &str, offset: usize, mask: u8) -> bool {
        let mut state = self.lock();
        let Some(file) = state.files.get_mut(name) else { return false };
        let seen = file.seen.get_mut(offset).map(|b| *b ^= mask).is_some();
        if let Some(b) = file.durable.get_mut(offset) {
            *b ^= mask;
        }
        seen
    }

    /// What reads of a file show; empty where there is no such file.
    pub fn content(&self, name: &str) -> Vec<u8> {
        self.lock().files.get(name).map(|f| f.seen.clone()).unwrap_or_default()
    }

    /// A copy of everything, which goes its own way from here.
    #[must_use]
    pub fn fork(&self) -> Self {
        let state = self.lock();
        let files = state.files.iter().map(|(name, f)| {
            let copy = FileState {
                seen: f.seen.clone(),
                durable: f.durable.clone(),
                unsynced: f.unsynced.clone(),
                named: f.named,
                unreadable: f.unreadable,
                holes: f.holes,
            };
            (name.clone(), copy)
        });
        let fork = State { files: files.collect(), ..State::default() };
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

    fn file(&self, name: &str) -> Arc<dyn DiskFile> {
        Arc::new(FaultyFile { disk: self.clone(), name: name.to_owned() })
    }
}

impl State {
    fn used(&self) -> u64 {
        self.files.values().map(|f| (f.seen.len() as u64).saturating_sub(f.holes)).sum()
    }

    fn room(&self) -> u64 {
        self.capacity.map_or(u64::MAX / 2, |c| c.saturating_sub(self.used()))
    }
}

impl Disk for FaultyDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.live()?;
        if state.files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.files.insert(name.to_owned(), FileState::default());
        drop(state);
        Ok(self.file(name))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let exists = self.live()?.files.contains_key(name);
        if exists { Ok(self.file(name)) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.live()?.files.keys().cloned().collect())
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.live()?.files.values_mut().for_each(|f| f.named = true);
        Ok(())
    }

    fn free_space(&self) -> io::Result<u64> {
        Ok(self.live()?.room())
    }

    fn total_space(&self) -> io::Result<u64> {
        Ok(self.live()?.capacity.unwrap_or(u64::MAX / 2))
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyDisk,
    name: String,
}

impl FaultyFile {
    fn with<T>(&self, act: impl FnOnce(&mut FileState) -> T) -> io::Result<T> {
        let mut state = self.disk.live()?;
        let file = state.files.get_mut(&self.name).ok_or(io::ErrorKind::NotFound)?;
        Ok(act(file))
    }

    fn change(&self, change: Change) -> io::Result<()> {
        self.with(|f| {
            change.apply(&mut f.seen);
            f.unsynced.push(change);
        })
    }
}

fn index(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

impl DiskFile for FaultyFile {
    fn size(&self) -> io::Result<u64> {
        self.with(|f| f.seen.len() as u64)
    }

    fn allocated(&self) -> io::Result<u64> {
        self.with(|f| (f.seen.len() as u64).saturating_sub(f.holes))
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let n = self.with(|f| {
            if f.unreadable {
                return Err(io::Error::other("injected: the medium can't be read"));
            }
            let rest = f.seen.get(index(offset)..).unwrap_or_default();
            let n = rest.len().min(buf.len());
            buf[..n].copy_from_slice(&rest[..n]);
            Ok(n)
        })??;
        self.disk.live()?.bytes_read += n as u64;
        Ok(n)
    }

    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        let mut bytes = parts.concat();
        let room = self.disk.live()?.room();
        let end = offset + bytes.len() as u64;
        let grows = end.saturating_sub(self.size()?);
        if grows > room {
            let fits = (bytes.len() as u64).saturating_sub(grows - room);
            bytes.truncate(index(fits));
            self.change(Change::Write { offset: index(offset), bytes })?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.change(Change::Write { offset: index(offset), bytes })
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.live()?;
        let fails = state.failing_syncs > 0;
        state.failing_syncs = state.failing_syncs.saturating_sub(1);
        state.syncs += u64::from(!fails);
        let mut dice = Dice(state.failing_seed.wrapping_add(state.failing_syncs) | 1);
        drop(state);
        self.with(|f| {
            let changes = std::mem::take(&mut f.unsynced);
            if fails {
                let survivors = changes.into_iter().flat_map(|c| c.survive(&mut dice));
                survivors.for_each(|c| c.apply(&mut f.durable));
                return Err(io::Error::other("injected: write-back failed"));
            }
            changes.iter().for_each(|c| c.apply(&mut f.durable));
            Ok(())
        })?
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::Len(index(len)))
    }

    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        self.change(Change::Hole { offset: index(offset), len: index(len) })?;
        self.with(|f| f.holes += len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_keeps_synced_bytes_and_kills_old_handles() {
        let disk = FaultyDisk::new();
        let file = disk.create("a").unwrap();
        file.write_at(&[b"kept"], 0).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir().unwrap();
        file.write_at(&[&[7; 2000]], 4).unwrap();
        let after = disk.crash(3);
        assert!(file.size().is_err());
        assert!(disk.list().is_err());
        let mut buf = [0; 4];
        after.open("a").unwrap().read_at(&mut buf, 0).unwrap();
        assert_eq!(&buf, b"kept");
    }

    #[test]
    fn crashes_lose_all_some_or_nothing_of_an_unsynced_write() {
        let mut lengths = std::collections::BTreeSet::new();
        for seed in 1..60 {
            let disk = FaultyDisk::new();
            let file = disk.create("a").unwrap();
            disk.sync_dir().unwrap();
            file.write_at(&[&[7; 2048]], 0).unwrap();
            lengths.insert(disk.crash(seed).content("a").len());
        }
        assert!(lengths.contains(&0) && lengths.contains(&2048) && lengths.len() > 4);
    }

    #[test]
    fn what_a_failed_sync_loses_a_later_one_does_not_bring_back() {
        let mut left = std::collections::BTreeSet::new();
        for seed in 0..40 {
            let disk = FaultyDisk::new();
            let file = disk.create("a").unwrap();
            disk.sync_dir().unwrap();
            file.write_at(&[b"lost"], 0).unwrap();
            disk.fail_syncs(1, seed);
            assert!(file.sync_data().is_err());
            assert!(file.sync_data().is_ok());
            assert_eq!(disk.content("a"), b"lost");
            left.insert(disk.crash(1).content("a"));
        }
        assert!(left.contains(&b""[..]) && left.contains(&b"lost"[..]) && left.len() > 2);
    }

    #[test]
    fn a_full_disk_writes_what_fits() {
        let disk = FaultyDisk::new();
        disk.set_capacity(Some(10));
        let file = disk.create("a").unwrap();
        let error = file.write_at(&[&[1; 16]], 0).unwrap_err();
        assert!(crate::disk::is_full(&error));
        assert_eq!(file.size().unwrap(), 10);
    }
}
