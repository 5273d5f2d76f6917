//! MD5, which S3 wants for etags, of several streams at a time.
//!
//! Each step of MD5 waits for the one before, so that one stream leaves most of a processor idle.
//! Independent streams can be advanced side by side, a word of each in one vector: the same work
//! then takes a fraction of the time. MD5 protects nothing here; that is the sealing's task.

mod compress;
mod word;

use compress::{State, compress};
use std::array;
use wide::u32x4;
use word::Words;

/// Bytes of a block.
const BLOCK: usize = 64;

/// The most streams that are advanced side by side.
pub const LANES: usize = <u32x4 as Words>::STREAMS;

/// The MD5 of a stream of bytes, as far as it has come.
#[derive(Debug, Clone)]
pub struct Md5 {
    state: State<u32>,
    /// Bytes that came.
    len: u64,
    /// The last of them, which don't fill a block.
    rest: [u8; BLOCK],
}

impl Default for Md5 {
    fn default() -> Self {
        let state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
        Self { state, len: 0, rest: [0; BLOCK] }
    }
}

impl Md5 {
    /// Takes in bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let blocks = self.take_edges(bytes);
        run::<u32>(&mut [Lane { state: &mut self.state, blocks }], blocks.len());
    }

    /// The hash of all bytes.
    pub fn finish(mut self) -> [u8; 16] {
        let bits = self.len.wrapping_mul(8).to_le_bytes();
        let filled = self.filled();
        // A one bit, zeros, and the length at the end of a block.
        let mut padding = [0; 2 * BLOCK];
        padding[0] = 0x80;
        let len = (BLOCK + BLOCK - 8 - filled - 1) % BLOCK + 1;
        padding[len..len + 8].copy_from_slice(&bits);
        self.update(&padding[..len + 8]);
        let mut hash = [0; 16];
        for (bytes, word) in hash.chunks_exact_mut(4).zip(self.state) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        hash
    }

    /// How many bytes of the last block there are.
    fn filled(&self) -> usize {
        // A block's length divides what a byte counts to.
        usize::from(self.len.to_le_bytes()[0]) % BLOCK
    }

    /// Takes in bytes but for the whole blocks among them, which it returns: they are to be mixed
    /// into the state before anything else is done.
    fn take_edges<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [[u8; BLOCK]] {
        let filled = self.filled();
        self.len = self.len.wrapping_add(bytes.len() as u64);
        if filled > 0 {
            let (head, others) = bytes.split_at(bytes.len().min(BLOCK - filled));
            self.rest[filled..filled + head.len()].copy_from_slice(head);
            if filled + head.len() < BLOCK {
                return &[];
            }
            let blocks = [self.rest];
            run::<u32>(&mut [Lane { state: &mut self.state, blocks: &blocks }], 1);
            bytes = others;
        }
        let (blocks, tail) = bytes.as_chunks();
        self.rest[..tail.len()].copy_from_slice(tail);
        blocks
    }
}

/// Has each stream take in its bytes, all of them side by side as far as they go.
pub fn advance<'a>(streams: impl IntoIterator<Item = (&'a mut Md5, &'a [u8])>) {
    let mut lanes: Vec<Lane<'a>> = streams
        .into_iter()
        .map(|(md5, bytes)| {
            let blocks = md5.take_edges(bytes);
            Lane { state: &mut md5.state, blocks }
        })
        .collect();
    loop {
        lanes.retain(|lane| !lane.blocks.is_empty());
        // The longest together, so that few vectors go half empty.
        lanes.sort_by_key(|lane| std::cmp::Reverse(lane.blocks.len()));
        let together = lanes.len().min(LANES);
        let lanes = &mut lanes[..together];
        let Some(shortest) = lanes.last() else { return };
        let count = shortest.blocks.len();
        match together {
            1 => run::<u32>(lanes, count),
            _ => run::<u32x4>(lanes, count),
        }
    }
}

/// A stream's state, and the blocks that are to be mixed into it.
struct Lane<'a> {
    state: &'a mut State<u32>,
    blocks: &'a [[u8; BLOCK]],
}

/// Mixes `count` blocks, which each lane must have, into the states of `lanes`: at least one, and no
/// more than `W` has words. Words that are left over do what the last lane does.
fn run<W: Words>(lanes: &mut [Lane<'_>], count: usize) {
    let last = lanes.len().min(W::STREAMS) - 1;
    let mut state: State<W> =
        array::from_fn(|word| W::of(|stream| lanes[stream.min(last)].state[word]));
    let mut blocks: [&[[u8; BLOCK]]; LANES] = [&[]; LANES];
    for (stream, blocks) in blocks.iter_mut().enumerate() {
        let lane = &lanes[stream.min(last)];
        *blocks = &lane.blocks[..count];
    }
    (0..count).for_each(|at| compress(&mut state, &W::load(|stream| &blocks[stream][at])));
    for (stream, lane) in lanes.iter_mut().enumerate() {
        *lane.state = state.map(|word| word.get(stream));
        lane.blocks = &lane.blocks[count..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::md5::Digest as _;
    use proptest::prelude::*;

    fn reference(bytes: &[u8]) -> [u8; 16] {
        ::md5::Md5::digest(bytes).into()
    }

    fn bytes(seed: u8, len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 31 + i / 251) as u8 ^ seed).collect()
    }

    /// The test suite of RFC 1321.
    #[test]
    fn known_answers() {
        let md5 = |text: &str| {
            let mut md5 = Md5::default();
            md5.update(text.as_bytes());
            hex::encode(md5.finish())
        };
        assert_eq!(md5(""), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(md5("abc"), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(md5(&"1234567890".repeat(8)), "57edf4a22be3c955ac49da2e2107b67a");
    }

    #[test]
    fn all_lengths_around_a_block() {
        for len in 0..200 {
            let mut md5 = Md5::default();
            md5.update(&bytes(7, len));
            assert_eq!(md5.finish(), reference(&bytes(7, len)), "{len}");
        }
    }

    proptest! {
        #[test]
        fn streams_side_by_side_are_as_each_alone(
            streams in prop::collection::vec(prop::collection::vec(0usize..700, 0..4), 0..20),
        ) {
            let mut hashes = vec![Md5::default(); streams.len()];
            let whole: Vec<Vec<u8>> = (0u8..).zip(&streams).map(|(i, s)| bytes(i, s.iter().sum())).collect();
            // In each round those streams go on that have pieces left.
            for round in 0..4 {
                let pieces = hashes.iter_mut().zip(&streams).zip(&whole).filter_map(|((md5, lens), whole)| {
                    let start = lens.iter().take(round).sum::<usize>();
                    Some((md5, &whole[start..start + lens.get(round)?]))
                });
                advance(pieces);
            }
            for (md5, whole) in hashes.into_iter().zip(&whole) {
                prop_assert_eq!(md5.finish(), reference(whole));
            }
        }

        #[test]
        fn pieces_of_any_length_make_the_same_hash(pieces in prop::collection::vec(0usize..300, 0..8)) {
            let whole = bytes(3, pieces.iter().sum());
            let (mut md5, mut at) = (Md5::default(), 0);
            for len in pieces {
                md5.update(&whole[at..at + len]);
                at += len;
            }
            prop_assert_eq!(md5.finish(), reference(&whole));
        }
    }
}
