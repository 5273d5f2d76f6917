//! A generative adversarial network for 28x28 pictures (Goodfellow et al., 2014,
//! arXiv:1406.2661): a generator makes pictures from noise, a discriminator tells them from real
//! ones, and each learns from the other.
//!
//! Both are dense networks. What keeps them in balance:
//! - the generator minimises `-ln D(G(z))` rather than `ln(1 - D(G(z)))`, whose gradient vanishes
//!   where the discriminator is sure (Goodfellow et al., section 3);
//! - real pictures are labelled 0.9 for the discriminator, made ones 0 (one-sided label smoothing:
//!   Salimans et al., 2016, arXiv:1606.03498, section 3.4);
//! - leaky rectifiers of slope 0.2, pixels in `[-1, 1]` from a hyperbolic tangent, and Adam that
//!   averages gradients at 0.5 (Radford et al., 2015, arXiv:1511.06434);
//! - dropout in the discriminator (Srivastava et al., 2014), drawn on the host, so that a resumed
//!   run drops the same units.
//!
//! The losses are cross-entropies in nats. They tell how the two stand to each other, and little
//! about how good the pictures are: look at the grids.

use burn::module::Module;
use burn::nn::Linear;
use burn::nn::loss::BinaryCrossEntropyLossConfig;
use burn::tensor::activation::leaky_relu;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::layers::linear;
use super::trained::{Files, Method, Trained};
use super::{Adopted, File, Learner, LearnerError, Rate, Verdict, levels, noise, pixels};
use crate::dataset::PIXELS;
use crate::seeded::{Purpose, stream, uniform};
use crate::stream::Batch;

/// Slope of the rectifiers below zero.
const SLOPE: f64 = 0.2;
/// Share of the discriminator's hidden units that is dropped in training.
const DROPOUT: f32 = 0.3;
/// Smoothing by which Burn's loss turns the labels 1 and 0 into 0.9 and 0.1; it's applied to real
/// pictures only, which are all labelled 1.
const SMOOTHING: f32 = 0.2;
const METHOD: Method = Method::Adam { beta_1: 0.5 };
const GENERATOR: Files =
    Files { weights: "generator.safetensors", optimizer: "generator-optimizer.safetensors" };
const DISCRIMINATOR: Files = Files {
    weights: "discriminator.safetensors",
    optimizer: "discriminator-optimizer.safetensors",
};

/// Widths of the layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GanConfig {
    /// Width of the narrower hidden layers; the other ones are twice as wide.
    pub hidden: usize,
    /// Dimensions of the noise that pictures are made from.
    pub latent: usize,
}

/// Makes pictures from noise.
#[derive(Module, Debug)]
pub struct Generator {
    first: Linear,
    second: Linear,
    output: Linear,
}

impl Generator {
    fn new(config: GanConfig, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        Self {
            first: linear(config.latent, config.hidden, rng, device),
            second: linear(config.hidden, 2 * config.hidden, rng, device),
            output: linear(2 * config.hidden, PIXELS, rng, device),
        }
    }

    /// Pictures in `[-1, 1]`: `[n, latent]` to `[n, 784]`.
    pub fn forward(&self, noise: Tensor<2>) -> Tensor<2> {
        let hidden = leaky_relu(self.first.forward(noise), SLOPE);
        let hidden = leaky_relu(self.second.forward(hidden), SLOPE);
        self.output.forward(hidden).tanh()
    }

    fn latent(&self) -> usize {
        let [latent, _] = self.first.weight.dims();
        latent
    }
}

/// Tells real pictures from made ones.
#[derive(Module, Debug)]
pub struct Discriminator {
    first: Linear,
    second: Linear,
    output: Linear,
}

impl Discriminator {
    fn new(config: GanConfig, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        Self {
            first: linear(PIXELS, 2 * config.hidden, rng, device),
            second: linear(2 * config.hidden, config.hidden, rng, device),
            output: linear(config.hidden, 1, rng, device),
        }
    }

