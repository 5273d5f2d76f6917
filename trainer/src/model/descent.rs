//! A learner for any model that has one loss.

use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};

use super::replicas::{Replicas, Share, sum};
use super::trained::{Files, Method, Trained};
use super::{Adopted, Devices, File, Learner, LearnerError, Objective, Verdict, ink, levels};
use crate::seeded::Draws;
use crate::stream::Batch;

/// Names of the files within a checkpoint.
const FILES: Files = Files { weights: "model.safetensors", optimizer: "optimizer.safetensors" };

/// A model and the optimizer that improves it.
pub struct Descent<M: Objective> {
    trained: Trained<M>,
    rate: Rate,
    replicas: Replicas,
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
    /// A learner for the model that `build` makes, with a replica of it on each of `devices`,
    /// improved by `method` at `rate`.
    ///
    /// # Errors
    /// If the replicas' threads can't be started.
    pub fn new(
        devices: Devices,
        method: Method,
        rate: Rate,
        build: impl FnOnce(&Device) -> M,
    ) -> Result<Self, LearnerError> {
        let replicas = Replicas::start(devices)?;
        let trained = Trained::new(build(replicas.learning()), method, FILES);
        Ok(Self { trained, rate, replicas })
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

    fn learn(&mut self, batch: &Batch, draws: Draws) -> Result<Tensor<1>, LearnerError> {
        let samples = batch.labels.len() as f32;
        let model = self.model().clone();
        let work = move |device: &Device, Share { batch, mut draws }| {
            let model = model.clone().fork(device);
            let losses = model.losses(&batch, &mut draws, device);
            let part_of_mean = losses.clone().sum().div_scalar(samples);
            (GradientsParams::from_grads(part_of_mean.backward(), &model), losses.inner())
        };
        let found = self.replicas.map(self.replicas.share(batch, draws), work)?;
        let (gradients, losses): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        let device = self.replicas.inner();
        self.trained.step(self.rate.at(batch.start.epoch), gradients, &device);
        Ok(sum(losses, &device).unwrap_or_else(|| Tensor::zeros([M::TERMS.len()], &device)))
    }

    fn judge(&self, batch: &Batch, mut draws: Draws) -> Verdict {
        self.model().valid().judge(batch, &mut draws, &self.replicas.inner())
    }

    fn pictures(&self, mut draws: Draws) -> Result<Option<Vec<u8>>, LearnerError> {
        let Some(pictures) = self.model().valid().pictures(&mut draws, &self.replicas.inner())
        else {
            return Ok(None);
        };
        levels(pictures).map(Some)
    }

    fn classify(&self, pixels: &[u8]) -> Result<Option<Vec<f32>>, LearnerError> {
        let pictures = ink(pixels, &self.replicas.inner());
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
