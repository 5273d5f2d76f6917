//! A generative adversarial network for 28x28 pictures (Goodfellow et al., 2014,
//! arXiv:1406.2661): a generator makes pictures from noise, a discriminator tells them from real
//! ones, and each learns from the other.
//!
//! Both are convolutional networks (after Radford et al., 2015, arXiv:1511.06434): the generator
//! draws 7x7 places and doubles their side twice, the discriminator halves it twice. What keeps
//! them in balance:
//! - the generator minimises `-ln D(G(z))` rather than `ln(1 - D(G(z)))`, whose gradient vanishes
//!   where the discriminator is sure (Goodfellow et al., section 3);
//! - real pictures are labelled 0.9 for the discriminator, made ones 0 (one-sided label smoothing:
//!   Salimans et al., 2016, arXiv:1606.03498, section 3.4);
//! - leaky rectifiers of slope 0.2, pixels in `[-1, 1]` from a hyperbolic tangent, and Adam that
//!   averages gradients at 0.5 (Radford et al.);
//! - group normalisation with one group in the generator (Wu and He, 2018, arXiv:1803.08494), in
//!   place of batch normalisation: a picture then depends on its own noise alone, so that replicas
//!   can share a batch out, and nothing needs to be remembered for inference;
//! - dropout in the discriminator (Srivastava et al., 2014), drawn on the host, so that a resumed
//!   run drops the same units.
//!
//! The losses are cross-entropies in nats. They tell how the two stand to each other, and little
//! about how good the pictures are: look at the grids.

mod networks;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};

pub use networks::{Discriminator, GanConfig, Generator};

use super::replicas::{Replicas, Share, sum};
use super::trained::{Files, Method, Trained};
use super::{
    Adopted, Devices, File, Learner, LearnerError, Rate, Verdict, binary_cross_entropy, levels,
    noise, pixels,
};
use crate::seeded::{Draws, Purpose, stream};
use crate::stream::Batch;

/// What the discriminator is told of pictures, as the probability that they're real.
const REAL: f32 = 0.9;
const MADE: f32 = 0.0;
const METHOD: Method = Method::Adam { beta_1: 0.5 };
const GENERATOR: Files =
    Files { weights: "generator.safetensors", optimizer: "generator-optimizer.safetensors" };
const DISCRIMINATOR: Files = Files {
    weights: "discriminator.safetensors",
    optimizer: "discriminator-optimizer.safetensors",
};

/// Cross-entropy between the sigmoid of `logits` and the probability that is right for all of
/// them, summed to shape `[1]`.
fn cross_entropy(logits: Tensor<1>, right: f32) -> Tensor<1> {
    let targets = logits.full_like(right);
    binary_cross_entropy(logits, targets)
}

/// What the discriminator is to lessen, from its logits of real and of made pictures. Only the real
/// ones are smoothed.
fn telling_loss(of_real: Tensor<1>, of_made: Tensor<1>) -> Tensor<1> {
    cross_entropy(of_real, REAL) + cross_entropy(of_made, MADE)
}

/// What the generator is to lessen, from the discriminator's logits of its pictures.
fn fooling_loss(of_made: Tensor<1>) -> Tensor<1> {
    cross_entropy(of_made, 1.0)
}

/// Both networks, and how they learn.
pub struct Gan {
    generator: Trained<Generator>,
    discriminator: Trained<Discriminator>,
    rate: Rate,
    replicas: Replicas,
}

impl Gan {
    /// Networks with a replica on each of `devices`, with initial weights that follow from `seed`.
    ///
    /// # Errors
    /// If the replicas' threads can't be started.
    pub fn new(
        devices: Devices,
        rate: Rate,
        config: GanConfig,
        seed: u64,
    ) -> Result<Self, LearnerError> {
        let replicas = Replicas::start(devices)?;
        let mut rng = stream(seed, Purpose::Weights, &[]);
        let generator = Generator::new(config, &mut rng, replicas.learning());
        let discriminator = Discriminator::new(config, &mut rng, replicas.learning());
        Ok(Self {
            generator: Trained::new(generator, METHOD, GENERATOR),
            discriminator: Trained::new(discriminator, METHOD, DISCRIMINATOR),
            rate,
            replicas,
        })
    }
}

/// What a replica keeps between the discriminator's step and the generator's.
struct Making {
    generator: Generator,
    made: Tensor<2>,
    draws: Draws,
}

/// Real pictures of a batch, in `[-1, 1]`.
fn real(batch: &Batch, device: &Device) -> Tensor<2> {
    pixels(batch, device).mul_scalar(2.0).sub_scalar(1.0)
}

