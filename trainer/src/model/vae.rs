//! A variational autoencoder for 28x28 pictures (Kingma and Welling, 2013, arXiv:1312.6114).
//!
//! 784 pixels, one hidden layer, a normal distribution over the latent space, one hidden layer,
//! 784 logits. The loss is the negative evidence lower bound in nats, from one draw of the latent
//! point per picture, in training and in evaluation alike: an unbiased estimate of the bound.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::layers::linear;
use super::{Objective, binary_cross_entropy, noise, pixels};
use crate::dataset::PIXELS;
use crate::seeded::{Draws, Purpose, stream};
use crate::stream::Batch;

/// Widths of the layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaeConfig {
    /// Width of the hidden layers.
    pub hidden: usize,
    /// Dimensions of the latent space.
    pub latent: usize,
}

impl Default for VaeConfig {
    fn default() -> Self {
        Self { hidden: 400, latent: 20 }
    }
}

/// The autoencoder's layers.
#[derive(Module, Debug)]
pub struct Vae {
    encoder: Linear,
    mean: Linear,
    log_variance: Linear,
    decoder: Linear,
    output: Linear,
}

impl Vae {
    /// A network with initial weights that follow from `seed`.
    pub fn new(config: VaeConfig, seed: u64, device: &Device) -> Self {
        let mut rng = stream(seed, Purpose::Weights, &[]);
        let mut layer = |inputs, outputs| linear(inputs, outputs, &mut rng, device);
        Self {
            encoder: layer(PIXELS, config.hidden),
            mean: layer(config.hidden, config.latent),
            log_variance: layer(config.hidden, config.latent),
            decoder: layer(config.latent, config.hidden),
            output: layer(config.hidden, PIXELS),
        }
    }

    /// Mean and logarithm of the variance of the latent point of each picture: `[n, 784]` to
    /// twice `[n, latent]`.
    pub fn encode(&self, pictures: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let hidden = relu(self.encoder.forward(pictures));
        (self.mean.forward(hidden.clone()), self.log_variance.forward(hidden))
    }

    /// Logits of the pixels at each latent point: `[n, latent]` to `[n, 784]`.
    pub fn decode(&self, latent: Tensor<2>) -> Tensor<2> {
        self.output.forward(relu(self.decoder.forward(latent)))
    }

    fn latent(&self) -> usize {
        let [_, latent] = self.mean.weight.dims();
        latent
    }
}

impl Objective for Vae {
    const TERMS: &'static [&'static str] = &["reconstruction", "divergence"];

    fn losses(&self, batch: &Batch, draws: &mut Draws, device: &Device) -> Tensor<1> {
        let pictures = pixels(batch, device);
        let (mean, log_variance) = self.encode(pictures.clone());
        let noise = noise(self.latent(), draws, device);
        let latent = mean.clone() + log_variance.clone().mul_scalar(0.5).exp() * noise;
        let reconstruction = binary_cross_entropy(self.decode(latent), pictures);
        Tensor::cat(vec![reconstruction, divergence(mean, log_variance)], 0)
    }

    fn pictures(&self, draws: &mut Draws, device: &Device) -> Option<Tensor<2>> {
        Some(sigmoid(self.decode(noise(self.latent(), draws, device))))
    }
}

/// Kullback-Leibler divergence of the latent distribution from the standard normal one, in nats,
/// summed to shape `[1]`.
fn divergence(mean: Tensor<2>, log_variance: Tensor<2>) -> Tensor<1> {
    let twice = mean.square() + log_variance.clone().exp() - log_variance - 1.0;
    twice.sum().mul_scalar(0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(tensor: Tensor<1>) -> f32 {
        tensor.into_scalar()
    }

    #[test]
    fn divergence_vanishes_only_at_the_standard_normal() {
        let device = Device::flex();
        let of = |mean: f32, log_variance: f32| {
            let tensor = |x: f32| Tensor::<2>::from_data([[x, 0.0]], &device);
            scalar(divergence(tensor(mean), tensor(log_variance)))
        };
        assert_eq!(of(0.0, 0.0), 0.0);
        assert!((of(1.0, 0.0) - 0.5).abs() < 1e-6);
        assert!((of(0.0, 1.0) - 0.5 * (std::f32::consts::E - 2.0)).abs() < 1e-6);
    }

    #[test]
    fn weights_follow_from_the_seed() {
        let device = Device::flex();
        let config = VaeConfig { hidden: 8, latent: 2 };
        let weights = |seed| {
            let data = Vae::new(config, seed, &device).encoder.weight.val().into_data();
            data.iter::<f32>().collect::<Vec<_>>()
        };
        assert_eq!(weights(1), weights(1));
        assert_ne!(weights(1), weights(2));
        assert!(weights(1).iter().all(|w| w.abs() <= 1.0 / 28.0));
    }
}
