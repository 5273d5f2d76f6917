//! What runs are configured as where the command line doesn't say; it depends on the model.

use std::num::NonZeroUsize;

/// Defaults of one model's runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Defaults {
    pub(crate) epochs: u64,
    pub(crate) batch: NonZeroUsize,
    pub(crate) learning_rate: f64,
    pub(crate) decay: f64,
}

/// Of the autoencoder.
pub(crate) const VAE: Defaults =
    Defaults { epochs: 10, batch: count(16), learning_rate: 1e-3, decay: 1.0 };
/// Of the classifier.
pub(crate) const CLASSIFIER: Defaults =
    Defaults { epochs: 5, batch: count(32), learning_rate: 1.5e-3, decay: 0.6 };
/// Of the adversarial networks.
pub(crate) const GAN: Defaults =
    Defaults { epochs: 5, batch: count(64), learning_rate: 5e-4, decay: 0.75 };
/// Of the linear regression.
pub(crate) const LINEAR: Defaults =
    Defaults { epochs: 10, batch: count(64), learning_rate: 2e-3, decay: 0.8 };

impl Defaults {
    /// What `--help` says of them.
    pub(crate) fn help(self) -> String {
        let Self { epochs, batch, learning_rate, decay } = self;
        format!(
            "Defaults of this model: --epochs {epochs} --batch {batch} \
             --learning-rate {learning_rate} --decay {decay}"
        )
    }
}

const fn count(at_least_one: usize) -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(at_least_one - 1)
}
