//! Reads, each block verified against its checksum unless the caller authenticates what it reads.

use super::Shared;
use super::findings::Reported;
use crate::disk::DiskFile;
use crate::index::{IndexError, Location};
use crate::volume::VolumeNo;
use crate::volume::record::{self, CHECKSUM_LEN, HEAD_LEN, Kind};
use bytes::Bytes;
use coffer_core::shard::{BlockRange, Damage, ShardError, ShardKey};
use std::ops::Range;

pub(super) fn index_failed(error: IndexError) -> ShardError {
    ShardError::Disk(error.to_string())
}

/// What of a read is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// That the record is the one that was asked for.
    Record,
    /// That, and each block against its checksum.
    Blocks,
}

/// Reads blocks of a shard.
pub(super) fn read(
    shared: &Shared,
    key: ShardKey,
    blocks: BlockRange,
    check: Check,
) -> Result<Bytes, ShardError> {
    let mut location = locate(shared, key)?;
    loop {
        // The shape is the index's: a request that does not fit it is no damage.
        let range = blocks.bytes_in(&location.info)?;
        let damage = match read_at(shared, key, location, blocks, range, check) {
            Ok(bytes) => return Ok(bytes),
            Err(damage) => damage,
        };
        let error = match &damage {
            Damage::BadBlock { block } => ShardError::Corrupt { block: *block },
            Damage::BadRecord => ShardError::Corrupt { block: blocks.first },
            Damage::Unreadable(error) => ShardError::Disk(error.clone()),
        };
        match shared.findings.report(&*shared.index, key, location, damage) {
            // A shard that was replaced or deleted meanwhile may have lost its payload to a hole.
            Ok(Reported::Replaced) => location = locate(shared, key)?,
            Ok(Reported::New | Reported::Known) => return Err(error),
            Err(failed) => return Err(index_failed(failed)),
        }
    }
}

/// Reads blocks of a shard that need not be checked, if that takes no waiting for the disk; else,
/// and whatever is wrong, there is nothing, and [`read`] is the one to ask.
pub(super) fn read_at_hand(shared: &Shared, key: ShardKey, blocks: BlockRange) -> Option<Bytes> {
    let location = locate(shared, key).ok()?;
    let range = blocks.bytes_in(&location.info).ok()?;
    let file = shared.volumes.get(location.volume())?;
    let start = payload_at(&location, &range);
    if !file.is_at_hand(HEAD_LEN, location.offset) || !file.is_at_hand(range.len(), start) {
        return None;
    }
    read_at(shared, key, location, blocks, range, Check::Record).ok()
}

fn locate(shared: &Shared, key: ShardKey) -> Result<Location, ShardError> {
    shared.index.get(key).map_err(index_failed)?.ok_or(ShardError::NotFound)
}

/// Where a range of a shard's payload lies in its volume.
fn payload_at(location: &Location, range: &Range<u32>) -> u64 {
    location.offset + record::head_len(&location.info) as u64 + u64::from(range.start)
}

/// One block costs its own bytes, the record's header, and the table up to its entry if it is checked.
fn read_at(
    shared: &Shared,
    key: ShardKey,
    location: Location,
    blocks: BlockRange,
    range: Range<u32>,
    check: Check,
) -> Result<Bytes, Damage> {
    let info = location.info;
    let file = shared.volumes.get(location.volume()).ok_or_else(|| missing(location.volume()))?;

    let checksums = match check {
        Check::Record => 0,
        Check::Blocks => (blocks.first + blocks.count) as usize,
    };
    let mut head = vec![0; HEAD_LEN + checksums * CHECKSUM_LEN];
    read_exact(&*file, &mut head, location.offset, Damage::BadRecord)?;
    // The index is a cache: the record must be the one that was asked for.
    match record::peek(&head).map(|r| r.kind) {
        Ok(Kind::Shard { key: k, info: i }) if k == key && i == info => {}
        _ => return Err(Damage::BadRecord),
    }
    let data = file
        .read_new(range.len(), payload_at(&location, &range))
        .map_err(|e| Damage::unreadable(&e))?;
    if data.len() != range.len() {
        return Err(Damage::BadBlock { block: blocks.first });
    }
    if check == Check::Record {
        return Ok(Bytes::from(data));
    }
    match record::first_bad(&head[HEAD_LEN..], &data, info.block_size, blocks) {
        None => Ok(Bytes::from(data)),
        Some(block) => Err(Damage::BadBlock { block }),
    }
}

fn read_exact(
    file: &dyn DiskFile,
    buf: &mut [u8],
    offset: u64,
    short: Damage,
) -> Result<(), Damage> {
    let n = file.read_at(buf, offset).map_err(|e| Damage::unreadable(&e))?;
    if n == buf.len() { Ok(()) } else { Err(short) }
}

/// The damage of all shards of a volume that is not there.
fn missing(volume: VolumeNo) -> Damage {
    Damage::unreadable(&format_args!("volume {volume} is missing"))
}