    /// Logits that pictures are real: `[n, 784]` to `[n]`. Hidden units are dropped as `dropout`
    /// draws, or not at all.
    pub fn forward(&self, pictures: Tensor<2>, mut dropout: Option<&mut ChaCha8Rng>) -> Tensor<1> {
        let mut drop = |hidden: Tensor<2>| match dropout.as_deref_mut() {
            Some(rng) => hidden.clone() * mask(&hidden, rng),
            None => hidden,
        };
        let hidden = drop(leaky_relu(self.first.forward(pictures), SLOPE));
        let hidden = drop(leaky_relu(self.second.forward(hidden), SLOPE));
        self.output.forward(hidden).flatten(0, 1)
    }
}

/// A factor for each of `hidden`'s units: 0 for those that are dropped, and what makes up for them
/// for the others.
fn mask(hidden: &Tensor<2>, rng: &mut ChaCha8Rng) -> Tensor<2> {
    let [rows, columns] = hidden.dims();
    let factor = |draw: f32| if draw < DROPOUT { 0.0 } else { 1.0 / (1.0 - DROPOUT) };
    let factors: Vec<f32> = (0..rows * columns).map(|_| factor(uniform(rng))).collect();
    Tensor::from_data(TensorData::new(factors, [rows, columns]), &hidden.device())
}

/// Mean cross-entropy between the sigmoid of `logits` and what is true of all of them.
fn cross_entropy(logits: Tensor<1>, real: bool, smoothing: Option<f32>) -> Tensor<1> {
    let device = logits.device();
    let targets = Tensor::<1, Int>::full(logits.dims(), i32::from(real), &device);
    let loss = BinaryCrossEntropyLossConfig::new().with_logits(true).with_smoothing(smoothing);
    loss.init(&device).forward(logits, targets)
}

/// What the discriminator is to lessen, from its logits of real and of made pictures. Only the real
/// ones are smoothed.
fn telling_loss(of_real: Tensor<1>, of_made: Tensor<1>) -> Tensor<1> {
    cross_entropy(of_real, true, Some(SMOOTHING)) + cross_entropy(of_made, false, None)
}

/// Both networks, and how they learn.
pub struct Gan {
    generator: Trained<Generator>,
    discriminator: Trained<Discriminator>,
    rate: Rate,
    device: Device,
}

impl Gan {
    /// Networks on `device`, with initial weights that follow from `seed`.
    pub fn new(device: Device, rate: Rate, config: GanConfig, seed: u64) -> Self {
        let device = device.autodiff();
        let mut rng = stream(seed, Purpose::Weights, &[]);
        let generator = Generator::new(config, &mut rng, &device);
        let discriminator = Discriminator::new(config, &mut rng, &device);
        Self {
            generator: Trained::new(generator, METHOD, GENERATOR),
            discriminator: Trained::new(discriminator, METHOD, DISCRIMINATOR),
            rate,
            device,
        }
    }
}

/// Real pictures of a batch, in `[-1, 1]`.
fn real(batch: &Batch, device: &Device) -> Tensor<2> {
    pixels(batch, device).mul_scalar(2.0).sub_scalar(1.0)
}

