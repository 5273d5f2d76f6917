//! Sealing of a part: the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár, "Online
//! Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", CRYPTO 2015).
//!
//! Each part has a data key of its own, used for nothing else, so nonces only need to be unique
//! within the part:
//!
//! ```text
//! nonce   0..3    zero
//!         3..7    chunk number, big-endian      (the prefix)
//!         7..11   segment within the chunk      (the counter)
//!        11       1 for the part's last segment (the last flag)
//! AAD             "coffer segment v1" | blob id
//! ```
//!
//! A range read opens only its segments. Truncation (the last flag), reordering (the counters),
//! and swapping between objects (key and blob id) all fail to authenticate.

use super::cipher::Cipher;
use super::{CipherSuite, Key, SealError};
use crate::ids::BlobId;
use crate::layout::ChunkShape;
use std::ops::Range;

const DOMAIN: &[u8; 17] = b"coffer segment v1";

/// Which chunk of a part, and whether it is the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkPosition {
    /// The chunk's number, from 0.
    pub chunk: u32,
    /// Whether the part ends with it.
    pub last: bool,
}

/// Seals and opens the segments of one part.
pub struct PartSealer {
    cipher: Box<dyn Cipher>,
    aad: [u8; DOMAIN.len() + 16],
}

impl std::fmt::Debug for PartSealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PartSealer")
    }
}

impl PartSealer {
    /// A sealer for the part `blob` under its data key. A data key must never serve two blobs.
    ///
    /// # Errors
    /// When the cipher refuses the key.
    pub fn new(suite: CipherSuite, key: &Key, blob: BlobId) -> Result<Self, SealError> {
        let mut aad = [0u8; DOMAIN.len() + 16];
        aad[..DOMAIN.len()].copy_from_slice(DOMAIN);
        aad[DOMAIN.len()..].copy_from_slice(blob.as_bytes());
        Ok(Self { cipher: suite.keyed(key)?, aad })
    }

    /// Seals a chunk into a stripe of `shape.stripe_len()` bytes: the data shards in order, padded
    /// with zeros, then room for the parity, zero as yet.
    ///
    /// # Errors
    /// [`SealError::Length`] when `plain` is not `shape.len()` bytes.
    pub fn seal_chunk(
        &self,
        at: ChunkPosition,
        shape: ChunkShape,
        plain: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        if plain.len() != shape.len() as usize {
            return Err(SealError::Length { got: plain.len(), want: shape.len() as usize });
        }
        let mut stripe = Vec::with_capacity(shape.stripe_len());
        for i in 0..shape.segments() {
            let range = shape.segment_range(i);
            let start = stripe.len();
            stripe.extend_from_slice(&plain[range.start as usize..range.end as usize]);
            let nonce = nonce(at, i, shape);
            let tag = self.cipher.seal(nonce, &self.aad, &mut stripe[start..])?;
            stripe.extend_from_slice(&tag);
        }
        stripe.resize(shape.stripe_len(), 0);
        Ok(stripe)
    }

    /// Opens the segment `i` of a chunk in place: `sealed` is all of it. Its plaintext is left in
    /// front; returns its length.
    ///
    /// # Errors
    /// [`SealError::Forged`] when it does not authenticate; [`SealError::Length`] when `sealed` is
    /// not as long as the segment.
    pub fn open_segment(
        &self,
        at: ChunkPosition,
        shape: ChunkShape,
        i: u32,
        sealed: &mut [u8],
    ) -> Result<usize, SealError> {
        let (got, want) = (sealed.len(), shape.sealed_range(i).len());
        if got != want {
            return Err(SealError::Length { got, want });
        }
        self.cipher.open(nonce(at, i, shape), &self.aad, sealed)?;
        Ok(shape.segment_range(i).len())
    }

