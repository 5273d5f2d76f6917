//! What determines a run: with the same configuration, it computes the same numbers.

use std::num::NonZeroUsize;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::dataset::index::Digest;
use crate::model::vae::{Vae, VaeConfig};
use crate::model::{Descent, Learner};

/// Which model, and how large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum ModelConfig {
    /// The variational autoencoder.
    Vae(VaeConfig),
}

/// Everything that a run's numbers follow from, except for how many epochs it lasts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// The model.
    pub model: ModelConfig,
    /// Seed of initial weights, order of samples, and noise.
    pub seed: u64,
    /// Samples per step.
    pub batch: NonZeroUsize,
    /// Adam's step size.
    pub learning_rate: f64,
    /// Samples that are shuffled together.
    pub window: NonZeroUsize,
    /// Version of the dataset.
    pub dataset: Digest,
}

impl TrainConfig {
    /// A learner with the initial weights of this configuration.
    pub fn learner(&self, device: Device) -> Box<dyn Learner> {
        match self.model {
            ModelConfig::Vae(config) => Box::new(Descent::new(device, self.learning_rate, |on| {
                Vae::new(config, self.seed, on)
            })),
        }
    }

    /// What differs between `self` and `other`, one "name: mine, not theirs" each; empty if they
    /// are equal.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        self.described()
            .iter()
            .zip(other.described())
            .filter(|((_, mine), (_, theirs))| mine != theirs)
            .map(|((name, mine), (_, theirs))| format!("{name}: {mine}, not {theirs}"))
            .collect()
    }

    fn described(&self) -> [(&'static str, String); 6] {
        [
            ("model", format!("{:?}", self.model)),
            ("seed", self.seed.to_string()),
            ("batch", self.batch.to_string()),
            ("learning rate", self.learning_rate.to_string()),
            ("window", self.window.to_string()),
            ("dataset", self.dataset.to_string()),
        ]
    }
}
