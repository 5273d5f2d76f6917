//! Where a byte lives: object → part → chunk → segment → shard → block.
//!
//! A part's plaintext is cut into chunks of [`CHUNK_LEN`] bytes (the last may be shorter). A chunk
//! is cut into segments, each sealed on its own, and the sealed segments are dealt out in order and
//! contiguously: shard `i` holds segments `i*s .. (i+1)*s`. So a read within one segment touches
//! one block of one shard on one node. A block of a shard *is* a sealed segment.
//!
//! ```text
//! chunk, code 4+2, s = 16     segment 0 ... 15 | 16 ... 31 | 32 ... 47 | 48 ... 63 |  parity
//! shard                              0         |     1     |     2     |     3     | 4 | 5
//! ```
//!
//! Short chunks get smaller segments, so that padding stays small, and where even the smallest
//! segments do not fill `k` shards, fewer data shards are used: a 3 KiB object is 2+2, not 4+2.

use crate::erasure::Code;
use crate::shard::{BlockRange, ShardInfo};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The longest segment, in bytes of plaintext.
pub const MAX_SEGMENT: u32 = 64 * 1024;
/// The shortest segment length that is chosen, in bytes of plaintext.
pub const MIN_SEGMENT: u32 = 2 * 1024;
/// Segments of full size in a full chunk.
pub const CHUNK_SEGMENTS: u32 = 64;
/// Bytes of plaintext in a full chunk: 4 MiB.
pub const CHUNK_LEN: u32 = CHUNK_SEGMENTS * MAX_SEGMENT;
/// Bytes that sealing adds to a segment.
pub const TAG_LEN: u32 = 16;

/// Segment lengths are multiples of this, so that cipher and coder work on whole cache lines.
const SEGMENT_ALIGN: u32 = 64;

/// How a chunk is cut: its length, its segments' length, and its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkShape {
    len: u32,
    segment: u32,
    code: Code,
}

/// A shape that no writer of ours makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a chunk of {len} bytes in segments of {segment} bytes is not a legal shape")]
pub struct ShapeError {
    len: u32,
    segment: u32,
}

impl ChunkShape {
    /// The shape for `len` bytes of plaintext under the bucket's code.
    ///
    /// # Errors
    /// [`ShapeError`] when `len` is 0 or over [`CHUNK_LEN`].
    pub fn new(len: u32, bucket_code: Code) -> Result<Self, ShapeError> {
        if len == 0 || len > CHUNK_LEN {
            return Err(ShapeError { len, segment: 0 });
        }
        let k = u32::try_from(bucket_code.k()).unwrap_or(1);
        let per_shard = len.div_ceil(k * MAX_SEGMENT);
        let segment = len
            .div_ceil(k * per_shard)
            .next_multiple_of(SEGMENT_ALIGN)
            .clamp(MIN_SEGMENT, MAX_SEGMENT);
        let data_shards = len.div_ceil(segment).div_ceil(per_shard);
        Ok(Self { len, segment, code: bucket_code.with_data(data_shards as usize) })
    }

    /// Checks a shape that was read from outside.
    ///
    /// # Errors
    /// [`ShapeError`] when the numbers contradict each other.
    pub fn check(self) -> Result<Self, ShapeError> {
        let fits = self.len > 0
            && self.len <= CHUNK_LEN
            && self.segment > 0
            && self.segment <= MAX_SEGMENT
            && self.segments() >= u32::try_from(self.code.k()).unwrap_or(u32::MAX);
        if fits { Ok(self) } else { Err(ShapeError { len: self.len, segment: self.segment }) }
    }

    /// Bytes of plaintext.
    pub fn len(self) -> u32 {
        self.len
    }

    /// A chunk is never empty: an object of no bytes has no chunks.
    pub fn is_empty(self) -> bool {
        false
    }

    /// The code of this chunk; `k` may be less than the bucket's.
    pub fn code(self) -> Code {
        self.code
    }

    /// Segments in the chunk.
    pub fn segments(self) -> u32 {
        self.len.div_ceil(self.segment)
    }

    /// Segments (blocks) in each data shard; the last shard may be padded with zeros.
    pub fn segments_per_shard(self) -> u32 {
        self.segments().div_ceil(u32::try_from(self.code.k()).unwrap_or(1))
    }

    /// Bytes of a sealed segment of full length: the block size of the shards.
    pub fn block_size(self) -> u32 {
        self.segment + TAG_LEN
    }

    /// Bytes of each shard.
    pub fn shard_len(self) -> u32 {
        self.segments_per_shard() * self.block_size()
    }

    /// Bytes of all shards, parity included: what a chunk costs on disk, headers aside.
    pub fn stripe_len(self) -> usize {
        self.shard_len() as usize * self.code.n()
    }

    /// What the nodes record of each shard.
    pub fn shard_info(self) -> ShardInfo {
        ShardInfo { code: self.code, block_size: self.block_size(), len: self.shard_len() }
    }

    /// The plaintext of segment `i`, as a range within the chunk.
    pub fn segment_range(self, i: u32) -> Range<u32> {
        let start = i.saturating_mul(self.segment).min(self.len);
        start..start.saturating_add(self.segment).min(self.len)
    }

    /// Where sealed segment `i` lies in the stripe (the shards one after the other), tag included.
    pub fn sealed_range(self, i: u32) -> Range<usize> {
        let plain = self.segment_range(i);
        let start = i as usize * self.block_size() as usize;
        start..start + (plain.len() + TAG_LEN as usize)
    }

