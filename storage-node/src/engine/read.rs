//! Reads, each block verified against its checksum.

use super::Shared;
use crate::disk::DiskFile;
use crate::index::{IndexError, Location};
use crate::volume::record::{self, CHECKSUM_LEN, HEAD_LEN, Kind};
use bytes::Bytes;
use coffer_core::shard::{BlockRange, ShardError, ShardKey};
use std::sync::atomic::Ordering;

pub(super) fn index_failed(error: IndexError) -> ShardError {
    ShardError::Disk(error.to_string())
}

/// Reads blocks of a shard.
pub(super) fn read(
    shared: &Shared,
    key: ShardKey,
    blocks: BlockRange,
) -> Result<Bytes, ShardError> {
    let mut location = locate(shared, key)?;
    loop {
        let outcome = read_at(shared, key, location, blocks);
        if !matches!(outcome, Err(ShardError::Corrupt { .. })) {
            return outcome;
        }
        // A shard that was replaced or deleted meanwhile may have lost its payload to a hole.
        let now = locate(shared, key)?;
        if now == location {
            shared.corrupt.fetch_add(1, Ordering::Relaxed);
            tracing::error!(shard = %key, volume = %location.volume(), offset = location.offset, "a block does not match its checksum");
            return outcome;
        }
        location = now;
    }
}

fn locate(shared: &Shared, key: ShardKey) -> Result<Location, ShardError> {
    shared.index.get(key).map_err(index_failed)?.ok_or(ShardError::NotFound)
}

/// One block costs its own bytes, its entry in the table, and the record's header.
fn read_at(
    shared: &Shared,
    key: ShardKey,
    location: Location,
    blocks: BlockRange,
) -> Result<Bytes, ShardError> {
    let info = location.info;
    let range = blocks.bytes_in(&info)?;
    let corrupt = ShardError::Corrupt { block: blocks.first };
    let missing = || ShardError::Disk(format!("volume {} is missing", location.volume()));
    let file = shared.volumes.get(location.volume()).ok_or_else(missing)?;

    let mut head = vec![0; HEAD_LEN + (blocks.first + blocks.count) as usize * CHECKSUM_LEN];
    read_exact(&*file, &mut head, location.offset, &corrupt)?;
    // The index is a cache: the record must be the one that was asked for.
    match record::peek(&head).map(|r| r.kind) {
        Ok(Kind::Shard { key: k, info: i }) if k == key && i == info => {}
        _ => return Err(corrupt),
    }
    let mut data = vec![0; range.len()];
    let start = location.offset + record::head_len(&info) as u64 + u64::from(range.start);
    read_exact(&*file, &mut data, start, &corrupt)?;
    match record::first_bad(&head[HEAD_LEN..], &data, info.block_size, blocks) {
        None => Ok(Bytes::from(data)),
        Some(block) => Err(ShardError::Corrupt { block }),
    }
}

fn read_exact(
    file: &dyn DiskFile,
    buf: &mut [u8],
    offset: u64,
    short: &ShardError,
) -> Result<(), ShardError> {
    let n = file.read_at(buf, offset).map_err(|e| ShardError::Disk(e.to_string()))?;
    if n == buf.len() { Ok(()) } else { Err(short.clone()) }
}
