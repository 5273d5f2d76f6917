//! Walking through a volume from record to record, over whatever lies between.

use super::VolumeNo;
use super::record::{self, ALIGN, HEAD_LEN, MAGIC, Place, Record};
use crate::disk::DiskFile;
use coffer_core::ids::NodeId;
use coffer_core::shard::BlockRange;
use std::io;

/// Bytes read at once.
const WINDOW: usize = 64 * 1024;

/// What lies at a place of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// A record whose header and table are intact. Its payload has not been looked at.
    Record { offset: u64, record: Record },
    /// Bytes `start..end` that belong to no intact record.
    Bad { start: u64, end: u64 },
}

/// Reads headers, skipping payloads, and finds its feet again after damage by looking for the next
/// intact record.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    file: &'a dyn DiskFile,
    node: NodeId,
    volume: VolumeNo,
    at: u64,
    end: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl<'a> Scanner<'a> {
    /// Scans from `from`, a multiple of [`ALIGN`], to the end of the file.
    pub(crate) fn new(
        file: &'a dyn DiskFile,
        node: NodeId,
        volume: VolumeNo,
        from: u64,
    ) -> io::Result<Self> {
        let end = file.size()?;
        Ok(Self { file, node, volume, at: from, end, window: Vec::new(), window_at: 0 })
    }

    /// What comes next; `None` at the end of the file.
    pub(crate) fn next(&mut self) -> io::Result<Option<Found>> {
        if self.at >= self.end {
            return Ok(None);
        }
        let start = self.at;
        if let Some(record) = self.record_at(start)? {
            self.at = start + record.total_len();
            return Ok(Some(Found::Record { offset: start, record }));
        }
        let mut at = start + ALIGN;
        while at < self.end && !self.intact_at(at)? {
            at += ALIGN;
        }
        self.at = at.min(self.end);
        Ok(Some(Found::Bad { start, end: self.at }))
    }

    fn intact_at(&mut self, at: u64) -> io::Result<bool> {
        // Nearly all places end here, without a hash.
        Ok(self.bytes(at, MAGIC.len())? == MAGIC && self.record_at(at)?.is_some())
    }

    fn record_at(&mut self, offset: u64) -> io::Result<Option<Record>> {
        let Ok(peeked) = record::peek(self.bytes(offset, HEAD_LEN)?) else { return Ok(None) };
        let place = Place { node: self.node, volume: self.volume, offset };
        let head = self.bytes(offset, peeked.head_len())?;
        Ok(record::verify(head, &place).ok().map(|(record, _)| record))
    }

    /// `len` bytes from `offset` on, fewer at the end of the file.
    fn bytes(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        let window_end = self.window_at + self.window.len() as u64;
        let inside = offset >= self.window_at && offset + len as u64 <= window_end;
        if !inside {
            self.window.resize(len.max(WINDOW), 0);
            let n = self.file.read_at(&mut self.window, offset)?;
            self.window.truncate(n);
            self.window_at = offset;
        }
        let start = usize::try_from(offset - self.window_at).unwrap_or(usize::MAX);
        let rest = self.window.get(start..).unwrap_or_default();
        Ok(&rest[..len.min(rest.len())])
    }
}

/// The first block of the record at `offset` that does not match its checksum; `None` if all do.
pub(crate) fn first_bad_block(
    file: &dyn DiskFile,
    place: &Place,
    record: &Record,
) -> io::Result<Option<u32>> {
    let Some(info) = record.kind.info() else { return Ok(None) };
    let mut bytes = vec![0; record.head_len() + info.len as usize];
    let n = file.read_at(&mut bytes, place.offset)?;
    bytes.truncate(n);
    let Ok((_, table)) = record::verify(&bytes, place) else { return Ok(Some(0)) };
    let all = BlockRange { first: 0, count: info.blocks() };
    Ok(record::first_bad(table, &bytes[record.head_len()..], info.block_size, all))
}
