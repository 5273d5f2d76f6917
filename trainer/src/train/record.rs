//! What is remembered of each epoch.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use coffer_client::checkpoint::Metrics;

use crate::energy::Energy;
use crate::metrics::Confusion;

/// The loss's terms by name, each the mean per sample, in [`ModelConfig::unit`].
///
/// [`ModelConfig::unit`]: super::ModelConfig::unit
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Losses(pub BTreeMap<String, f64>);

impl Losses {
    /// The loss: the sum of its terms.
    pub fn total(&self) -> f64 {
        self.0.values().sum()
    }
}

impl std::fmt::Display for Losses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let decimals = decimals(self.total());
        write!(f, "{:.decimals$}", self.total())?;
        let terms: Vec<String> =
            self.0.iter().map(|(name, value)| format!("{name} {value:.decimals$}")).collect();
        if terms.len() > 1 {
            write!(f, " ({})", terms.join(", "))?;
        }
        Ok(())
    }
}

/// Decimals that a loss is shown with: enough for about four digits.
pub fn decimals(loss: f64) -> usize {
    if loss.abs() < 10.0 { 4 } else { 2 }
}

/// What an epoch took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timing {
    /// Seconds of training, without evaluation and checkpoint.
    pub train_seconds: f64,
    /// Seconds of these that training waited for data.
    pub wait_seconds: f64,
    /// Seconds of evaluation on the samples held out and the test set.
    pub test_seconds: f64,
    /// Seconds that learning stood still for checkpoints, that of the epoch before included: while
    /// they were copied, and while one before was still being written.
    pub stall_seconds: f64,
    /// Energy of training, as far as it was measured.
    #[serde(default, skip_serializing_if = "Energy::is_empty")]
    pub energy: Energy,
}

impl Timing {
    /// Share of training's time that it waited for data.
    pub fn wait_share(&self) -> f64 {
        self.wait_seconds / self.train_seconds.max(f64::MIN_POSITIVE)
    }

    /// How many of `count`, done in training, that is per second of it.
    pub fn per_second(&self, count: f64) -> f64 {
        count / self.train_seconds.max(f64::MIN_POSITIVE)
    }
}

/// One epoch of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochRecord {
    /// The epoch, counted from 1 as people do.
    pub epoch: u64,
    /// Steps in it.
    pub steps: u64,
    /// Mean loss during the epoch, while the weights changed.
    pub train: Losses,
    /// Mean loss on the samples held out for validation after it, if any are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Losses>,
    /// Mean loss on the test set after it.
    pub test: Losses,
    /// Which classes were told on the test set, if the model tells classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confusion: Option<Confusion>,
    /// What it took: the only part that differs between equal runs.
    pub timing: Timing,
}

impl EpochRecord {
    /// Its figures, by the names that checkpoints give them: `train_loss`, `validation_loss`,
    /// `test_loss`, each loss's terms, and `test_accuracy`.
    pub fn metrics(&self) -> Metrics {
        let sets = [
            ("train", Some(&self.train)),
            ("validation", self.validation.as_ref()),
            ("test", Some(&self.test)),
        ];
        let figures = sets.into_iter().filter_map(|(set, losses)| Some((set, losses?)));
        let figures = figures.flat_map(|(set, losses)| {
            let terms = losses.0.iter().map(|(name, value)| (name.as_str(), *value));
            let all = terms.chain([("loss", losses.total())]);
            all.map(move |(name, value)| (format!("{set}_{name}"), value))
        });
        let accuracy = self.confusion.map(|confusion| confusion.scores().accuracy);
        figures.chain(accuracy.map(|share| ("test_accuracy".to_owned(), share))).collect()
    }
}
