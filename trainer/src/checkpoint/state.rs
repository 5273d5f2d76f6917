//! Where a run stands: `state.json`.

use bytes::Bytes;
use coffer_client::checkpoint::{CheckpointError, CheckpointId, Loaded, Metrics, Position};
use serde::{Deserialize, Serialize};

use crate::energy::Energy;
use crate::stream::Cursor;
use crate::train::{EpochRecord, Timing, TrainConfig};

/// Name of the state within a checkpoint.
pub const STATE: &str = "state.json";

/// Where a run stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Steps taken since the beginning.
    pub step: u64,
    /// The next sample to learn from.
    pub cursor: Cursor,
    /// What the run's numbers follow from.
    pub config: TrainConfig,
    /// All epochs so far.
    pub history: Vec<EpochRecord>,
    /// What the epoch that is under way has come to.
    #[serde(default, skip_serializing_if = "Partial::is_empty")]
    pub partial: Partial,
}

/// What a part of an epoch has come to. With it, the mean loss of an epoch that was broken off is,
/// bit for bit, that of one that wasn't.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partial {
    /// Steps in it.
    pub steps: u64,
    /// Samples in it.
    pub samples: usize,
    /// The loss's terms, each summed over these samples.
    pub sums: Vec<f64>,
    /// How long it took.
    pub timing: Timing,
}

impl Partial {
    /// Whether nothing of the epoch is done.
    pub fn is_empty(&self) -> bool {
        self.steps == 0
    }
}

impl State {
    /// The state of a run that begins.
    pub fn new(config: TrainConfig) -> Self {
        let (cursor, partial) = (Cursor::default(), Partial::default());
        Self { step: 0, cursor, config, history: Vec::new(), partial }
    }

    /// The state in a checkpoint.
    ///
    /// # Errors
    /// If there is none, or it isn't one of this release.
    pub fn of(loaded: &Loaded) -> Result<Self, CheckpointError> {
        let object = || format!("{STATE} of {}", loaded.entry.id);
        let content = loaded.parts.get(STATE).ok_or_else(|| CheckpointError::Corrupt {
            object: object(),
            problem: "the checkpoint has none".to_owned(),
        })?;
        serde_json::from_slice(content)
            .map_err(|source| CheckpointError::Json { object: object(), source })
    }

    /// The state as a part of a checkpoint.
    ///
    /// # Errors
    /// If it can't be written as JSON.
    pub fn to_part(&self) -> Result<Bytes, CheckpointError> {
        let object = || STATE.to_owned();
        let json = serde_json::to_vec_pretty(self);
        json.map(Bytes::from).map_err(|source| CheckpointError::Json { object: object(), source })
    }

    /// The name of a checkpoint of it.
    pub fn id(&self) -> CheckpointId {
        CheckpointId(self.step)
    }

    /// How far the run is.
    pub fn position(&self) -> Position {
        let sample = u64::try_from(self.cursor.sample).unwrap_or(u64::MAX);
        Position { epoch: self.cursor.epoch, sample }
    }

    /// Figures of the last epoch that is done, or of the part of one that is under way; `terms` are
    /// the loss's.
    pub fn metrics(&self, terms: &[&str]) -> Metrics {
        if !self.partial.is_empty() {
            let Partial { samples, sums, .. } = &self.partial;
            let loss = |sum: &f64| sum / *samples as f64;
            let term = |(name, sum): (&&str, &f64)| (format!("train_{name}"), loss(sum));
            let total = ("train_loss".to_owned(), loss(&sums.iter().sum()));
            return terms.iter().zip(sums).map(term).chain([total]).collect();
        }
        self.history.last().map(EpochRecord::metrics).unwrap_or_default()
    }

    /// Energy that the run's training has taken, where all of it was measured.
    pub fn energy(&self) -> Energy {
        let partial = (!self.partial.is_empty()).then_some(&self.partial.timing);
        let epochs = self.history.iter().map(|record| &record.timing);
        Energy::sum(epochs.chain(partial).map(|timing| timing.energy))
    }

    /// The checkpoint at the end of `epoch`, counted from 1, if it is in the history.
    pub fn end_of(&self, epoch: u64) -> Option<CheckpointId> {
        let epochs = usize::try_from(epoch).ok()?;
        let steps = self.history.get(..epochs)?.iter().map(|record| record.steps);
        Some(CheckpointId(steps.sum()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn arbitrary_states_never_panic_and_sums_survive(json: String, bits in prop::collection::vec(any::<u64>(), 0..4)) {
            prop_assert!(serde_json::from_str::<State>(&json).is_err());
            let sums: Vec<f64> = bits.into_iter().map(f64::from_bits).filter(|sum| sum.is_finite()).collect();
            let partial = Partial { steps: 1, samples: 3, sums, timing: Timing::default() };
            let json = serde_json::to_string(&partial).unwrap();
            let back: Partial = serde_json::from_str(&json).unwrap();
            let bits = |partial: &Partial| partial.sums.iter().map(|sum| sum.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&back), bits(&partial));
        }
    }
}
