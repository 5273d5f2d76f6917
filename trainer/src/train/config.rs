//! What determines a run: with the same configuration, it computes the same numbers.

use std::num::NonZeroUsize;

use burn::tensor::Device;
use coffer_client::Digest;
use serde::{Deserialize, Serialize};

use crate::model::classifier::{Classifier, ClassifierConfig};
use crate::model::gan::{Gan, GanConfig};
use crate::model::regression::Regression;
use crate::model::vae::{Vae, VaeConfig};
use crate::model::{Descent, Devices, Learner, LearnerError, Method, Rate};
use crate::stream::{Holdout, Subset, Workers};

/// Which model, and how large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum ModelConfig {
    /// The variational autoencoder.
    Vae(VaeConfig),
    /// The classifier.
    Classifier(ClassifierConfig),
    /// The generative adversarial network.
    Gan(GanConfig),
    /// The linear regression.
    Linear,
}

impl ModelConfig {
    /// Its name, as in commands and places.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vae(_) => "vae",
            Self::Classifier(_) => "classifier",
            Self::Gan(_) => "gan",
            Self::Linear => "linear",
        }
    }

    /// Unit of its loss, which is a mean per image.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Vae(_) | Self::Classifier(_) | Self::Gan(_) => "nats",
            Self::Linear => "squared",
        }
    }
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
    /// The optimizer's step size in the first epoch.
    pub learning_rate: f64,
    /// What the step size is multiplied by from each epoch to the next.
    #[serde(default = "constant", skip_serializing_if = "is_constant")]
    pub decay: f64,
    /// Samples that are shuffled together.
    pub window: NonZeroUsize,
    /// Whose share of each epoch's shards is learned from.
    #[serde(default, skip_serializing_if = "is_alone")]
    pub workers: Workers,
    /// Share of the training samples that is held out for validation.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub validation: f64,
    /// Version of the dataset.
    pub dataset: Digest,
    /// Replicas of the model that the samples of a step are shared out to. Another number rounds
    /// otherwise, and isn't another run for that: one may go on with fewer GPUs than it began with.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub replicas: NonZeroUsize,
    /// Address of the checkpoint whose weights it begins with, if it doesn't begin at random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_from: Option<String>,
}

fn constant() -> f64 {
    1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_constant(decay: &f64) -> bool {
    *decay == constant()
}

const fn one() -> NonZeroUsize {
    NonZeroUsize::MIN
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_one(count: &NonZeroUsize) -> bool {
    *count == one()
}

fn is_alone(workers: &Workers) -> bool {
    *workers == Workers::ALONE
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(share: &f64) -> bool {
    *share == 0.0
}

impl TrainConfig {
    /// The samples held out for validation, if any are.
    pub fn holdout(&self) -> Option<Holdout> {
        let Self { seed, validation: share, .. } = *self;
        (share > 0.0).then_some(Holdout { seed, share })
    }

    /// The samples of the training split that are learned from.
    pub fn learned(&self) -> Subset {
        self.holdout().map_or(Subset::All, Subset::Kept)
    }

    /// A learner with the initial weights of this configuration.
    ///
    /// # Errors
    /// If the replicas on `devices` can't be started.
    pub fn learner(&self, devices: Devices) -> Result<Box<dyn Learner>, LearnerError> {
        let rate = Rate { first: self.learning_rate, decay: self.decay };
        let seed = self.seed;
        Ok(match self.model {
            ModelConfig::Vae(config) => {
                let build = |on: &Device| Vae::new(config, seed, on);
                Box::new(Descent::new(devices, Method::ADAM, rate, build)?)
            }
            ModelConfig::Classifier(config) => {
                let build = |on: &Device| Classifier::new(config, seed, on);
                Box::new(Descent::new(devices, Method::ADAM, rate, build)?)
            }
            ModelConfig::Gan(config) => Box::new(Gan::new(devices, rate, config, seed)?),
            ModelConfig::Linear => {
                Box::new(Descent::new(devices, Method::GradientDescent, rate, Regression::new)?)
            }
        })
    }

    /// What differs between `self` and `other`, one "name: mine, not theirs" each; empty if they
    /// are the same run. The number of replicas may differ.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        self.described()
            .iter()
            .zip(other.described())
            .filter(|((_, mine), (_, theirs))| mine != theirs)
            .map(|((name, mine), (_, theirs))| format!("{name}: {mine}, not {theirs}"))
            .collect()
    }

    fn described(&self) -> [(&'static str, String); 10] {
        [
            ("model", format!("{:?}", self.model)),
            ("seed", self.seed.to_string()),
            ("batch", self.batch.to_string()),
            ("learning rate", self.learning_rate.to_string()),
            ("decay", self.decay.to_string()),
            ("window", self.window.to_string()),
            ("worker", self.workers.to_string()),
            ("validation", self.validation.to_string()),
            ("dataset", self.dataset.to_string()),
            ("initial weights", self.init_from.clone().unwrap_or_else(|| "random".to_owned())),
        ]
    }
}
