//! What a file holds, how it changes, and what a crash leaves of a change.

use std::collections::BTreeSet;

/// Bytes that a disk writes whole or not at all.
const SECTOR: usize = 512;
/// Bytes that a hole gives back at a time.
const PAGE: usize = 4096;

/// A file's bytes and its holes.
#[derive(Clone, Default)]
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    /// Numbers of the pages that take no space.
    holes: BTreeSet<usize>,
}

impl Content {
    /// Bytes that it takes on the medium.
    pub(super) fn allocated(&self) -> u64 {
        self.bytes.len().saturating_sub(self.holes.len() * PAGE) as u64
    }
}

#[derive(Clone)]
pub(super) enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Len(usize),
    Hole { offset: usize, len: usize },
}

impl Change {
    pub(super) fn apply(&self, content: &mut Content) {
        match self {
            Self::Write { offset, bytes } => {
                let end = offset + bytes.len();
                if content.bytes.len() < end {
                    content.bytes.resize(end, 0);
                }
                content.bytes[*offset..end].copy_from_slice(bytes);
                let pages = offset / PAGE..end.div_ceil(PAGE);
                content.holes.retain(|page| !pages.contains(page));
            }
            Self::Len(len) => {
                content.bytes.resize(*len, 0);
                content.holes.retain(|page| (page + 1) * PAGE <= *len);
            }
            Self::Hole { offset, len } => {
                let end = (offset + len).min(content.bytes.len());
                if *offset < end {
                    content.bytes[*offset..end].fill(0);
                    content.holes.extend(offset.div_ceil(PAGE)..end / PAGE);
                }
            }
        }
    }

    /// What is left of the change after a crash.
    pub(super) fn survive(self, dice: &mut Dice) -> Vec<Self> {
        match (dice.roll(4), self) {
            (0, _) => Vec::new(),
            (1, Self::Write { offset, mut bytes }) => {
                bytes.truncate(dice.below(bytes.len() + 1));
                vec![Self::Write { offset, bytes }]
            }
            (2, Self::Write { offset, bytes }) => {
                // Sectors reach the medium in any order.
                let sectors = bytes.chunks(SECTOR).enumerate();
                sectors
                    .filter(|_| dice.roll(2) == 0)
                    .map(|(i, s)| Self::Write { offset: offset + i * SECTOR, bytes: s.to_vec() })
                    .collect()
            }
            (_, whole) => vec![whole],
        }
    }
}

/// A small generator (xorshift64*, Vigna 2014), so that a seed replays a crash.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % sides
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.roll(n as u64)).unwrap_or(0)
    }
}
