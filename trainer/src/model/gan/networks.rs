//! The two networks.

use burn::module::Module;
use burn::nn::conv::{Conv2d, ConvTranspose2d};
use burn::nn::{GroupNorm, GroupNormConfig, Linear};
use burn::tensor::activation::leaky_relu;
use burn::tensor::{Device, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::dataset::{PIXELS, SIDE};
use crate::model::layers::{doubling, halving, linear};
use crate::seeded::Draws;

/// Slope of the rectifiers below zero.
const SLOPE: f64 = 0.2;
/// Share of the discriminator's hidden units that is dropped in training.
const DROPOUT: f32 = 0.3;
/// Side of the places that pictures begin as.
const COARSE: usize = SIDE / 4;

/// Sizes of the layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GanConfig {
    /// Channels of pictures of half their side; at a quarter there are twice as many.
    pub channels: usize,
    /// Dimensions of the noise that pictures are made from.
    pub latent: usize,
}

/// Makes pictures from noise.
#[derive(Module, Debug)]
pub struct Generator {
    coarse: Linear,
    coarse_norm: GroupNorm,
    middle: ConvTranspose2d,
    middle_norm: GroupNorm,
    fine: ConvTranspose2d,
}

impl Generator {
    pub(super) fn new(config: GanConfig, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let GanConfig { channels, latent } = config;
        let norm = |channels| GroupNormConfig::new(1, channels).init(device);
        Self {
            coarse: linear(latent, 2 * channels * COARSE * COARSE, rng, device),
            coarse_norm: norm(2 * channels),
            middle: doubling([2 * channels, channels], rng, device),
            middle_norm: norm(channels),
            fine: doubling([channels, 1], rng, device),
        }
    }

    /// Pictures in `[-1, 1]`: `[n, latent]` to `[n, 784]`.
    pub fn forward(&self, noise: Tensor<2>) -> Tensor<2> {
        let [count, _] = noise.dims();
        let [channels, ..] = self.middle.weight.dims();
        let coarse = self.coarse.forward(noise).reshape([count, channels, COARSE, COARSE]);
        let coarse = leaky_relu(self.coarse_norm.forward(coarse), SLOPE);
        let middle = self.middle_norm.forward(self.middle.forward(coarse));
        let fine = self.fine.forward(leaky_relu(middle, SLOPE));
        fine.reshape([count, PIXELS]).tanh()
    }

    /// Dimensions of its noise.
    pub(super) fn latent(&self) -> usize {
        let [latent, _] = self.coarse.weight.dims();
        latent
    }
}

/// Tells real pictures from made ones.
#[derive(Module, Debug)]
pub struct Discriminator {
    middle: Conv2d,
    coarse: Conv2d,
    output: Linear,
}

impl Discriminator {
    pub(super) fn new(config: GanConfig, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let channels = config.channels;
        Self {
            middle: halving([1, channels], rng, device),
            coarse: halving([channels, 2 * channels], rng, device),
            output: linear(2 * channels * COARSE * COARSE, 1, rng, device),
        }
    }

    /// Logits that pictures are real: `[n, 784]` to `[n]`. Hidden units are dropped as `dropout`
    /// draws, or not at all.
    pub fn forward(&self, pictures: Tensor<2>, dropout: Option<&mut Draws>) -> Tensor<1> {
        let [count, _] = pictures.dims();
        let pictures = pictures.reshape([count, 1, SIDE, SIDE]);
        let middle = leaky_relu(self.middle.forward(pictures), SLOPE);
        let coarse = leaky_relu(self.coarse.forward(middle), SLOPE).flatten(1, 3);
        let kept = match dropout {
            Some(draws) => coarse.clone() * mask(&coarse, draws),
            None => coarse,
        };
        self.output.forward(kept).flatten(0, 1)
    }
}

/// A factor for each of `hidden`'s units: 0 for those that are dropped, and what makes up for them
/// for the others.
fn mask(hidden: &Tensor<2>, draws: &mut Draws) -> Tensor<2> {
    let [rows, columns] = hidden.dims();
    let factor = |draw| if draw < DROPOUT { 0.0 } else { 1.0 / (1.0 - DROPOUT) };
    let factors: Vec<f32> = draws.uniforms(columns).into_iter().map(factor).collect();
    Tensor::from_data(TensorData::new(factors, [rows, columns]), &hidden.device())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded::Purpose;

    #[test]
    fn dropout_keeps_the_mean_and_is_drawn_from_the_stream() {
        let device = Device::flex();
        let hidden = Tensor::<2>::ones([50, 200], &device);
        let draw = |seed| mask(&hidden, &mut Draws::new(seed, Purpose::TrainNoise, &[], 0..50));
        let mean: f32 = draw(1).mean().into_scalar();
        assert!((mean - 1.0).abs() < 0.03, "{mean}");
        let values = |seed| draw(seed).into_data().iter::<f32>().collect::<Vec<_>>();
        assert_eq!(values(1), values(1));
        assert_ne!(values(1), values(2));
    }
}
