//! Cuts samples into shards.

use std::num::{NonZeroU64, NonZeroUsize};
use std::ops::Range;

/// What a tar has after its last file.
const TRAILER: u64 = 1024;

/// How large shards become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShardLimit {
    /// At most so many bytes, unless a single sample has more.
    Bytes(NonZeroU64),
    /// So many samples.
    Samples(NonZeroUsize),
}

/// Cuts samples of these sizes into shards.
pub(super) fn cut(sizes: impl IntoIterator<Item = u64>, limit: ShardLimit) -> Vec<Range<usize>> {
    let mut shards: Vec<Range<usize>> = Vec::new();
    let mut filled = 0;
    for (at, size) in sizes.into_iter().enumerate() {
        let fits = |shard: &Range<usize>| match limit {
            ShardLimit::Bytes(most) => filled + size + TRAILER <= most.get(),
            ShardLimit::Samples(most) => shard.len() < most.get(),
        };
        match shards.last_mut().filter(|shard| fits(shard)) {
            Some(shard) => {
                shard.end = at + 1;
                filled += size;
            }
            None => {
                shards.push(at..at + 1);
                filled = size;
            }
        }
    }
    shards
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_sample_is_in_one_shard_and_none_is_too_large(
            sizes in prop::collection::vec(1u64..5000, 0..40), bytes in 1024u64..20_000,
            count in 1usize..9, by_count: bool,
        ) {
            let limit = if by_count {
                ShardLimit::Samples(NonZeroUsize::new(count).unwrap())
            } else {
                ShardLimit::Bytes(NonZeroU64::new(bytes).unwrap())
            };
            let shards = cut(sizes.iter().copied(), limit);
            let all: Vec<usize> = shards.iter().cloned().flatten().collect();
            prop_assert_eq!(all, (0..sizes.len()).collect::<Vec<_>>());
            for (at, shard) in shards.iter().enumerate() {
                let total: u64 = sizes[shard.clone()].iter().sum();
                if by_count {
                    let full = shard.len() == count || at + 1 == shards.len();
                    prop_assert!(full && shard.len() <= count);
                } else {
                    prop_assert!(shard.len() == 1 || total + TRAILER <= bytes);
                }
            }
        }
    }
}
