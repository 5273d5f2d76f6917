//! Which samples of a split are delivered: all, or one side of a partition that a seed determines.

use super::index::ShardEntry;
use super::seeded::{HOLDOUT, shuffle, stream};

/// A share of each shard's samples that is held out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Holdout {
    /// The run's seed.
    pub seed: u64,
    /// The share, between 0 and 1.
    pub share: f64,
}

/// Which samples of a split are delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Subset {
    /// All.
    #[default]
    All,
    /// Those that aren't held out.
    Kept(Holdout),
    /// Those that are held out.
    Held(Holdout),
}

impl Holdout {
    /// How many of a shard's samples are held out: the nearest to the share, but never all.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    fn count(self, samples: usize) -> usize {
        let nearest = (self.share.clamp(0.0, 1.0) * samples as f64).round();
        (nearest as usize).min(samples.saturating_sub(1))
    }

    /// For each sample of shard number `shard`, whether it's held out.
    fn mask(self, shard: usize, samples: usize) -> Vec<bool> {
        let mut mask: Vec<bool> = (0..samples).map(|at| at < self.count(samples)).collect();
        let shard = u64::try_from(shard).unwrap_or(u64::MAX);
        shuffle(&mut stream(self.seed, HOLDOUT, &[shard]), &mut mask);
        mask
    }
}

impl Subset {
    /// How many samples of `shards` are in it.
    pub fn samples<'a>(self, shards: impl IntoIterator<Item = &'a ShardEntry>) -> usize {
        let of = |samples: usize| match self {
            Self::All => samples,
            Self::Kept(holdout) => samples - holdout.count(samples),
            Self::Held(holdout) => holdout.count(samples),
        };
        shards.into_iter().map(|entry| of(entry.samples)).sum()
    }

    /// For each of the `samples` samples of shard number `shard`, whether it's in the subset.
    pub(super) fn picks(self, shard: usize, samples: usize) -> Vec<bool> {
        match self {
            Self::All => vec![true; samples],
            Self::Held(holdout) => holdout.mask(shard, samples),
            Self::Kept(holdout) => {
                holdout.mask(shard, samples).into_iter().map(|held| !held).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_sides_are_a_partition_of_the_wanted_size() {
        for (samples, share, held) in [(4096, 0.1, 410), (10, 0.25, 3), (1, 0.9, 0), (7, 1.0, 6)] {
            let holdout = Holdout { seed: 3, share };
            let kept = Subset::Kept(holdout).picks(2, samples);
            let out = Subset::Held(holdout).picks(2, samples);
            assert!(kept.iter().zip(&out).all(|(kept, held)| kept != held));
            assert_eq!(out.iter().filter(|held| **held).count(), held);
            assert_eq!(out, Subset::Held(holdout).picks(2, samples));
        }
    }

    #[test]
    fn the_choice_depends_on_seed_and_shard() {
        let picks = |seed, shard| Subset::Held(Holdout { seed, share: 0.5 }).picks(shard, 64);
        assert_ne!(picks(1, 0), picks(2, 0));
        assert_ne!(picks(1, 0), picks(1, 1));
    }
}
