//! What the compression function is written over: one stream's word, or a word of several streams.

use std::array;
use std::ops::{BitAnd, BitOr, BitXor};
use wide::u32x4;

/// Words of 32 bits, of one stream or of several, side by side.
pub(super) trait Words:
    Copy + BitAnd<Output = Self> + BitOr<Output = Self> + BitXor<Output = Self>
{
    /// How many streams.
    const STREAMS: usize;

    /// The same word for all streams.
    fn splat(word: u32) -> Self;
    /// The word of each stream, from a function of its number.
    fn of(word: impl Fn(usize) -> u32) -> Self;
    /// The word of one stream.
    fn get(self, stream: usize) -> u32;
    fn add(self, other: Self) -> Self;
    fn rotate_left(self, by: u32) -> Self;
    /// The little-endian words of a block of each stream: `block` gives those of one.
    fn load<'a>(block: impl Fn(usize) -> &'a [u8; 64]) -> [Self; 16];
}

fn word(block: &[u8; 64], i: usize) -> u32 {
    let i = i * 4;
    u32::from_le_bytes([block[i], block[i + 1], block[i + 2], block[i + 3]])
}

impl Words for u32 {
    const STREAMS: usize = 1;

    #[inline(always)]
    fn splat(word: u32) -> Self {
        word
    }

    #[inline(always)]
    fn of(word: impl Fn(usize) -> u32) -> Self {
        word(0)
    }

    #[inline(always)]
    fn get(self, _: usize) -> u32 {
        self
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    #[inline(always)]
    fn rotate_left(self, by: u32) -> Self {
        u32::rotate_left(self, by)
    }

    #[inline(always)]
    fn load<'a>(block: impl Fn(usize) -> &'a [u8; 64]) -> [Self; 16] {
        array::from_fn(|i| word(block(0), i))
    }
}

/// A word of each of four streams. More at a time gain nothing: a vector fills the processor, and two
/// of them don't fit into its registers.
impl Words for u32x4 {
    const STREAMS: usize = 4;

    #[inline(always)]
    fn splat(word: u32) -> Self {
        Self::splat(word)
    }

    #[inline(always)]
    fn of(word: impl Fn(usize) -> u32) -> Self {
        Self::new(array::from_fn(word))
    }

    #[inline(always)]
    fn get(self, stream: usize) -> u32 {
        self.to_array()[stream]
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self + other
    }

    #[inline(always)]
    fn rotate_left(self, by: u32) -> Self {
        (self << by) | (self >> (32 - by))
    }

    #[inline(always)]
    fn load<'a>(block: impl Fn(usize) -> &'a [u8; 64]) -> [Self; 16] {
        let mut words = [Self::splat(0); 16];
        for (quarter, words) in words.chunks_exact_mut(4).enumerate() {
            let rows = array::from_fn(|stream| {
                let block = block(stream);
                Self::new(array::from_fn(|i| word(block, 4 * quarter + i)))
            });
            words.copy_from_slice(&Self::transpose(rows));
        }
        words
    }
}
