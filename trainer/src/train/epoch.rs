//! Learning from batches, and judging by them.

use std::time::{Duration, Instant};

use burn::tensor::{Int, Tensor};

use super::record::{Losses, Timing};
use crate::checkpoint::Partial;
use crate::metrics::Confusion;
use crate::model::{Learner, LearnerError};
use crate::seeded::{Draws, Purpose};
use crate::stream::{Batch, Loader, StreamError};

/// Losses are read from the device in groups of at most this many steps, not to stall it at every
/// step.
const STEPS_PER_READ: usize = 64;
/// After this time they are read anyway, for those who watch. The sums are the same.
const READ_EVERY: Duration = Duration::from_millis(500);

/// Why a pass over data failed.
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

/// What judging gave.
pub(super) struct Judged {
    /// Mean losses per sample.
    pub(super) losses: Losses,
    /// Which classes were told, if the learner tells classes.
    pub(super) confusion: Option<Confusion>,
}

/// Judges `learner` by the first epoch of `loader`; with the same noise in every epoch of the run, so
/// that they can be compared. `progress` is told whenever losses have been read.
pub(super) fn judge(
    learner: &dyn Learner,
    loader: &mut Loader,
    seed: u64,
    progress: &mut dyn FnMut(),
) -> Result<Judged, PassError> {
    let mut meter = Meter::new(learner.terms(), &Partial::default());
    let mut confusion = None;
    while let Some(batch) = loader.next_batch()? {
        let verdict = learner.judge(&batch, draws(&batch, seed, Purpose::TestNoise, &[]));
        if let Some(classes) = verdict.classes {
            count(confusion.get_or_insert_default(), &batch, classes)?;
        }
        if meter.add(verdict.losses, &batch)?.is_some() {
            progress();
        }
        if batch.last {
            break;
        }
    }
    Ok(Judged { losses: meter.means()?, confusion })
}

/// What is drawn for the samples of `batch`.
pub(super) fn draws(batch: &Batch, seed: u64, purpose: Purpose, position: &[u64]) -> Draws {
    let first = u64::try_from(batch.start.sample).unwrap_or(u64::MAX);
    let samples = u64::try_from(batch.labels.len()).unwrap_or(u64::MAX);
    Draws::new(seed, purpose, position, first..first.saturating_add(samples))
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
pub(super) struct Meter {
    terms: &'static [&'static str],
    pending: Vec<Tensor<1>>,
    sums: Vec<f64>,
    samples: usize,
    /// Samples of these whose losses are pending.
    unread: usize,
    steps: u64,
    /// When losses were last read.
    read: Instant,
}

/// Losses, as they are read.
pub(super) struct Reading {
    /// Mean losses per sample so far.
    pub(super) losses: Losses,
    /// Mean loss per sample since the last reading.
    pub(super) recent: f64,
}

impl Meter {
    /// Goes on from what a part of an epoch has come to.
    pub(super) fn new(terms: &'static [&'static str], from: &Partial) -> Self {
        let pending = Vec::with_capacity(STEPS_PER_READ);
        let mut sums = from.sums.clone();
        sums.resize(terms.len(), 0.0);
        let Partial { samples, steps, .. } = *from;
        Self { terms, pending, sums, samples, unread: 0, steps, read: Instant::now() }
    }

    /// Adds the losses of `batch`, a tensor of shape `[terms]`. Reads losses after
    /// [`STEPS_PER_READ`] steps, after [`READ_EVERY`], and at the end of the epoch.
    pub(super) fn add(
        &mut self,
        losses: Tensor<1>,
        batch: &Batch,
    ) -> Result<Option<Reading>, PassError> {
        self.pending.push(losses);
        self.samples += batch.labels.len();
        self.unread += batch.labels.len();
        self.steps += 1;
        let due = self.pending.len() == STEPS_PER_READ || self.read.elapsed() >= READ_EVERY;
        if !batch.last && !due {
            return Ok(None);
        }
        let recent = self.read()?;
        let value = self.mean();
        if !value.is_finite() {
            let (epoch, step) = (batch.start.epoch + 1, self.steps);
            return Err(PassError::Diverged { value, epoch, step });
        }
        Ok(Some(Reading { losses: self.losses(), recent }))
    }

    /// Samples so far.
    pub(super) fn samples(&self) -> usize {
        self.samples
    }

    /// Steps so far.
    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    /// What has been added so far, in `epoch`, counted from 0.
    pub(super) fn partial(&mut self, epoch: u64, timing: Timing) -> Result<Partial, PassError> {
        self.read()?;
        let (value, steps) = (self.mean(), self.steps);
        if !value.is_finite() {
            return Err(PassError::Diverged { value, epoch: epoch + 1, step: steps });
        }
        Ok(Partial { steps, samples: self.samples, sums: self.sums.clone(), timing })
    }

    /// Mean losses per sample.
    pub(super) fn means(mut self) -> Result<Losses, LearnerError> {
        self.read()?;
        Ok(self.losses())
    }

    fn losses(&self) -> Losses {
        let names = self.terms.iter().map(|name| (*name).to_owned());
        Losses(names.zip(self.sums.iter().map(|sum| sum / self.samples as f64)).collect())
    }

    /// Reads what is pending; returns its mean loss per sample.
    fn read(&mut self) -> Result<f64, LearnerError> {
        self.read = Instant::now();
        let before: f64 = self.sums.iter().sum();
        let unread = std::mem::take(&mut self.unread);
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() {
            return Ok(0.0);
        }
        let values = Tensor::cat(pending, 0)
            .try_into_vec_as::<f32>()
            .map_err(|error| LearnerError::Device(error.to_string()))?;
        for step in values.chunks(self.sums.len()) {
            for (sum, value) in self.sums.iter_mut().zip(step) {
                *sum += f64::from(*value);
            }
        }
        Ok((self.sums.iter().sum::<f64>() - before) / unread as f64)
    }

    /// Mean loss per sample of what has been read.
    fn mean(&self) -> f64 {
        self.sums.iter().sum::<f64>() / self.samples as f64
    }
}