    /// Opens the segments `wanted` of a chunk in place. `sealed` holds them in order, each at full
    /// block size but for the chunk's last, which ends where it ends; the plaintext is moved
    /// together at the front, and its length returned.
    ///
    /// # Errors
    /// [`SealError::Forged`] at the first segment that does not authenticate; [`SealError::Length`]
    /// when `sealed` is too short.
    pub fn open_segments(
        &self,
        at: ChunkPosition,
        shape: ChunkShape,
        wanted: Range<u32>,
        sealed: &mut [u8],
    ) -> Result<usize, SealError> {
        let mut plain_end = 0;
        let mut sealed_at = 0;
        for i in wanted {
            let sealed_len = shape.sealed_range(i).len();
            let got = sealed.len();
            let block = sealed
                .get_mut(sealed_at..sealed_at + sealed_len)
                .ok_or(SealError::Length { got, want: sealed_at + sealed_len })?;
            let plain_len = self.open_segment(at, shape, i, block)?;
            sealed.copy_within(sealed_at..sealed_at + plain_len, plain_end);
            plain_end += plain_len;
            sealed_at += sealed_len;
        }
        Ok(plain_end)
    }
}

fn nonce(at: ChunkPosition, segment: u32, shape: ChunkShape) -> [u8; 12] {
    let last = at.last && segment + 1 == shape.segments();
    let mut nonce = [0u8; 12];
    nonce[3..7].copy_from_slice(&at.chunk.to_be_bytes());
    nonce[7..11].copy_from_slice(&segment.to_be_bytes());
    nonce[11] = u8::from(last);
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::erasure::Code;
    use proptest::prelude::*;

    fn sealer(key: u8, blob: u8) -> PartSealer {
        PartSealer::new(
            CipherSuite::default(),
            &Key::from_bytes([key; 32]),
            BlobId::from_bytes([blob; 16]),
        )
        .unwrap()
    }

    fn plain(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 31 % 251) as u8).collect()
    }

    const AT: ChunkPosition = ChunkPosition { chunk: 3, last: true };

    #[test]
    fn moving_truncating_or_swapping_is_noticed() {
        let shape = ChunkShape::new(300_000, Code::DEFAULT).unwrap();
        let stripe = sealer(1, 1).seal_chunk(AT, shape, &plain(300_000)).unwrap();
        let first = shape.sealed_range(0);
        let open = |s: &PartSealer, at, segment: u32| {
            let mut block = stripe[shape.sealed_range(segment)].to_vec();
            s.open_segments(at, shape, segment..segment + 1, &mut block)
        };
        assert_eq!(open(&sealer(1, 1), AT, 0), Ok(shape.segment_range(0).len()));
        assert_eq!(open(&sealer(2, 1), AT, 0), Err(SealError::Forged), "another key");
        assert_eq!(open(&sealer(1, 2), AT, 0), Err(SealError::Forged), "another blob");
        let moved = ChunkPosition { chunk: 4, ..AT };
        assert_eq!(open(&sealer(1, 1), moved, 0), Err(SealError::Forged), "another chunk");
        let not_last = ChunkPosition { last: false, ..AT };
        let end = shape.segments() - 1;
        assert_eq!(open(&sealer(1, 1), not_last, end), Err(SealError::Forged), "not the end");
        let mut swapped = stripe[first.clone()].to_vec();
        assert_eq!(
            sealer(1, 1).open_segments(AT, shape, 1..2, &mut swapped),
            Err(SealError::Forged),
            "another segment"
        );
    }

    #[test]
    fn no_plaintext_shows_in_the_stripe() {
        let shape = ChunkShape::new(100_000, Code::DEFAULT).unwrap();
        let text = b"the quick brown fox ".repeat(5000);
        let stripe = sealer(1, 1).seal_chunk(AT, shape, &text).unwrap();
        assert!(!stripe.windows(10).any(|w| w == b"quick brow"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_run_of_segments_opens_to_its_plaintext(len in 1u32..500_000, a: prop::sample::Index, b: prop::sample::Index) {
            let shape = ChunkShape::new(len, Code::DEFAULT).unwrap();
            let plain = plain(len as usize);
            let s = sealer(5, 6);
            let stripe = s.seal_chunk(AT, shape, &plain).unwrap();
            let (a, b) = (a.index(shape.segments() as usize) as u32, b.index(shape.segments() as usize) as u32);
            let wanted = a.min(b)..a.max(b) + 1;
            let bytes = shape.sealed_range(wanted.start).start..shape.sealed_range(wanted.end - 1).end;
            let mut sealed = stripe[bytes].to_vec();
            let n = s.open_segments(AT, shape, wanted.clone(), &mut sealed).unwrap();
            let want = shape.segment_range(wanted.start).start as usize..shape.segment_range(wanted.end - 1).end as usize;
            prop_assert_eq!(&sealed[..n], &plain[want]);
        }
    }
}
