//! What the trainer draws at random: initial weights, noise, pictures, drawn digits. Each draw comes
//! from a stream that depends on nothing but a seed, a purpose and a position, as the order of samples
//! does (`coffer_client::dataset::seeded`); no backend or thread count changes a number. What is
//! drawn for a sample follows from the sample's own position ([`Draws`]): it stays the same whichever
//! device computes it, and beside whichever other samples.

use std::ops::Range;

use coffer_client::dataset::seeded;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

/// What a stream of random numbers is for; different purposes never share numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Initial weights.
    Weights,
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
    const fn tag(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::TrainNoise => "train-noise",
            Self::TestNoise => "test-noise",
            Self::Pictures => "pictures",
            Self::Synthetic => "synthetic",
        }
    }
}

/// The stream for `purpose` at `position` (an epoch, or an epoch and a step, ...).
pub fn stream(seed: u64, purpose: Purpose, position: &[u64]) -> ChaCha8Rng {
    seeded::stream(seed, purpose.tag(), position)
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
}
