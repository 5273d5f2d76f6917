//! The file operations that volumes need, and nothing more.
//!
//! Two implementations: [`DirDisk`] is a directory of a real file system; `FaultyDisk` in
//! [`crate::testing`] keeps files in memory and loses, tears, flips and refuses on demand.
//! [`MeteredDisk`] wraps either and counts what it does.

mod dir;
mod metered;

pub use dir::DirDisk;
pub use metered::{IoMeter, MeteredDisk};

use std::fmt;
use std::io;
use std::sync::Arc;

/// A flat directory of files.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Makes a new, empty file. The name is durable only after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// `AlreadyExists`, or what the file system reports.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// What the file system reports.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Removes a file. Its content stays with those who have it open; the name may be back after a
    /// crash until [`Disk::sync_dir`].
    ///
    /// # Errors
    /// `NotFound`, or what the file system reports.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// The names of all files, in no order.
    ///
    /// # Errors
    /// What the file system reports.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes durable which files there are.
    ///
    /// # Errors
    /// What the file system reports.
    fn sync_dir(&self) -> io::Result<()>;

    /// Bytes that may still be written by this process.
    ///
    /// # Errors
    /// What the file system reports.
    fn free_space(&self) -> io::Result<u64>;

    /// Bytes of the whole file system.
    ///
    /// # Errors
    /// What the file system reports.
    fn total_space(&self) -> io::Result<u64>;
}

/// An open file. Positioned reads and writes only, so that it can be shared among threads.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// The file's length in bytes.
    ///
    /// # Errors
    /// What the file system reports.
    fn size(&self) -> io::Result<u64>;

    /// Bytes that the file takes on the medium; less than its length where holes were punched.
    ///
    /// # Errors
    /// What the file system reports.
    fn allocated(&self) -> io::Result<u64>;

    /// Reads until `buf` is full or the file ends; returns the bytes read.
    ///
    /// # Errors
    /// What the file system reports.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Reads `len` bytes, or as many as there are before the file ends, into memory that need not be
    /// zeroed before.
    ///
    /// # Errors
    /// What the file system reports.
    fn read_new(&self, len: usize, offset: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        let read = self.read_at(&mut bytes, offset)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Whether a read would hardly wait for the medium, as far as that can be told without waiting; a
    /// guess that costs little. `false` where nobody knows.
    fn is_at_hand(&self, _len: usize, _offset: u64) -> bool {
        false
    }

    /// Writes all `parts`, one after the other, from `offset` on.
    ///
    /// # Errors
    /// What the file system reports; some of the bytes may have been written.
    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()>;

    /// Makes the file's content and length durable.
    ///
    /// # Errors
    /// What the file system reports. Whatever was written since the last success must be taken for
    /// lost then, even if a later call succeeds: the kernel reports a failed write-back once.
    fn sync_data(&self) -> io::Result<()>;

    /// Cuts or extends the file.
    ///
    /// # Errors
    /// What the file system reports.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Gives the space of a range back to the file system; the range reads as zeros afterwards.
    /// Does nothing where the file system can't.
    ///
    /// # Errors
    /// What the file system reports.
    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()>;
}

/// Whether an error says that there is no more space, rather than that the disk is broken.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
