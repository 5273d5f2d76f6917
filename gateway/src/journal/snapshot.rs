//! Snapshots are written: all rows of the catalog as of one index, as they stand on disk.
//!
//! A record of a snapshot is made of frames: the position in the log first, then pages of rows.

use super::nodes::Nodes;
use super::{JournalConfig, JournalError};
use crate::catalog::raft::snapshot::{Page, Row};
use crate::catalog::raft::types::LogId;
use crate::catalog::store::export::Export;
use coffer_core::catalog::KvError;
use coffer_core::journal::record::{RecordError, frame};
use coffer_core::journal::{Cutter, Position, Record};
use coffer_core::random::{OsRandom, array};
use coffer_core::seal::Envelope;
use std::collections::HashSet;
use std::time::Duration;

/// Rows that share a frame, in bytes, if that is more than one.
const FRAME: usize = 1 << 20;

/// A snapshot that has been written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Its record.
    pub record: Record,
    /// Its length in bytes.
    pub bytes: u64,
}

/// A position as the journal has it.
pub fn position(id: LogId) -> Position {
    Position { term: id.leader_id.term, leader: id.leader_id.node_id.0, index: id.index }
}

/// Writes a snapshot of the moment when `export` began, which is as of `last`.
///
/// # Errors
/// [`JournalError`]; what was written so far is left, and passed over by readers.
pub async fn write(
    last: LogId,
    mut export: Export,
    nodes: &Nodes,
    envelope: &Envelope,
    config: &JournalConfig,
) -> Result<Written, JournalError> {
    let unnamed = || JournalError::Record(format!("index {} has no name", last.index));
    let attempt = array(&OsRandom).map_err(|e| JournalError::Record(e.to_string()))?;
    let record = Record::snapshot(last.index, u16::from_be_bytes(attempt)).ok_or_else(unnamed)?;
    let mut cutter = Cutter::new(envelope, &OsRandom, record);
    cutter.push(&framed(&position(last))?);
    let mut bytes = 0;
    loop {
        let read = tokio::task::spawn_blocking(move || (export.next_page(), export)).await;
        let broke_off = |e| KvError::Io(format!("reading the catalog broke off: {e}"));
        let (page, rest) = read.map_err(broke_off)?;
        export = rest;
        let Some(page) = page? else { break };
        for frame in frames(page)? {
            cutter.push(&frame);
            while let Some(part) = cutter.next_part()? {
                bytes += store(record, part, nodes, config).await?;
            }
        }
    }
    bytes += store(record, cutter.finish()?, nodes, config).await?;
    Ok(Written { record, bytes })
}

/// Stores a part, and takes the time that its bytes are to take.
async fn store(
    record: Record,
    part: (u32, bytes::Bytes),
    nodes: &Nodes,
    config: &JournalConfig,
) -> Result<u64, JournalError> {
    let len = u64::try_from(part.1.len()).unwrap_or(u64::MAX);
    let until = tokio::time::Instant::now()
        + Duration::from_millis(len.saturating_mul(1000) / config.snapshot_rate.max(1));
    nodes().store(record, part, config.copies).await?;
    tokio::time::sleep_until(until).await;
    Ok(len)
}

/// The rows of a page as frames of a bounded length.
fn frames(page: Page) -> Result<Vec<Vec<u8>>, RecordError> {
    let mut frames = Vec::new();
    let (mut rows, mut bytes): (Vec<Row>, usize) = (Vec::new(), 0);
    for row in page.rows {
        bytes += row.key.len() + row.value.len();
        rows.push(row);
        if bytes >= FRAME {
            frames.push(framed(&Page { rows: std::mem::take(&mut rows) })?);
            bytes = 0;
        }
    }
    if !rows.is_empty() {
        frames.push(framed(&Page { rows })?);
    }
    Ok(frames)
}

fn framed<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, RecordError> {
    frame(&postcard::to_stdvec(value).map_err(|e| RecordError(e.to_string()))?)
}

/// Deletes what a snapshot takes the place of.
pub async fn delete_older(snapshot: Record, nodes: &Nodes) {
    let listing = nodes().list().await;
    let old: HashSet<Record> = listing.names.obsolete(snapshot).collect();
    listing.delete(&old).await;
    tracing::debug!(records = old.len(), %snapshot, "old records of the journal are deleted");
}
