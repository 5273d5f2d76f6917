//! One pass over a split: learning from it, or judging by it.

use burn::tensor::{Int, Tensor};

use super::record::Losses;
use crate::metrics::Confusion;
use crate::model::{Learner, LearnerError};
use crate::seeded::{Draws, Purpose};
use crate::stream::{Batch, Loader, StreamError};

/// Losses are read from the device in groups of this many steps, not to stall it at every step.
const STEPS_PER_READ: usize = 64;

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// The data can't be streamed.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The model or its device failed.
    #[error(transparent)]
    Learner(#[from] LearnerError),
    /// The loss is no longer a number.
    #[error("the loss became {value} in epoch {epoch}, near step {step}: lower the learning rate")]
    Diverged {
        /// What it became.
        value: f64,
        /// The epoch, counted from 1.
        epoch: u64,
        /// A step within the epoch at or shortly after which it was noticed.
        step: u64,
    },
}

/// What a pass gave.
pub(super) struct Pass {
    /// Mean losses per sample.
    pub losses: Losses,
    /// Which classes were told, if the learner was judged and tells classes.
    pub confusion: Option<Confusion>,
    /// Batches in it.
    pub steps: u64,
}

/// Whether a pass changes the learner.
pub(super) enum Mode<'a> {
    /// It learns.
    Learn(&'a mut dyn Learner),
    /// It's judged; with the same noise in every epoch, so that epochs can be compared.
    Judge(&'a dyn Learner),
}

/// Runs one epoch of `loader` through a learner. `progress` is told the samples so far and their
/// mean loss, every [`STEPS_PER_READ`] steps.
pub(super) fn pass(
    mut mode: Mode<'_>,
    loader: &mut Loader,
    seed: u64,
    progress: &mut dyn FnMut(usize, f64),
) -> Result<Pass, PassError> {
    let terms = match &mode {
        Mode::Learn(learner) => learner.terms(),
        Mode::Judge(learner) => learner.terms(),
    };
    let mut meter = Meter::new(terms.len());
    let mut confusion = None;
    let mut steps = 0;
    while let Some(batch) = loader.next_batch()? {
        let start = batch.start;
        let first = u64::try_from(start.sample).unwrap_or(u64::MAX);
        let samples = u64::try_from(batch.labels.len()).unwrap_or(u64::MAX);
        let draws = |purpose, position: &[u64]| {
            Draws::new(seed, purpose, position, first..first.saturating_add(samples))
        };
        let losses = match &mut mode {
            Mode::Learn(learner) => {
                learner.learn(&batch, draws(Purpose::TrainNoise, &[start.epoch]))?
            }
            Mode::Judge(learner) => {
                let verdict = learner.judge(&batch, draws(Purpose::TestNoise, &[]));
                if let Some(classes) = verdict.classes {
                    count(confusion.get_or_insert_default(), &batch, classes)?;
                }
                verdict.losses
            }
        };
        steps += 1;
        meter.add(losses, batch.labels.len());
        if batch.last || meter.pending.len() == STEPS_PER_READ {
            meter.read()?;
            let value = meter.mean();
            if !value.is_finite() {
                return Err(PassError::Diverged { value, epoch: start.epoch + 1, step: steps });
            }
            progress(meter.samples, value);
        }
        if batch.last {
            break;
        }
    }
    let names = terms.iter().map(|name| (*name).to_owned());
    let means = meter.sums.iter().map(|sum| sum / meter.samples as f64);
    Ok(Pass { losses: Losses(names.zip(means).collect()), confusion, steps })
}

/// Counts the classes that were told for `batch`.
fn count(
    confusion: &mut Confusion,
    batch: &Batch,
    classes: Tensor<1, Int>,
) -> Result<(), LearnerError> {
    let classes = classes
        .try_into_vec_as::<i32>()
        .map_err(|error| LearnerError::Device(error.to_string()))?;
    for (truth, told) in batch.labels.iter().zip(classes) {
        confusion.add(*truth, u8::try_from(told).unwrap_or(u8::MAX));
    }
    Ok(())
}

/// Sums up losses that are still on the device.
struct Meter {
    pending: Vec<Tensor<1>>,
    sums: Vec<f64>,
    samples: usize,
}

impl Meter {
    fn new(terms: usize) -> Self {
        Self { pending: Vec::with_capacity(STEPS_PER_READ), sums: vec![0.0; terms], samples: 0 }
    }

    fn add(&mut self, losses: Tensor<1>, samples: usize) {
        self.pending.push(losses);
        self.samples += samples;
    }

    fn read(&mut self) -> Result<(), LearnerError> {
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() {
            return Ok(());
        }
        let values = Tensor::cat(pending, 0)
            .try_into_vec_as::<f32>()
            .map_err(|error| LearnerError::Device(error.to_string()))?;
        for step in values.chunks(self.sums.len()) {
            for (sum, value) in self.sums.iter_mut().zip(step) {
                *sum += f64::from(*value);
            }
        }
        Ok(())
    }

    /// Mean loss per sample of what has been read.
    fn mean(&self) -> f64 {
        self.sums.iter().sum::<f64>() / self.samples as f64
    }
}
