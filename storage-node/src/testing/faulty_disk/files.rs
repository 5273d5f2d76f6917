//! The operations of a faulty disk.

use super::content::{Change, Dice};
use super::{FaultyDisk, FileState, Naming, State};
use crate::disk::{Disk, DiskFile};
use std::io;
use std::sync::{Arc, MutexGuard};

impl FaultyDisk {
    fn file(&self, id: u64) -> Arc<dyn DiskFile> {
        Arc::new(FaultyFile { disk: self.clone(), id })
    }
}

impl Disk for FaultyDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.live_for_change()?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = state.files.keys().last().map_or(0, |last| last + 1);
        state.files.insert(id, FileState::default());
        state.names.insert(name.to_owned(), id);
        state.unsynced_names.push(Naming::Made { name: name.to_owned(), file: id });
        drop(state);
        Ok(self.file(id))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let id = self.live()?.names.get(name).copied();
        id.map(|id| self.file(id)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.live_for_change()?;
        if state.names.remove(name).is_none() {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.unsynced_names.push(Naming::Removed { name: name.to_owned() });
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.live()?.names.keys().cloned().collect())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.live_for_change()?;
        if state.failing_dir_syncs > 0 {
            state.failing_dir_syncs -= 1;
            return Err(io::Error::other("injected: the directory was not written"));
        }
        let State { names, durable_names, unsynced_names, .. } = &mut *state;
        durable_names.clone_from(names);
        unsynced_names.clear();
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
    id: u64,
}

impl FaultyFile {
    fn with<T>(
        &self,
        mut state: MutexGuard<'_, State>,
        act: impl FnOnce(&mut FileState) -> T,
    ) -> io::Result<T> {
        let file = state.files.get_mut(&self.id).ok_or(io::ErrorKind::NotFound)?;
        Ok(act(file))
    }

    fn look<T>(&self, act: impl FnOnce(&FileState) -> T) -> io::Result<T> {
        self.with(self.disk.live()?, |file| act(file))
    }

    fn change(&self, change: Change) -> io::Result<()> {
        self.with(self.disk.live_for_change()?, |f| {
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
        self.look(|f| f.seen.bytes.len() as u64)
    }

    fn allocated(&self) -> io::Result<u64> {
        self.look(|f| f.seen.allocated())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let n = self.look(|f| {
            if f.unreadable {
                return Err(io::Error::other("injected: the medium can't be read"));
            }
            let rest = f.seen.bytes.get(index(offset)..).unwrap_or_default();
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
        let mut state = self.disk.live_for_change()?;
        let fails = state.failing_syncs > 0;
        state.failing_syncs = state.failing_syncs.saturating_sub(1);
        state.syncs += u64::from(!fails);
        let mut dice = Dice::new(state.failing_seed.wrapping_add(state.failing_syncs));
        self.with(state, |f| {
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
        if self.disk.live()?.no_holes {
            return Ok(());
        }
        self.change(Change::Hole { offset: index(offset), len: index(len) })
    }
}
