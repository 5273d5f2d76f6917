//! Reading a part here and there.

use std::ops::Range;

use bytes::Bytes;

use super::load::joined;
use super::manifest::{CHUNK, Chunk, Part};
use super::tensors::{Header, HeaderError, LENGTH_BYTES, header_place};
use super::{CheckpointError, Checkpoints};
use crate::Digest;

/// Why the tensors of a part can't be told.
#[derive(Debug, thiserror::Error)]
pub enum TensorsError {
    /// The part can't be read, or is damaged.
    #[error(transparent)]
    Read(#[from] CheckpointError),
    /// It is as it was saved, but it isn't safetensors.
    #[error(transparent)]
    Header(#[from] HeaderError),
}

/// Reads ranges of a part. Each chunk that a range touches is read whole and checked; the last one
/// is kept, so that ranges that follow each other read nothing twice.
#[derive(Debug)]
pub struct PartReader<'a> {
    checkpoints: &'a Checkpoints,
    bytes: u64,
    chunks: Vec<(Chunk, u64)>,
    last: Option<(usize, Bytes)>,
}

impl Checkpoints {
    /// A reader of `part`.
    ///
    /// # Errors
    /// If its manifest makes no sense.
    pub fn reader<'a>(&'a self, part: &Part) -> Result<PartReader<'a>, CheckpointError> {
        let chunks = part.sized_chunks().ok_or_else(|| self.misfit())?.collect();
        Ok(PartReader { checkpoints: self, bytes: part.bytes, chunks, last: None })
    }
}

impl PartReader<'_> {
    /// The bytes at `range`, as far as the part has them.
    ///
    /// # Errors
    /// If a chunk can't be read or is damaged.
    pub async fn read(&mut self, range: Range<u64>) -> Result<Bytes, CheckpointError> {
        let mut pieces: Vec<Bytes> = Vec::new();
        for at in chunks_of(&range, self.bytes) {
            let chunk = self.chunk(at).await?;
            let start = length(at).saturating_mul(CHUNK);
            let inside = |place: u64| in_memory(place.saturating_sub(start)).min(chunk.len());
            pieces.push(chunk.slice(inside(range.start)..inside(range.end)));
        }
        Ok(joined(pieces))
    }

    /// The tensors of a safetensors file, from its header; nothing else is read.
    ///
    /// # Errors
    /// If it can't be read, or is no such file.
    pub async fn tensors(&mut self) -> Result<Header, TensorsError> {
        let start = self.read(0..LENGTH_BYTES).await?;
        let length = start.first_chunk().ok_or(HeaderError::Short(self.bytes))?;
        let header = self.read(header_place(*length, self.bytes)?).await?;
        Ok(Header::parse(&header, self.bytes)?)
    }

    /// Hashes of the part's chunks, in order.
    pub(super) fn hashes(&self) -> Vec<Digest> {
        self.chunks.iter().map(|(chunk, _)| chunk.blake3).collect()
    }

    async fn chunk(&mut self, at: usize) -> Result<Bytes, CheckpointError> {
        if let Some((_, content)) = self.last.as_ref().filter(|(last, _)| *last == at) {
            return Ok(content.clone());
        }
        let (chunk, bytes) = *self.chunks.get(at).ok_or_else(|| self.checkpoints.misfit())?;
        let content = self.checkpoints.chunk(chunk, bytes).await?;
        self.last = Some((at, content.clone()));
        Ok(content)
    }
}

/// The chunks that `range` of a part of `bytes` touches.
fn chunks_of(range: &Range<u64>, bytes: u64) -> Range<usize> {
    let end = range.end.min(bytes);
    if range.start >= end {
        return 0..0;
    }
    in_memory(range.start / CHUNK)..in_memory(end.div_ceil(CHUNK))
}

fn in_memory(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn length(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