    /// The segments that hold the bytes `range` of the chunk's plaintext.
    pub fn segments_for(self, range: &Range<u32>) -> Range<u32> {
        debug_assert!(range.start < range.end && range.end <= self.len);
        range.start / self.segment..range.end.div_ceil(self.segment)
    }

    /// The reads that fetch the segments `wanted`: for each data shard that holds some of them, its
    /// index and its blocks.
    pub fn reads_for(self, wanted: &Range<u32>) -> Vec<(u8, BlockRange)> {
        let per_shard = self.segments_per_shard();
        (wanted.start / per_shard..wanted.end.div_ceil(per_shard))
            .filter_map(|shard| {
                let first = wanted.start.max(shard * per_shard);
                let end = wanted.end.min((shard + 1) * per_shard);
                let index = u8::try_from(shard).ok()?;
                Some((index, BlockRange { first: first - shard * per_shard, count: end - first }))
            })
            .collect()
    }
}

/// A piece of a part that a range read needs: the bytes `range` of chunk number `chunk`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkSlice {
    /// Which chunk.
    pub chunk: u32,
    /// Bytes within it.
    pub range: Range<u32>,
}

/// Cuts the bytes `range` of a part into slices of its chunks.
pub fn slices(range: Range<u64>) -> impl Iterator<Item = ChunkSlice> {
    let chunk_len = u64::from(CHUNK_LEN);
    let chunks = range.start / chunk_len..range.end.div_ceil(chunk_len);
    chunks.filter_map(move |chunk| {
        let base = chunk * chunk_len;
        let start = range.start.saturating_sub(base);
        let end = (range.end - base).min(chunk_len);
        Some(ChunkSlice {
            chunk: u32::try_from(chunk).ok()?,
            range: u32::try_from(start).ok()?..u32::try_from(end).ok()?,
        })
        .filter(|s| s.range.start < s.range.end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shape(len: u32) -> ChunkShape {
        ChunkShape::new(len, Code::DEFAULT).unwrap()
    }

    #[test]
    fn a_full_chunk_has_64_segments_over_four_shards() {
        let s = shape(CHUNK_LEN);
        assert_eq!((s.segments(), s.segments_per_shard(), s.block_size()), (64, 16, 65_552));
        assert_eq!(s.stripe_len(), 6 * 16 * 65_552);
    }

    #[test]
    fn small_chunks_use_fewer_data_shards_and_little_padding() {
        assert_eq!(shape(1).code().to_string(), "1+2");
        assert_eq!(shape(3 * 1024).code().to_string(), "2+2");
        assert_eq!(shape(4 * 1024).code().to_string(), "2+2");
        assert_eq!(shape(8 * 1024).code().to_string(), "4+2");
        // Padding and tags together stay under 3 % from 64 KiB up.
        for len in [64 * 1024, 100_000, 300_000, 1_000_003, CHUNK_LEN - 1] {
            let overhead = shape(len).stripe_len() as f64 / (f64::from(len) * 1.5);
            assert!(overhead < 1.03, "{len}: {overhead}");
        }
    }

    #[test]
    fn a_4_kib_range_touches_one_node_and_at_most_two_blocks() {
        let s = shape(CHUNK_LEN);
        let reads = s.reads_for(&s.segments_for(&(1_000_000..1_004_096)));
        assert_eq!(reads, vec![(0, BlockRange { first: 15, count: 1 })]);
        let crossing = s.reads_for(&s.segments_for(&(65_000..69_096)));
        assert_eq!(crossing, vec![(0, BlockRange { first: 0, count: 2 })]);
    }

    proptest! {
        #[test]
        fn every_shape_is_legal_and_covers_its_chunk(len in 1u32..=CHUNK_LEN, k in 1u8..=16, m in 1u8..=8) {
            let s = ChunkShape::new(len, Code::new(k, m).unwrap()).unwrap();
            prop_assert_eq!(s.check(), Ok(s));
            prop_assert!(s.shard_info().check().is_ok());
            prop_assert_eq!(s.code().m(), usize::from(m));
            // Each data shard holds at least one segment: no shard is mere padding.
            prop_assert!(s.segments() > (s.code().k() as u32 - 1) * s.segments_per_shard());
            let covered: u32 = (0..s.segments()).map(|i| s.segment_range(i).len() as u32).sum();
            prop_assert_eq!(covered, len);
            prop_assert!(s.sealed_range(s.segments() - 1).end <= s.shard_len() as usize * s.code().k());
        }

        #[test]
        fn reads_fetch_exactly_the_wanted_segments(len in 1u32..=CHUNK_LEN, a: u32, b: u32) {
            let s = shape(len);
            let (a, b) = (a % len, b % len);
            let range = a.min(b)..a.max(b) + 1;
            let wanted = s.segments_for(&range);
            prop_assert!(s.segment_range(wanted.start).contains(&range.start));
            prop_assert!(s.segment_range(wanted.end - 1).contains(&(range.end - 1)));
            let got: Vec<u32> = s.reads_for(&wanted).into_iter().flat_map(|(shard, r)| {
                let base = u32::from(shard) * s.segments_per_shard() + r.first;
                base..base + r.count
            }).collect();
            prop_assert_eq!(got, wanted.collect::<Vec<_>>());
        }

        #[test]
        fn slices_cover_the_range_once(start in 0u64..100_000_000, len in 1u64..50_000_000) {
            let mut at = start;
            for s in slices(start..start + len) {
                prop_assert_eq!(u64::from(s.chunk) * u64::from(CHUNK_LEN) + u64::from(s.range.start), at);
                at += s.range.len() as u64;
            }
            prop_assert_eq!(at, start + len);
        }
    }
}
