//! Volumes: append-only files of self-describing records.
//!
//! A node keeps its shards in files `vol-00000001.cfv`, `vol-00000002.cfv`, ... Only the last is
//! written to, and only at its end; when it reaches the volume size, the next is begun. Compaction
//! removes volumes; their numbers are not used again. (The layout follows Haystack, OSDI 2010, and
//! ShardStore, SOSP 2021; that a tombstone names its victim's volume, Bitcask.) All numbers are
//! little-endian.
//!
//! # File header, 64 bytes
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `CofferVo` |
//! | 8 | 4 | format version, 3 |
//! | 12 | 4 | volume number |
//! | 16 | 16 | node id |
//! | 32 | 32 | BLAKE3 of bytes 0..32 |
//!
//! # Record, aligned to 8 bytes
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `CofferRe` |
//! | 8 | 1 | kind: 1 shard, 2 tombstone, 3 mark |
//! | 9 | 1 | k, data shards of the chunk's code (0 unless a shard) |
//! | 10 | 1 | m, parity shards (0 unless a shard) |
//! | 11 | 1 | shard index |
//! | 12 | 4 | chunk number |
//! | 16 | 16 | blob id |
//! | 32 | 4 | block size; of a tombstone the volume that it kills in, or 0; 0 for a mark |
//! | 36 | 4 | payload length (0 unless a shard) |
//! | 40 | 8 | sequence number: grows with every record of the node |
//! | 48 | 8 | synced: all bytes before this offset of the file were fsynced when this was written |
//! | 56 | 2 | generation of the shard's name (0 for a mark) |
//! | 58 | 6 | zeros |
//! | 64 | 32 | BLAKE3 of node id, volume number (4), record offset (8), bytes 0..64, checksum table |
//! | 96 | 32 n | checksum table: BLAKE3 of each of the n blocks of the payload |
//! | 96 + 32 n | len | payload |
//! | | 0..7 | zeros up to a multiple of 8 |
//!
//! Because its place is hashed along, a record is valid only in the file and at the offset for
//! which it was written: misdirected writes and copied files are found as corruption is.
//!
//! A **tombstone** says that the shard of its key is deleted. Where it is known that a single volume
//! held records of that shard, it names this volume: once it is gone, nothing is left to be killed. A
//! **mark** says nothing but its `synced` field; one is written when a volume is full and when the
//! node stops.
//!
//! # What is fsynced before what
//!
//! | before this ... | ... these are durable |
//! |---|---|
//! | a new volume takes its first record | its header (`fdatasync`) and its name (`fsync` of the directory) |
//! | a put or a delete is acknowledged | its record, and all before it (one `fdatasync` for the batch) |
//! | the index learns of a record | the same |
//! | the hole of a dead shard is punched | the tombstone or the newer record |
//! | records replayed at start are served | what nothing vouches for was written once more and `fdatasync`ed |
//! | a volume is removed | the copies of what it still had of worth, and the index |
//! | a tombstone is dropped | that the volume is gone which it kills in (`fsync` of the directory) |
//!
//! # Torn or rotten?
//!
//! After a crash or a failed fsync the end of a volume may hold anything. A damaged record is
//! *rotten* if a later valid record's `synced` lies past it, or if the index went past it: it was
//! durable once, so it is kept, counted and reported. Otherwise it is *torn*: nobody was told that
//! it was stored, so it is ignored, what it was to replace stays, and it is cut off if nothing valid
//! follows. After torn bytes that can't be cut off, and after a failed fsync, the node begins a new
//! volume, so that no later `synced` can vouch for them. That a later volume exists proves nothing.

mod header;
pub mod record;
mod scan;
mod set;

pub use header::{HEADER_LEN, HeaderError};
pub(crate) use header::{State as HeaderState, encode as encode_header, read as read_header};
pub(crate) use scan::{Flaw, Found, Scanner, examine, load};
pub(crate) use set::VolumeSet;

use std::fmt;

/// The number of a volume, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeNo(pub u32);

impl VolumeNo {
    /// The volume that is begun when this one is full.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The file's name.
    pub fn file_name(self) -> String {
        format!("vol-{:08}.cfv", self.0)
    }

    /// The inverse of [`VolumeNo::file_name`]; `None` for files that are not volumes.
    pub fn parse(file_name: &str) -> Option<Self> {
        let digits = file_name.strip_prefix("vol-")?.strip_suffix(".cfv")?;
        let no = Self(digits.parse().ok()?);
        (no.file_name() == file_name).then_some(no)
    }
}

impl fmt::Display for VolumeNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::VolumeNo;

    #[test]
    fn file_names_read_back_and_others_are_passed_over() {
        for no in [1, 99_999_999, u32::MAX] {
            assert_eq!(VolumeNo::parse(&VolumeNo(no).file_name()), Some(VolumeNo(no)));
        }
        for other in ["vol-1.cfv", "vol-00000001.cfv.bak", "vol-+0000001.cfv", "LOCK"] {
            assert_eq!(VolumeNo::parse(other), None);
        }
    }
}
