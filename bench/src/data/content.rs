//! The bytes of objects: incompressible, unlike any other object's, and known from the seed alone.

use super::dice::{STEP, mix};
use super::shard::{Sample, Shard};
use bytes::Bytes;
use std::sync::Arc;

/// What an object holds. Any piece of it can be made without the others.
#[derive(Debug, Clone)]
pub struct Content {
    seed: u64,
    len: u64,
    shard: Option<Arc<Shard>>,
}

impl Content {
    /// `len` random bytes.
    pub fn random(seed: u64, len: u64) -> Self {
        Self { seed: mix(seed), len, shard: None }
    }

    /// A tar shard whose samples hold random bytes.
    pub fn shard(seed: u64, shard: Arc<Shard>) -> Self {
        Self { seed: mix(seed), len: shard.len(), shard: Some(shard) }
    }

    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The samples in it, if it is a shard.
    pub fn samples(&self) -> &[Sample] {
        self.shard.as_ref().map_or(&[], |shard| shard.samples())
    }

    /// Writes the bytes from `offset` on into `out`.
    pub fn fill(&self, offset: u64, out: &mut [u8]) {
        let skip = usize::try_from(offset % 8).unwrap_or(0);
        let (head, rest) = out.split_at_mut(((8 - skip) % 8).min(out.len()));
        let mut word = offset / 8;
        if !head.is_empty() {
            head.copy_from_slice(&self.word(word)[skip..skip + head.len()]);
            word += 1;
        }
        let mut words = rest.chunks_exact_mut(8);
        for eight in &mut words {
            eight.copy_from_slice(&self.word(word));
            word += 1;
        }
        let tail = words.into_remainder();
        let last = self.word(word);
        tail.copy_from_slice(&last[..tail.len()]);
        if let Some(shard) = &self.shard {
            shard.overlay(offset, out);
        }
    }

    /// SplitMix64, whose state after any number of steps is known without taking them.
    fn word(&self, number: u64) -> [u8; 8] {
        mix(self.seed.wrapping_add(number.wrapping_mul(STEP))).to_le_bytes()
    }

    /// The `len` bytes from `offset` on, in memory.
    pub fn bytes(&self, offset: u64, len: u64) -> Bytes {
        let mut out = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        self.fill(offset, &mut out);
        out.into()
    }
}

/// Holds what arrives against what was stored.
#[derive(Debug, Clone)]
pub struct Check {
    content: Content,
    next: u64,
    end: u64,
}

/// How much is compared at a time.
const STRIDE: usize = 64 * 1024;

impl Check {
    /// Expects `len` bytes of `content` from `offset` on.
    pub fn new(content: Content, offset: u64, len: u64) -> Self {
        Self { content, next: offset, end: offset + len }
    }

    /// Takes what has arrived. False if it is not what was stored, or more than that.
    pub fn take(&mut self, arrived: &[u8]) -> bool {
        let mut expected = [0; STRIDE];
        for piece in arrived.chunks(STRIDE) {
            let expected = &mut expected[..piece.len()];
            self.content.fill(self.next, expected);
            self.next += u64::try_from(piece.len()).unwrap_or(u64::MAX);
            if self.next > self.end || piece != expected {
                return false;
            }
        }
        true
    }

    /// Whether all that was expected has arrived.
    pub fn is_complete(&self) -> bool {
        self.next == self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn objects_differ_and_do_not_compress() {
        let bytes = |seed| Content::random(seed, 65_536).bytes(0, 65_536);
        let (one, other) = (bytes(1), bytes(2));
        let equal = one.iter().zip(&other).filter(|(a, b)| a == b).count();
        assert!(equal < 500, "{equal}");
        let mut counts = [0u32; 256];
        one.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
        let share = |count: u32| f64::from(count) / 65_536.0;
        let entropy: f64 =
            counts.iter().filter(|c| **c > 0).map(|c| -share(*c) * share(*c).log2()).sum();
        assert!(entropy > 7.99, "{entropy}");
    }

    proptest! {
        #[test]
        fn any_piece_is_a_piece_of_the_whole(seed: u64, len in 0u64..5_000, from: u64, size: u64) {
            let content = Content::random(seed, len);
            let whole = content.bytes(0, len);
            let from = from % (len + 1);
            let size = size % (len - from + 1);
            let at = |n: u64| usize::try_from(n).unwrap();
            prop_assert_eq!(&content.bytes(from, size)[..], &whole[at(from)..at(from + size)]);
        }

        #[test]
        fn a_check_takes_the_right_bytes_only(seed: u64, len in 1u64..200_000, flip: u64, cut: u64) {
            let content = Content::random(seed, len);
            let mut bytes = content.bytes(0, len).to_vec();
            let at = |n: u64| usize::try_from(n % len).unwrap();
            let (one, two) = bytes.split_at(at(cut));
            let mut check = Check::new(content.clone(), 0, len);
            prop_assert!(check.take(one) && !check.is_complete() && check.take(two));
            prop_assert!(check.is_complete());
            prop_assert!(!check.take(&[0]), "one byte too many");
            bytes[at(flip)] ^= 1;
            prop_assert!(!Check::new(content, 0, len).take(&bytes));
        }
    }
}
