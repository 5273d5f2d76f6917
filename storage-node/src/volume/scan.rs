//! Walking through a volume from record to record, over whatever lies between.

use super::VolumeNo;
use super::record::{self, ALIGN, HEAD_LEN, Kind, MAGIC, Place, Record};
use crate::disk::DiskFile;
use bytes::{Buf, Bytes};
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

impl Found {
    /// The first byte.
    pub(crate) fn start(&self) -> u64 {
        match self {
            Self::Record { offset: start, .. } | Self::Bad { start, .. } => *start,
        }
    }
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
    /// Bytes read since [`Scanner::take_read`] was called.
    read: u64,
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
        Ok(Self { file, node, volume, at: from, end, window: Vec::new(), window_at: 0, read: 0 })
    }

    /// Bytes that were read since the last call.
    pub(crate) fn take_read(&mut self) -> u64 {
        std::mem::take(&mut self.read)
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
            self.read += n as u64;
            self.window_at = offset;
        }
        let start = usize::try_from(offset - self.window_at).unwrap_or(usize::MAX);
        let rest = self.window.get(start..).unwrap_or_default();
        Ok(&rest[..len.min(rest.len())])
    }
}

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Its header or table is damaged, or it is another record.
    Record,
    /// The first block that does not match its checksum.
    Block(u32),
}

/// A shard's record, of which every byte was verified.
#[derive(Debug)]
pub(crate) struct Whole {
    /// The checksums of its blocks, as they were read.
    pub(crate) table: Bytes,
    pub(crate) payload: Bytes,
}

/// Reads and verifies every byte of the record at `place`, which should be of this kind.
pub(crate) fn load(
    file: &dyn DiskFile,
    place: &Place,
    kind: &Kind,
) -> io::Result<Result<Whole, Flaw>> {
    let head_len = kind.info().map_or(HEAD_LEN, record::head_len);
    let len = kind.info().map_or(0, |info| info.len as usize);
    let mut bytes = vec![0; head_len + len];
    let n = file.read_at(&mut bytes, place.offset)?;
    bytes.truncate(n);
    match record::verify(&bytes, place) {
        Ok((record, _)) if record.kind == *kind => {}
        _ => return Ok(Err(Flaw::Record)),
    }
    let mut table = Bytes::from(bytes);
    let payload = table.split_off(head_len);
    table.advance(HEAD_LEN);
    let bad = kind.info().and_then(|info| {
        let all = BlockRange { first: 0, count: info.blocks() };
        record::first_bad(&table, &payload, info.block_size, all)
    });
    Ok(bad.map_or(Ok(Whole { table, payload }), |block| Err(Flaw::Block(block))))
}

/// What is wrong with the record at `place`, which should be of this kind; `None` if it is as it
/// was written. Reads and verifies every byte.
pub(crate) fn examine(file: &dyn DiskFile, place: &Place, kind: &Kind) -> io::Result<Option<Flaw>> {
    Ok(load(file, place, kind)?.err())
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_core::ids::BlobId;
    use coffer_core::shard::ShardKey;
    use proptest::prelude::*;

    const NODE: NodeId = NodeId::from_bytes([7; 16]);
    const VOLUME: VolumeNo = VolumeNo(3);

    /// A file that is only read.
    #[derive(Debug)]
    struct Bytes(Vec<u8>);

    impl DiskFile for Bytes {
        fn size(&self) -> io::Result<u64> {
            Ok(self.0.len() as u64)
        }
        fn allocated(&self) -> io::Result<u64> {
            self.size()
        }
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            let rest = self.0.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
            let n = rest.len().min(buf.len());
            buf[..n].copy_from_slice(&rest[..n]);
            Ok(n)
        }
        fn write_at(&self, _: &[&[u8]], _: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn sync_data(&self) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn set_len(&self, _: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn punch_hole(&self, _: u64, _: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    fn tombstone(seq: u64) -> Record {
        let key = ShardKey { blob: BlobId::from_bytes([1; 16]), chunk: 0, index: 0, generation: 0 };
        Record { kind: Kind::Tombstone { key, kills: None }, seq, synced: 0 }
    }

    /// Bytes that may look like the begin of a record, and may end anywhere.
    fn junk() -> impl Strategy<Value = Vec<u8>> {
        (any::<bool>(), prop::collection::vec(any::<u8>(), 0..200)).prop_map(
            |(magic, mut bytes)| {
                if magic && bytes.len() >= 9 {
                    bytes[..8].copy_from_slice(&MAGIC);
                    bytes[8] = bytes[8] % 3 + 1;
                }
                bytes
            },
        )
    }

    proptest! {
        #[test]
        fn every_intact_record_is_found_between_whatever_bytes(
            pieces in prop::collection::vec(junk(), 0..6), tail in junk(),
        ) {
            let mut bytes = Vec::new();
            let mut expected = Vec::new();
            for (seq, piece) in (0u64..).zip(&pieces) {
                bytes.extend_from_slice(piece);
                bytes.resize(bytes.len().next_multiple_of(ALIGN as usize), 0);
                let offset = bytes.len() as u64;
                let place = Place { node: NODE, volume: VOLUME, offset };
                bytes.extend_from_slice(&record::encode(&tombstone(seq), &place, &[]));
                expected.push((offset, tombstone(seq)));
            }
            bytes.extend_from_slice(&tail);
            let file = Bytes(bytes);
            let mut scanner = Scanner::new(&file, NODE, VOLUME, 0).unwrap();
            let (mut found, mut at) = (Vec::new(), 0);
            while let Some(next) = scanner.next().unwrap() {
                // No byte is passed over, none is looked at twice.
                match next {
                    Found::Record { offset, record } => {
                        prop_assert_eq!(offset, at);
                        found.push((offset, record));
                        at += record.total_len();
                    }
                    Found::Bad { start, end } => {
                        prop_assert!(start == at && end > start);
                        at = end;
                    }
                }
            }
            prop_assert_eq!(found, expected);
            prop_assert_eq!(at, file.0.len() as u64);
        }
    }
}
