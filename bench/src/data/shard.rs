//! Tar shards as WebDataset has them: samples one after the other, each a header of 512 bytes and
//! its bytes, padded to 512 (POSIX.1-1988, ustar).

use super::dice::{Dice, mix};
use super::size::Sizes;

const BLOCK: u64 = 512;
/// A tar file ends with two empty blocks.
const END: u64 = 2 * BLOCK;

/// Where the samples of a shard lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    samples: Vec<Sample>,
}

/// One sample within a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Where its bytes begin, after the header.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
}

impl Sample {
    fn padded_end(self) -> u64 {
        (self.offset + self.len).next_multiple_of(BLOCK)
    }
}

impl Shard {
    /// A shard of at least one sample, and of as many as fit into `len` bytes.
    pub fn plan(seed: u64, len: u64, sizes: &Sizes) -> Self {
        let mut dice = Dice::new(mix(seed));
        let mut samples: Vec<Sample> = Vec::new();
        let mut end = 0;
        loop {
            let sample =
                Sample { offset: end + BLOCK, len: sizes.draw(&mut dice).clamp(1, len.max(1)) };
            if !samples.is_empty() && sample.padded_end() + END > len {
                return Self { samples };
            }
            end = sample.padded_end();
            samples.push(sample);
        }
    }

    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        self.samples.last().map_or(0, |last| last.padded_end()) + END
    }

    /// Whether it is empty, which no planned shard is.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Its samples, in order.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// Puts headers and padding into `out`, the random bytes of the shard from `offset` on.
    pub(super) fn overlay(&self, offset: u64, out: &mut [u8]) {
        let end = offset + u64::try_from(out.len()).unwrap_or(u64::MAX);
        let first = self.samples.partition_point(|sample| sample.padded_end() <= offset);
        for (number, sample) in self.samples.iter().enumerate().skip(first) {
            if sample.offset - BLOCK >= end {
                return;
            }
            lay(out, offset, sample.offset - BLOCK, &header(number, sample.len));
            let data_end = sample.offset + sample.len;
            let padding = usize::try_from(sample.padded_end() - data_end).unwrap_or(0);
            lay(out, offset, data_end, &[0; 512][..padding]);
        }
        let last = self.samples.last().map_or(0, |last| last.padded_end());
        lay(out, offset, last, &[0; 1024]);
    }
}

/// Copies the part of `piece`, which stands at `at`, that lies within `out`, which begins at
/// `offset`.
fn lay(out: &mut [u8], offset: u64, at: u64, piece: &[u8]) {
    let len = |slice: &[u8]| u64::try_from(slice.len()).unwrap_or(u64::MAX);
    let (from, to) = (at.max(offset), (at + len(piece)).min(offset + len(out)));
    if from < to {
        let index = |n: u64| usize::try_from(n).unwrap_or(0);
        out[index(from - offset)..index(to - offset)]
            .copy_from_slice(&piece[index(from - at)..index(to - at)]);
    }
}

/// The header of a sample.
fn header(number: usize, len: u64) -> [u8; 512] {
    let mut header = [0; 512];
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, &format!("{number:08}.bin"));
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{len:011o}\0"));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::super::Content;
    use super::*;
    use proptest::prelude::*;
    use std::io::Read;
    use std::sync::Arc;

    fn shard(seed: u64) -> Arc<Shard> {
        Arc::new(Shard::plan(seed, 100_000, &"100..9KiB".parse().unwrap()))
    }

    #[test]
    fn tar_reads_it() {
        let shard = shard(1);
        let content = Content::shard(1, Arc::clone(&shard));
        let bytes = content.bytes(0, content.len());
        assert!(bytes.len() <= 100_000 && shard.samples().len() > 10);
        let mut archive = tar::Archive::new(&bytes[..]);
        let mut read = 0;
        for (entry, sample) in archive.entries().unwrap().zip(shard.samples()) {
            let mut entry = entry.unwrap();
            assert_eq!(entry.path().unwrap().to_str().unwrap(), format!("{read:08}.bin"));
            let mut data = Vec::new();
            entry.read_to_end(&mut data).unwrap();
            assert_eq!(data, &content.bytes(sample.offset, sample.len)[..]);
            read += 1;
        }
        assert_eq!(read, shard.samples().len());
    }

    proptest! {
        #[test]
        fn any_piece_is_a_piece_of_the_whole(seed: u64, from: u64, size in 0u64..3_000) {
            let content = Content::shard(seed, shard(seed));
            let whole = content.bytes(0, content.len());
            let from = from % content.len();
            let size = size.min(content.len() - from);
            let at = |n: u64| usize::try_from(n).unwrap();
            prop_assert_eq!(&content.bytes(from, size)[..], &whole[at(from)..at(from + size)]);
        }
    }
}