impl Learner for Gan {
    fn terms(&self) -> &'static [&'static str] {
        &["discriminator", "generator"]
    }

    fn learn(&mut self, batch: &Batch, draws: Draws) -> Result<Tensor<1>, LearnerError> {
        let samples = batch.labels.len() as f32;
        let rate = self.rate.at(batch.start.epoch);
        let device = self.replicas.inner();

        let (generator, judge) = (self.generator.model.clone(), self.discriminator.model.clone());
        let tell = move |device: &Device, Share { batch, mut draws }| {
            let (generator, judge) = (generator.clone().fork(device), judge.clone().fork(device));
            let made = generator.forward(noise(generator.latent(), &mut draws, device));
            let of_real = judge.forward(real(&batch, device), Some(&mut draws));
            let of_made = judge.forward(made.clone().detach(), Some(&mut draws));
            let told = telling_loss(of_real, of_made);
            let part_of_mean = told.clone().div_scalar(samples);
            let gradients = GradientsParams::from_grads(part_of_mean.backward(), &judge);
            (Making { generator, made, draws }, (gradients, told.inner()))
        };
        let found = self.replicas.map(self.replicas.share(batch, draws), tell)?;
        let (making, found): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        let (gradients, told): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        self.discriminator.step(rate, gradients, &device);

        // The discriminator judges anew, and isn't changed by what it says now.
        let judge = self.discriminator.model.clone();
        let fool = move |device: &Device, making| {
            let Making { generator, made, mut draws } = making;
            let judge = judge.clone().fork(device).no_grad();
            let fooled = fooling_loss(judge.forward(made, Some(&mut draws)));
            let part_of_mean = fooled.clone().div_scalar(samples);
            let gradients = GradientsParams::from_grads(part_of_mean.backward(), &generator);
            (gradients, fooled.inner())
        };
        let found = self.replicas.map(making, fool)?;
        let (gradients, fooled): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        self.generator.step(rate, gradients, &device);

        let losses = [sum(told, &device), sum(fooled, &device)];
        let losses = losses.map(|sum| sum.unwrap_or_else(|| Tensor::zeros([1], &device)));
        Ok(Tensor::cat(losses.to_vec(), 0))
    }

    fn judge(&self, batch: &Batch, mut draws: Draws) -> Verdict {
        let device = self.replicas.inner();
        let (generator, judge) = (self.generator.model.valid(), self.discriminator.model.valid());
        let made = generator.forward(noise(generator.latent(), &mut draws, &device));
        let of_made = judge.forward(made, None);
        let of_real = judge.forward(real(batch, &device), None);
        let told = telling_loss(of_real, of_made.clone());
        let losses = Tensor::cat(vec![told, fooling_loss(of_made)], 0);
        Verdict { losses, classes: None }
    }

    fn pictures(&self, mut draws: Draws) -> Result<Option<Vec<u8>>, LearnerError> {
        let generator = self.generator.model.valid();
        let noise = noise(generator.latent(), &mut draws, &self.replicas.inner());
        levels(generator.forward(noise).add_scalar(1.0).div_scalar(2.0)).map(Some)
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
    use crate::dataset::PIXELS;
    use crate::model::{DeviceChoice, DevicesChoice};
    use crate::stream::Cursor;

    #[test]
    fn labels_of_real_pictures_are_smoothed_and_of_made_ones_are_not() {
        let device = Device::flex();
        let logits = |logit: f32| Tensor::<1>::from_data([logit], &device);
        let told: f32 = telling_loss(logits(2.0), logits(2.0)).into_scalar();
        // -(0.9 ln s(2) + 0.1 ln s(-2)) and -ln(1 - s(2)), s the sigmoid.
        assert!((told - 0.326_928 - 2.126_928).abs() < 1e-5, "{told}");
        let fooled: f32 = fooling_loss(logits(2.0)).into_scalar();
        assert!((fooled - 0.126_928).abs() < 1e-5, "{fooled}");
    }

    #[test]
    fn both_networks_learn_at_every_step() {
        let rate = Rate { first: 1e-3, decay: 1.0 };
        let devices = DevicesChoice::from(DeviceChoice::Cpu).open().unwrap();
        let mut gan = Gan::new(devices, rate, GanConfig { channels: 2, latent: 2 }, 1).unwrap();
        let batch = Batch {
            start: Cursor::default(),
            end: Cursor::default(),
            pixels: vec![128; 3 * PIXELS],
            labels: vec![0; 3],
            last: true,
        };
        let mut before = gan.save().unwrap();
        for step in 0..3 {
            gan.learn(&batch, Draws::new(1, Purpose::TrainNoise, &[step], 0..3)).unwrap();
            let after = gan.save().unwrap();
            for ((name, old), (_, new)) in before.iter().zip(&after) {
                assert!(old != new, "{name}");
            }
            before = after;
        }
    }

    #[test]
    fn a_picture_follows_from_its_own_noise() {
        let devices = DevicesChoice::from(DeviceChoice::Cpu).open().unwrap();
        let rate = Rate { first: 1e-3, decay: 1.0 };
        let gan = Gan::new(devices, rate, GanConfig { channels: 2, latent: 3 }, 1).unwrap();
        let made = |samples| {
            gan.pictures(Draws::new(1, Purpose::Pictures, &[], samples)).unwrap().unwrap()
        };
        let three = made(0..3);
        assert_eq!(three.len(), 3 * PIXELS);
        assert_eq!(three[PIXELS..2 * PIXELS], made(1..2)[..]);
        assert_ne!(three[..PIXELS], three[PIXELS..2 * PIXELS]);
    }
}
