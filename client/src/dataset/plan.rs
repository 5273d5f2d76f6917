//! The order in which an epoch visits its samples.
//!
//! Shards are put in a random order, dealt over the workers, cut into windows that hold at most a
//! given number of samples, and the samples of each window are shuffled among themselves. The order
//! follows from the index, the seed, the epoch, the worker and the window size alone, not from
//! prefetch or timing; and a position in the middle of an epoch is found again without reading what
//! lies before its window. A window as large as the split gives a full permutation.

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

use super::index::ShardEntry;
use super::seeded::{SAMPLE_ORDER, SHARD_ORDER, shuffle, stream};
use super::subset::Subset;
use super::workers::Workers;

/// A position in a worker's data: the first sample that hasn't been used yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cursor {
    /// The epoch, counted from 0.
    pub epoch: u64,
    /// Samples of this epoch, in the worker's order, that have been used or passed over.
    pub sample: usize,
}

impl Cursor {
    /// The position after one more sample.
    #[must_use]
    pub fn next(self) -> Self {
        Self { sample: self.sample + 1, ..self }
    }
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
}

impl Window {
    /// The order of the window's samples: positions in the concatenation of its shards.
    pub fn permutation(&self, order: Order) -> Vec<usize> {
        let mut positions: Vec<usize> = (0..self.samples).collect();
        if let Order::Shuffled { seed, .. } = order {
            let mut rng = stream(seed, SAMPLE_ORDER, &[self.epoch, self.place]);
            shuffle(&mut rng, &mut positions);
        }
        positions
    }
}

/// The windows of `epoch` that are a worker's, in order.
pub fn windows(shards: &[ShardEntry], order: Order, workers: Workers, epoch: u64) -> Vec<Window> {
    let mut visit: Vec<usize> = (0..shards.len()).collect();
    let limit = match order {
        Order::Sequential => NonZeroUsize::MIN,
        Order::Shuffled { seed, window } => {
            shuffle(&mut stream(seed, SHARD_ORDER, &[epoch]), &mut visit);
            window
        }
    };
    let mut out: Vec<Window> = Vec::new();
    let mut place = 0;
    for shard in workers.deal(visit) {
        let samples = shards.get(shard).map_or(0, |entry| entry.samples);
        match out.last_mut() {
            Some(window) if window.samples + samples <= limit.get() => {
                window.shards.push(shard);
                window.samples += samples;
            }
            _ => {
                out.push(Window { epoch, place, shards: vec![shard], samples });
                place += 1;
            }
        }
    }
    out
}

/// A window that has samples to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Visit {
    pub(super) window: Window,
    /// Place of the window's first sample within the worker's epoch.
    pub(super) first: usize,
    /// How many of its samples have been used or passed over.
    pub(super) used: usize,
    /// Whether it's the last of its epoch.
    pub(super) last: bool,
}

/// What a worker reads, in what order, and which samples of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Course {
    pub(super) order: Order,
    pub(super) workers: Workers,
    pub(super) subset: Subset,
}

