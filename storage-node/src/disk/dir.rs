//! [`Disk`] on a directory of a real file system.

use super::{Disk, DiskFile};
use rustix::buffer::spare_capacity;
use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Parts handed to one `pwritev` call; Linux takes up to 1024.
const MAX_PARTS: usize = 512;

/// A directory, locked against a second process for as long as the value lives.
#[derive(Debug)]
pub struct DirDisk {
    path: PathBuf,
    dir: File,
    _lock: File,
}

impl DirDisk {
    /// Opens the directory `path`, making it if needed, and takes the lock file `lock`.
    ///
    /// # Errors
    /// `WouldBlock` when another process (or another handle in this one) holds the lock; otherwise
    /// what the file system reports.
    pub fn open(path: &Path, lock: &Path) -> io::Result<Self> {
        raise_file_limit();
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(lock)?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        std::fs::create_dir_all(path)?;
        if let Some(parent) = path.parent() {
            File::open(parent)?.sync_all()?;
        }
        Ok(Self { path: path.to_owned(), dir: File::open(path)?, _lock: lock })
    }

    fn open_with(&self, name: &str, options: &OpenOptions) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile(options.open(self.path.join(name))?)))
    }
}

/// All volumes are open at once, and the usual limit of 1024 files would be met at a terabyte: this
/// process may have as many as the system lets it.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, files = ?limit.current, "the limit of open files can't be raised");
    }
}

impl Disk for DirDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.open_with(name, OpenOptions::new().read(true).write(true).create_new(true))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.open_with(name, OpenOptions::new().read(true).write(true))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        std::fs::read_dir(&self.path)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.dir.sync_all()
    }

    fn free_space(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstatvfs(&self.dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn total_space(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstatvfs(&self.dir)?;
        Ok(stat.f_blocks.saturating_mul(stat.f_frsize))
    }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn allocated(&self) -> io::Result<u64> {
        // POSIX counts st_blocks in units of 512 bytes, whatever the file system's block size.
        Ok(self.0.metadata()?.blocks().saturating_mul(512))
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match self.0.read_at(&mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    fn read_new(&self, len: usize, offset: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let at = offset + bytes.len() as u64;
            match rustix::io::pread(&self.0, spare_capacity(&mut bytes), at) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        // There may have been room for more.
        bytes.truncate(len);
        Ok(bytes)
    }

    /// Asks for the first and the last byte, if the system has them in memory: what lies in between
    /// came with them.
    #[cfg(target_os = "linux")]
    fn is_at_hand(&self, len: usize, offset: u64) -> bool {
        let is_cached = |at| {
            let mut byte = [0];
            let mut parts = [io::IoSliceMut::new(&mut byte)];
            let flags = rustix::io::ReadWriteFlags::NOWAIT;
            matches!(rustix::io::preadv2(&self.0, &mut parts, at, flags), Ok(1))
        };
        let last = (len as u64).checked_sub(1).and_then(|last| offset.checked_add(last));
        last.is_some_and(|last| is_cached(offset) && is_cached(last))
    }

    fn write_at(&self, parts: &[&[u8]], mut offset: u64) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> =
            parts.iter().filter(|p| !p.is_empty()).map(|p| IoSlice::new(p)).collect();
        let mut rest = slices.as_mut_slice();
        while !rest.is_empty() {
            let run = &rest[..rest.len().min(MAX_PARTS)];
            match rustix::io::pwritev(&self.0, run, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    offset += n as u64;
                    IoSlice::advance_slices(&mut rest, n);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.0, flags, offset, len) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_parts_are_written_in_order_and_holes_read_as_zeros() {
        let dir = tempfile::tempdir().unwrap();
        let disk = DirDisk::open(&dir.path().join("v"), &dir.path().join("LOCK")).unwrap();
        let file = disk.create("a").unwrap();
        let data: Vec<u8> = (0..3000u32).flat_map(|i| i.to_le_bytes()).collect();
        let parts: Vec<&[u8]> = data.chunks(7).collect();
        file.write_at(&parts, 5000).unwrap();
        file.sync_data().unwrap();
        let mut back = vec![0; data.len() + 10];
        assert_eq!(file.read_at(&mut back, 5000).unwrap(), data.len());
        assert_eq!(file.read_new(data.len() + 10, 5000).unwrap(), data);
        assert_eq!(file.read_new(10, 5001).unwrap(), data[1..11]);
        assert_eq!(&back[..data.len()], &data);
        // What was just written is in memory; what is not there can't be.
        assert!(file.is_at_hand(data.len(), 5000));
        assert!(!file.is_at_hand(data.len() + 1, 5000) && !file.is_at_hand(0, 5000));
        file.punch_hole(8192, 4096).unwrap();
        assert_eq!(file.size().unwrap(), 17_000);
        assert_eq!(disk.list().unwrap(), ["a"]);
        assert!(disk.create("a").is_err());
        disk.create("b").unwrap();
        disk.remove("b").unwrap();
        assert_eq!(disk.remove("b").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(disk.list().unwrap(), ["a"]);
        let free = disk.free_space().unwrap();
        assert!(free > 0 && free <= disk.total_space().unwrap());
    }

    #[test]
    fn a_second_handle_on_the_same_lock_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let open = || DirDisk::open(&dir.path().join("v"), &dir.path().join("LOCK"));
        let first = open().unwrap();
        assert_eq!(open().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(first);
        assert!(open().is_ok());
    }
}
