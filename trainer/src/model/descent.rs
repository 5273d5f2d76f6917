//! A learner for any model that has one loss.

use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;

use super::trained::{Files, Method, Trained};
use super::{Adopted, File, Learner, LearnerError, Objective, Verdict, ink, levels};
use crate::stream::Batch;

/// Names of the files within a checkpoint.
const FILES: Files = Files { weights: "model.safetensors", optimizer: "optimizer.safetensors" };

/// A model and the optimizer that improves it.
pub struct Descent<M: Objective> {
    trained: Trained<M>,
    rate: Rate,
    device: Device,
}

/// The optimizer's step size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// In the first epoch.
    pub first: f64,
    /// What it is multiplied by from each epoch to the next.
    pub decay: f64,
}

impl Rate {
    /// The step size in `epoch`, counted from 0. It follows from the epoch alone, so that a resumed
    /// run needs to remember nothing.
    pub fn at(self, epoch: u64) -> f64 {
        self.first * self.decay.powf(epoch as f64)
    }
}

impl<M: Objective> Descent<M> {
    /// A learner for the model that `build` makes on `device`, improved by `method` at `rate`.
    pub fn new(
        device: Device,
        method: Method,
        rate: Rate,
        build: impl FnOnce(&Device) -> M,
    ) -> Self {
        let device = device.autodiff();
        Self { trained: Trained::new(build(&device), method, FILES), rate, device }
    }

    /// The model as it stands.
    pub fn model(&self) -> &M {
        &self.trained.model
    }
}

impl<M: Objective> Learner for Descent<M> {
    fn terms(&self) -> &'static [&'static str] {
        M::TERMS
    }

    fn learn(&mut self, batch: &Batch, rng: &mut ChaCha8Rng) -> Tensor<1> {
        let losses = self.model().losses(batch, rng, &self.device);
        let mean = losses.clone().sum().div_scalar(batch.labels.len() as f32);
        self.trained.step(self.rate.at(batch.start.epoch), &mean);
        losses.inner()
    }

    fn judge(&self, batch: &Batch, rng: &mut ChaCha8Rng) -> Verdict {
        self.model().valid().judge(batch, rng, &self.device.clone().inner())
    }

    fn pictures(
        &self,
        count: usize,
        rng: &mut ChaCha8Rng,
    ) -> Result<Option<Vec<u8>>, LearnerError> {
        let device = self.device.clone().inner();
        let Some(pictures) = self.model().valid().pictures(count, rng, &device) else {
            return Ok(None);
        };
        levels(pictures).map(Some)
    }

    fn classify(&self, pixels: &[u8]) -> Result<Option<Vec<f32>>, LearnerError> {
        let pictures = ink(pixels, &self.device.clone().inner());
        let Some(probabilities) = self.model().valid().probabilities(pictures) else {
            return Ok(None);
        };
        let found = probabilities.try_into_vec_as::<f32>();
        found.map(Some).map_err(|error| LearnerError::Device(error.to_string()))
    }

    fn save(&self) -> Result<Vec<(&'static str, Vec<u8>)>, LearnerError> {
        self.trained.save()
    }

    fn load(&mut self, file: File<'_>) -> Result<(), LearnerError> {
        self.trained.load(file)
    }

    fn adopt(&mut self, file: File<'_>) -> Result<Adopted, LearnerError> {
        self.trained.adopt(file)
    }
}
