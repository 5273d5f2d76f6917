//! The order in which an epoch visits its samples.
//!
//! Shards are put in a random order, cut into windows that hold at most a given number of
//! samples, and the samples of each window are shuffled among themselves. The order follows from
//! the index, the seed, the epoch and the window size alone, not from batch size, prefetch or
//! timing; and a position in the middle of an epoch is found again without reading what lies
//! before its window. A window as large as the split gives a full permutation.

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

use crate::dataset::index::ShardEntry;
use crate::seeded::{Purpose, shuffle, stream};

/// A position in a run's data: the first sample that hasn't been used yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cursor {
    /// The epoch, counted from 0.
    pub epoch: u64,
    /// Samples of this epoch, in its order, that have been used or passed over.
    pub sample: usize,
}

/// How an epoch is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As packed; the same in every epoch.
    Sequential,
    /// Shuffled, differently in every epoch.
    Shuffled {
        /// The run's seed.
        seed: u64,
        /// Samples that a window holds at most (but always at least one shard).
        window: NonZeroUsize,
    },
}

/// Some shards whose samples are shuffled together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The epoch that it belongs to.
    pub epoch: u64,
    /// Its place in the epoch, counted from 0.
    pub place: u64,
    /// Its shards, by position in the index.
    pub shards: Vec<usize>,
    /// Its samples.
    pub samples: usize,
    /// Whether it's the last of its epoch.
    pub last: bool,
}

impl Window {
    /// The order of the window's samples: positions in the concatenation of its shards.
    pub fn permutation(&self, order: Order) -> Vec<usize> {
        let mut positions: Vec<usize> = (0..self.samples).collect();
        if let Order::Shuffled { seed, .. } = order {
            let mut rng = stream(seed, Purpose::SampleOrder, &[self.epoch, self.place]);
            shuffle(&mut rng, &mut positions);
        }
        positions
    }
}

/// The windows of `epoch`, in order.
pub fn windows(shards: &[ShardEntry], order: Order, epoch: u64) -> Vec<Window> {
    let mut visit: Vec<usize> = (0..shards.len()).collect();
    let limit = match order {
        Order::Sequential => NonZeroUsize::MIN,
        Order::Shuffled { seed, window } => {
            shuffle(&mut stream(seed, Purpose::ShardOrder, &[epoch]), &mut visit);
            window
        }
    };
    let mut out: Vec<Window> = Vec::new();
    let mut place = 0;
    for shard in visit {
        let samples = shards.get(shard).map_or(0, |entry| entry.samples);
        match out.last_mut() {
            Some(window) if window.samples + samples <= limit.get() => {
                window.shards.push(shard);
                window.samples += samples;
            }
            _ => {
                out.push(Window { epoch, place, shards: vec![shard], samples, last: false });
                place += 1;
            }
        }
    }
    if let Some(window) = out.last_mut() {
        window.last = true;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_client::Digest;
    use proptest::prelude::*;

    fn shards(sizes: &[usize]) -> Vec<ShardEntry> {
        let entry = |(at, samples): (usize, &usize)| ShardEntry {
            name: format!("train-{at:06}.tar"),
            samples: *samples,
            bytes: 1,
            blake3: Digest::of(b""),
        };
        sizes.iter().enumerate().map(entry).collect()
    }

    fn shuffled(seed: u64, window: usize) -> Order {
        Order::Shuffled { seed, window: NonZeroUsize::new(window).unwrap() }
    }

    /// The whole epoch as (shard, sample in it).
    fn epoch(sizes: &[usize], order: Order, epoch: u64) -> Vec<(usize, usize)> {
        let visit = |window: Window| {
            let all: Vec<_> =
                window.shards.iter().flat_map(|s| (0..sizes[*s]).map(move |at| (*s, at))).collect();
            window.permutation(order).into_iter().map(move |at| all[at]).collect::<Vec<_>>()
        };
        windows(&shards(sizes), order, epoch).into_iter().flat_map(visit).collect()
    }

    proptest! {
        #[test]
        fn each_sample_once_in_bounded_windows(
            sizes in prop::collection::vec(1usize..9, 1..12), seed: u64, window in 1usize..30,
        ) {
            let order = shuffled(seed, window);
            let mut seen = epoch(&sizes, order, 3);
            prop_assert_eq!(&seen, &epoch(&sizes, order, 3), "the same each time");
            seen.sort_unstable();
            prop_assert_eq!(seen, epoch(&sizes, Order::Sequential, 3));
            for w in windows(&shards(&sizes), order, 3) {
                prop_assert!(w.samples <= window || w.shards.len() == 1);
            }
        }
    }

    #[test]
    fn epochs_and_seeds_differ_and_a_large_window_mixes_all_shards() {
        let sizes = [50; 4];
        let order = shuffled(1, 200);
        let first = epoch(&sizes, order, 0);
        assert_ne!(first, epoch(&sizes, order, 1));
        assert_ne!(first, epoch(&sizes, shuffled(2, 200), 0));
        let early: std::collections::BTreeSet<usize> =
            first[..50].iter().map(|(shard, _)| *shard).collect();
        assert_eq!(early.len(), 4);
    }

    #[test]
    fn only_the_last_window_is_marked() {
        let found = windows(&shards(&[5, 5, 5]), shuffled(1, 10), 0);
        assert_eq!(found.iter().map(|w| w.last).collect::<Vec<_>>(), [false, true]);
        assert_eq!(found.iter().map(|w| w.place).collect::<Vec<_>>(), [0, 1]);
    }
}