impl Course {
    /// The visits from `from` on to the end of epoch `until - 1`. Windows without a sample of the
    /// subset are left out.
    pub(super) fn visits(
        self,
        shards: Vec<ShardEntry>,
        from: Cursor,
        until: u64,
    ) -> impl Iterator<Item = Visit> {
        (from.epoch..until).flat_map(move |epoch| {
            let done = if epoch == from.epoch { from.sample } else { 0 };
            let mut end = 0;
            let mut found: Vec<Visit> = windows(&shards, self.order, self.workers, epoch)
                .into_iter()
                .map(|window| {
                    let first = end;
                    end += window.samples;
                    let used = done.clamp(first, end) - first;
                    Visit { window, first, used, last: false }
                })
                .filter(|visit| {
                    let entries = visit.window.shards.iter().filter_map(|shard| shards.get(*shard));
                    self.subset.samples(entries) > 0
                })
                .collect();
            if let Some(visit) = found.last_mut() {
                visit.last = true;
            }
            found.into_iter().filter(|visit| visit.used < visit.window.samples)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;
    use proptest::prelude::*;

    fn shards(sizes: &[usize]) -> Vec<ShardEntry> {
        let entry = |(at, samples): (usize, &usize)| ShardEntry {
            name: format!("train-{at:06}.tar").parse().unwrap(),
            samples: *samples,
            bytes: 1,
            blake3: Digest::of(b""),
        };
        sizes.iter().enumerate().map(entry).collect()
    }

    fn shuffled(seed: u64, window: usize) -> Order {
        Order::Shuffled { seed, window: NonZeroUsize::new(window).unwrap() }
    }

    /// A worker's epoch as (shard, sample in it).
    fn share(sizes: &[usize], order: Order, workers: Workers, epoch: u64) -> Vec<(usize, usize)> {
        let visit = |window: Window| {
            let all: Vec<_> =
                window.shards.iter().flat_map(|s| (0..sizes[*s]).map(move |at| (*s, at))).collect();
            window.permutation(order).into_iter().map(move |at| all[at]).collect::<Vec<_>>()
        };
        windows(&shards(sizes), order, workers, epoch).into_iter().flat_map(visit).collect()
    }

    fn epoch(sizes: &[usize], order: Order, epoch: u64) -> Vec<(usize, usize)> {
        share(sizes, order, Workers::ALONE, epoch)
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
            for w in windows(&shards(&sizes), order, Workers::ALONE, 3) {
                prop_assert!(w.samples <= window || w.shards.len() == 1);
            }
        }

        #[test]
        fn each_sample_goes_to_exactly_one_worker(
            sizes in prop::collection::vec(1usize..9, 1..12), seed: u64, window in 1usize..30,
            count in 1usize..6, sequential: bool,
        ) {
            let order = if sequential { Order::Sequential } else { shuffled(seed, window) };
            let count = NonZeroUsize::new(count).unwrap();
            let shares: Vec<_> = (0..count.get())
                .map(|index| share(&sizes, order, Workers::new(index, count).unwrap(), 5))
                .collect();
            let mut all = shares.concat();
            all.sort_unstable();
            prop_assert_eq!(all, epoch(&sizes, Order::Sequential, 5));
            if sizes.len() >= count.get() {
                prop_assert!(shares.iter().all(|share| !share.is_empty()));
            }
        }

        #[test]
        fn the_visits_from_anywhere_are_the_rest_of_all_visits(
            sizes in prop::collection::vec(1usize..9, 1..9), seed: u64, window in 1usize..30,
            cut in 0usize..80,
        ) {
            let course = Course {
                order: shuffled(seed, window), workers: Workers::ALONE, subset: Subset::All,
            };
            let total: usize = sizes.iter().sum();
            // Each sample still to come, by its place in all epochs.
            let places = |from: Cursor| -> Vec<(u64, usize)> {
                course.visits(shards(&sizes), from, 3).flat_map(|visit| {
                    (visit.first + visit.used..visit.first + visit.window.samples)
                        .map(move |at| (visit.window.epoch, at))
                }).collect()
            };
            let all = places(Cursor::default());
            prop_assert_eq!(all.len(), 3 * total);
            let cut = cut % all.len();
            let (epoch, sample) = all[cut];
            prop_assert_eq!(&places(Cursor { epoch, sample }), &all[cut..]);
            prop_assert_eq!(places(Cursor { epoch, sample }.next()), &all[cut + 1..]);
        }
    }

    /// Runs that are there go on in the order in which they began.
    #[test]
    fn the_order_is_part_of_the_format() {
        let found = epoch(&[2, 3, 2], shuffled(7, 5), 1);
        assert_eq!(found, [(0, 0), (2, 1), (0, 1), (2, 0), (1, 2), (1, 1), (1, 0)]);
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
        let course =
            Course { order: shuffled(1, 10), workers: Workers::ALONE, subset: Subset::All };
        let found: Vec<_> = course.visits(shards(&[5, 5, 5]), Cursor::default(), 1).collect();
        assert_eq!(found.iter().map(|v| v.last).collect::<Vec<_>>(), [false, true]);
        assert_eq!(found.iter().map(|v| v.first).collect::<Vec<_>>(), [0, 10]);
    }
}