impl Learner for Gan {
    fn terms(&self) -> &'static [&'static str] {
        &["discriminator", "generator"]
    }

    fn learn(&mut self, batch: &Batch, rng: &mut ChaCha8Rng) -> Tensor<1> {
        let count = batch.labels.len();
        let rate = self.rate.at(batch.start.epoch);
        let noise = noise(count, self.generator.model.latent(), rng, &self.device);
        let made = self.generator.model.forward(noise);

        let judge = &self.discriminator.model;
        let of_real = judge.forward(real(batch, &self.device), Some(rng));
        let of_made = judge.forward(made.clone().detach(), Some(rng));
        let told = telling_loss(of_real, of_made);
        self.discriminator.step(rate, &told);

        // The discriminator judges anew, and isn't changed by what it says now.
        let judge = self.discriminator.model.clone().no_grad();
        let fooled = cross_entropy(judge.forward(made, Some(rng)), true, None);
        self.generator.step(rate, &fooled);
        Tensor::cat(vec![told.inner(), fooled.inner()], 0).mul_scalar(count as f32)
    }

    fn judge(&self, batch: &Batch, rng: &mut ChaCha8Rng) -> Verdict {
        let device = self.device.clone().inner();
        let (generator, judge) = (self.generator.model.valid(), self.discriminator.model.valid());
        let count = batch.labels.len();
        let made = generator.forward(noise(count, generator.latent(), rng, &device));
        let of_made = judge.forward(made, None);
        let of_real = judge.forward(real(batch, &device), None);
        let told = telling_loss(of_real, of_made.clone());
        let fooled = cross_entropy(of_made, true, None);
        let losses = Tensor::cat(vec![told, fooled], 0).mul_scalar(count as f32);
        Verdict { losses, classes: None }
    }

    fn pictures(
        &self,
        count: usize,
        rng: &mut ChaCha8Rng,
    ) -> Result<Option<Vec<u8>>, LearnerError> {
        let device = self.device.clone().inner();
        let generator = self.generator.model.valid();
        let made = generator.forward(noise(count, generator.latent(), rng, &device));
        levels(made.add_scalar(1.0).div_scalar(2.0)).map(Some)
    }

    fn classify(&self, _pixels: &[u8]) -> Result<Option<Vec<f32>>, LearnerError> {
        Ok(None)
    }

    fn save(&self) -> Result<Vec<(&'static str, Vec<u8>)>, LearnerError> {
        let mut files = self.generator.save()?;
        files.extend(self.discriminator.save()?);
        Ok(files)
    }

    fn load(&mut self, file: File<'_>) -> Result<(), LearnerError> {
        self.generator.load(file)?;
        self.discriminator.load(file)
    }

    fn adopt(&mut self, file: File<'_>) -> Result<Adopted, LearnerError> {
        let mut adopted = self.generator.adopt(file)?;
        let more = self.discriminator.adopt(file)?;
        adopted.taken.extend(more.taken);
        adopted.left.extend(more.left);
        Ok(adopted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Cursor;

    #[test]
    fn labels_of_real_pictures_are_smoothed_and_of_made_ones_are_not() {
        let device = Device::flex();
        let on = |logit: f32, real, smoothing| -> f32 {
            cross_entropy(Tensor::from_data([logit], &device), real, smoothing).into_scalar()
        };
        // -(0.9 ln s(2) + 0.1 ln s(-2)) and -ln(1 - s(2)), s the sigmoid.
        assert!((on(2.0, true, Some(SMOOTHING)) - 0.326_928).abs() < 1e-5);
        assert!((on(2.0, false, None) - 2.126_928).abs() < 1e-5);
    }

    #[test]
    fn both_networks_learn_at_every_step() {
        let rate = Rate { first: 1e-3, decay: 1.0 };
        let mut gan = Gan::new(Device::flex(), rate, GanConfig { hidden: 4, latent: 2 }, 1);
        let batch = Batch {
            start: Cursor::default(),
            pixels: vec![128; 3 * PIXELS],
            labels: vec![0; 3],
            last: true,
        };
        let mut rng = stream(1, Purpose::TrainNoise, &[]);
        let mut before = gan.save().unwrap();
        for _ in 0..3 {
            gan.learn(&batch, &mut rng);
            let after = gan.save().unwrap();
            for ((name, old), (_, new)) in before.iter().zip(&after) {
                assert!(old != new, "{name}");
            }
            before = after;
        }
    }

    #[test]
    fn dropout_keeps_the_mean_and_is_drawn_from_the_stream() {
        let device = Device::flex();
        let hidden = Tensor::<2>::ones([50, 200], &device);
        let draw = |seed| mask(&hidden, &mut stream(seed, Purpose::TrainNoise, &[]));
        let mean: f32 = draw(1).mean().into_scalar();
        assert!((mean - 1.0).abs() < 0.03, "{mean}");
        let values = |seed| draw(seed).into_data().iter::<f32>().collect::<Vec<_>>();
        assert_eq!(values(1), values(1));
        assert_ne!(values(1), values(2));
    }
}
