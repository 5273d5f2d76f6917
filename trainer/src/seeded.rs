//! Random numbers that depend on nothing but a seed, a purpose and a position.
//!
//! Every draw of a run (initial weights, order of samples, noise) comes from a stream named by
//! these three, never from state that a run carries along. So a resumed run draws what an
//! uninterrupted one would have drawn, and no backend or thread count changes a number. What is
//! drawn for a sample follows from the sample's own position ([`Draws`]): it stays the same whichever
//! device computes it, and beside whichever other samples.

use std::ops::Range;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a stream of random numbers is for; different purposes never share numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Initial weights.
    Weights,
    /// Order of the shards of an epoch.
    ShardOrder,
    /// Order of the samples of a window.
    SampleOrder,
    /// Which samples are held out for validation.
    Holdout,
    /// Noise of a training step.
    TrainNoise,
    /// Noise of the evaluation on samples that aren't learned from.
    TestNoise,
    /// Latent points from which pictures are generated.
    Pictures,
    /// Drawn digits that stand in for MNIST.
    Synthetic,
}

impl Purpose {
    const fn tag(self) -> &'static [u8] {
        match self {
            Self::Weights => b"weights",
            Self::ShardOrder => b"shard-order",
            Self::SampleOrder => b"sample-order",
            Self::Holdout => b"holdout",
            Self::TrainNoise => b"train-noise",
            Self::TestNoise => b"test-noise",
            Self::Pictures => b"pictures",
            Self::Synthetic => b"synthetic",
        }
    }
}

/// The stream for `purpose` at `position` (an epoch, or an epoch and a step, ...).
pub fn stream(seed: u64, purpose: Purpose, position: &[u64]) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new_derive_key("coffer-train random stream 1");
    hasher.update(&seed.to_le_bytes());
    for coordinate in position {
        hasher.update(&coordinate.to_le_bytes());
    }
    // The tag comes last: the coordinates before it have a fixed width, so no two inputs collide.
    hasher.update(purpose.tag());
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}

/// Random numbers for some samples, from a stream for each.
#[derive(Debug, Clone)]
pub struct Draws(Vec<ChaCha8Rng>);

impl Draws {
    /// Streams for `purpose`, each at `position` followed by one of `samples`.
    pub fn new(seed: u64, purpose: Purpose, position: &[u64], samples: Range<u64>) -> Self {
        let mut at = [position, &[0]].concat();
        let one = |sample| {
            if let Some(last) = at.last_mut() {
                *last = sample;
            }
            stream(seed, purpose, &at)
        };
        Self(samples.map(one).collect())
    }

    /// Streams for the latent points of `count` pictures. Fewer are the first ones of more.
    pub fn pictures(seed: u64, count: usize) -> Self {
        Self::new(seed, Purpose::Pictures, &[], 0..u64::try_from(count).unwrap_or(u64::MAX))
    }

    /// How many samples they are for.
    pub fn samples(&self) -> usize {
        self.0.len()
    }

    /// The streams of the first `samples` samples; those of the others stay.
    #[must_use]
    pub fn split_off_front(&mut self, samples: usize) -> Self {
        let rest = self.0.split_off(samples.min(self.0.len()));
        Self(std::mem::replace(&mut self.0, rest))
    }

    /// `each` draws from the standard normal distribution for each sample, one sample after the
    /// other.
    pub fn normals(&mut self, each: usize) -> Vec<f32> {
        self.0.iter_mut().flat_map(|rng| normals(rng, each)).collect()
    }

    /// `each` uniform numbers in `[0, 1)` for each sample, one sample after the other.
    pub fn uniforms(&mut self, each: usize) -> Vec<f32> {
        let one = |rng: &mut ChaCha8Rng| (0..each).map(|_| uniform(rng)).collect::<Vec<_>>();
        self.0.iter_mut().flat_map(one).collect()
    }
}

/// A uniform number in `[0, 1)` with 24 random bits.
pub fn uniform(rng: &mut impl Rng) -> f32 {
    const STEP: f32 = 1.0 / 16_777_216.0;
    (rng.next_u32() >> 8) as f32 * STEP
}

/// `count` draws from the standard normal distribution (Box and Muller, 1958).
pub fn normals(rng: &mut impl Rng, count: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(count + 1);
    while out.len() < count {
        // 1 - u lies in (0, 1], so that the logarithm is finite.
        let radius = (-2.0 * (1.0 - uniform(rng)).ln()).sqrt();
        let (sin, cos) = (std::f32::consts::TAU * uniform(rng)).sin_cos();
        out.extend([radius * cos, radius * sin]);
    }
    out.truncate(count);
    out
}

/// Puts `items` in a random order (Fisher and Yates).
///
/// The order is part of the format: a run that was started with one release must be resumable
/// with the next, so this doesn't lean on a library's shuffle.
pub fn shuffle<T>(rng: &mut impl Rng, items: &mut [T]) {
    let mut left = 0u64;
    for i in 0..items.len() {
        left += 1;
        // The bias of the remainder is under 2^-32 for any slice that fits into memory.
        let pick = rng.next_u64() % left;
        if let Ok(pick) = usize::try_from(pick) {
            items.swap(i, pick);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_seed_purpose_and_position() {
        let first = |seed, purpose, at: &[u64]| stream(seed, purpose, at).next_u64();
        let base = first(1, Purpose::TrainNoise, &[2, 3]);
        assert_eq!(base, first(1, Purpose::TrainNoise, &[2, 3]));
        assert_ne!(base, first(2, Purpose::TrainNoise, &[2, 3]));
        assert_ne!(base, first(1, Purpose::TestNoise, &[2, 3]));
        assert_ne!(base, first(1, Purpose::TrainNoise, &[3, 2]));
        assert_ne!(base, first(1, Purpose::TrainNoise, &[2]));
    }

    #[test]
    fn a_samples_draws_follow_from_its_own_position() {
        let draws = |samples| Draws::new(1, Purpose::TrainNoise, &[4], samples);
        let mut all = draws(10..15);
        let mut one = draws(12..13);
        assert_eq!((all.samples(), one.samples()), (5, 1));
        assert_eq!(all.normals(3)[6..9], one.normals(3)[..]);
        // Having drawn before, they go on where they stand, also in parts.
        let mut front = all.split_off_front(2);
        assert_eq!((front.samples(), all.samples()), (2, 3));
        assert_eq!(all.uniforms(2)[..2], one.uniforms(2)[..]);
        assert_ne!(front.uniforms(2)[..2], front.uniforms(2)[2..]);
        let alone = stream(1, Purpose::TrainNoise, &[4, 12]);
        assert_eq!(draws(12..13).normals(5), normals(&mut alone.clone(), 5));
    }

    #[test]
    fn normals_have_mean_zero_and_variance_one() {
        let draws = normals(&mut stream(7, Purpose::Pictures, &[]), 40_001);
        assert_eq!(draws.len(), 40_001);
        let mean = draws.iter().sum::<f32>() / 40_001.0;
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / 40_001.0;
        assert!(mean.abs() < 0.02, "{mean}");
        assert!((variance - 1.0).abs() < 0.03, "{variance}");
    }

    #[test]
    fn shuffle_reaches_every_order() {
        let mut seen = std::collections::BTreeSet::new();
        for at in 0..200 {
            let mut items = [0, 1, 2, 3];
            shuffle(&mut stream(1, Purpose::SampleOrder, &[at]), &mut items);
            seen.insert(items);
        }
        assert_eq!(seen.len(), 24);
    }
}
