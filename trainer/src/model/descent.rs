//! Learning by Adam (Kingma and Ba, 2014, arXiv:1412.6980): fits any model that has one loss.

use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;

use super::optimizer_file;
use super::weights_file::{load_weights, save_weights};
use super::{Learner, LearnerError, Objective, Verdict};
use crate::dataset::picture::grey;
use crate::stream::Batch;

/// File of the weights within a checkpoint.
const WEIGHTS: &str = "model.safetensors";
/// File of the optimizer's state within a checkpoint.
const OPTIMIZER: &str = "optimizer.safetensors";

/// A model and the optimizer that improves it.
pub struct Descent<M: Objective> {
    model: M,
    optimizer: ModuleOptimizer,
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
    /// A learner for the model that `build` makes on `device`, with Adam at `rate`.
    pub fn new(device: Device, rate: Rate, build: impl FnOnce(&Device) -> M) -> Self {
        let device = device.autodiff();
        let optimizer = AdamConfig::new().with_epsilon(1e-8).init();
        Self { model: build(&device), optimizer, rate, device }
    }
}

impl<M: Objective> Learner for Descent<M> {
    fn terms(&self) -> &'static [&'static str] {
        M::TERMS
    }

    fn learn(&mut self, batch: &Batch, rng: &mut ChaCha8Rng) -> Tensor<1> {
        let losses = self.model.losses(batch, rng, &self.device);
        let mean = losses.clone().sum().div_scalar(batch.labels.len() as f32);
        let gradients = GradientsParams::from_grads(mean.backward(), &self.model);
        let rate = self.rate.at(batch.start.epoch);
        self.model = self.optimizer.step(rate, self.model.clone(), gradients);
        losses.inner()
    }

    fn judge(&self, batch: &Batch, rng: &mut ChaCha8Rng) -> Verdict {
        self.model.valid().judge(batch, rng, &self.device.clone().inner())
    }

    fn pictures(
        &self,
        count: usize,
        rng: &mut ChaCha8Rng,
    ) -> Result<Option<Vec<u8>>, LearnerError> {
        let device = self.device.clone().inner();
        let Some(pictures) = self.model.valid().pictures(count, rng, &device) else {
            return Ok(None);
        };
        let levels = pictures
            .try_into_vec_as::<f32>()
            .map_err(|error| LearnerError::Device(error.to_string()))?;
        Ok(Some(levels.into_iter().map(grey).collect()))
    }

    fn save(&self) -> Result<Vec<(&'static str, Vec<u8>)>, LearnerError> {
        let optimizer = optimizer_file::encode(&self.optimizer)?;
        Ok(vec![(WEIGHTS, save_weights(&self.model)?), (OPTIMIZER, optimizer)])
    }

    fn load(&mut self, file: &dyn Fn(&str) -> Option<Vec<u8>>) -> Result<(), LearnerError> {
        let need = |name: &'static str| file(name).ok_or(LearnerError::Missing(name));
        load_weights(&mut self.model, need(WEIGHTS)?)?;
        let record = optimizer_file::decode(&need(OPTIMIZER)?, &self.model)?;
        let fresh = AdamConfig::new().with_epsilon(1e-8).init();
        self.optimizer = fresh.load_record(record);
        Ok(())
    }
}
