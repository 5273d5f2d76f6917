//! What is known of a run while it goes on: one state, fed by its events. Progress bars, the live view,
//! JSON and metrics all show this.
//!
//! [`Telemetry`] knows no clock; times are [`Duration`]s since the run's start. [`Watch`] is the state
//! with a clock, shared by those who look.

mod endpoint;
mod prometheus;
mod rate;
mod series;
mod steps;
#[cfg(test)]
mod tests;
mod text;
mod watch;

use std::collections::VecDeque;
use std::time::Duration;

use coffer_client::dataset::ReadStats;

use crate::checkpoint::{Partial, State, Status};
use crate::energy::Energy;
use crate::train::{EpochRecord, Event, Losses, Progress};

pub use endpoint::MetricsServer;
pub use rate::Rates;
pub use series::Series;
pub use watch::Watch;

use rate::{Totals, Window};
use steps::StepTimes;

/// Messages that are kept.
const MESSAGES: usize = 64;
/// Points of the curve within epochs.
const POINTS: usize = 1024;

/// What doesn't change during a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The model's name.
    pub model: &'static str,
    /// Unit of its loss.
    pub unit: &'static str,
    /// Address of the run.
    pub run: String,
    /// Version of the dataset.
    pub dataset: String,
    /// Where tensors are computed, as the command line names it.
    pub devices: String,
    /// Epochs in all.
    pub epochs: u64,
    /// Samples that are learned from in an epoch.
    pub samples: usize,
}

/// What the run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Reading what is there.
    Starting,
    /// Learning.
    Training,
    /// Judging what was learned, on the samples held out and the test set.
    Judging,
    /// Writing what is left to write.
    Ending,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Starting, Self::Training, Self::Judging, Self::Ending];

    /// Its name, as it's shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Training => "training",
            Self::Judging => "judging",
            Self::Ending => "ending",
        }
    }
}

/// How urgent a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// For whoever watches.
    Note,
    /// Something isn't as it should be.
    Warning,
}

/// Something that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// When.
    pub at: Duration,
    /// How urgent.
    pub level: Level,
    /// What.
    pub text: String,
}

/// The state of a run.
#[derive(Debug)]
pub struct Telemetry {
    /// What doesn't change.
    pub about: About,
    /// What it's doing.
    pub phase: Phase,
    /// The epoch under way, counted from 1; before the first, 1.
    pub epoch: u64,
    /// Steps since the run's beginning, those of former attempts included.
    pub step: u64,
    /// How far the epoch's training is.
    pub samples: usize,
    /// Mean losses so far in this epoch's training.
    pub losses: Option<Losses>,
    /// The loss during training, over the epoch as a fraction.
    pub curve: Series,
    /// The epochs that are done.
    pub history: Vec<EpochRecord>,
    /// The newest checkpoint, and what writing took.
    pub checkpoints: CheckpointFigures,
    /// What reading the dataset has cost since the start, if that is counted.
    pub reads: Option<ReadStats>,
    /// Used since the start.
    pub energy: Energy,
    /// The newest messages, oldest first.
    pub messages: VecDeque<Message>,
    /// When something last got on.
    pub progressed: Duration,
    warnings: u64,
    totals: Totals,
    window: Window,
    step_times: StepTimes,
    /// What the last [`Progress`] of this epoch had counted.
    counted: Totals,
}

/// The newest checkpoint, and what writing took.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CheckpointFigures {
    /// What their writer is doing, and has done.
    pub status: Status,
    /// The newest that this process wrote.
    pub last: Option<Saved>,
    /// Seconds that training stood still for them.
    pub stalled_seconds: f64,
}

/// A checkpoint that was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    /// Its name.
    pub id: String,
    /// When it was safe.
    pub at: Duration,
    /// Seconds that writing took.
    pub seconds: f64,
    /// Bytes that were written.
    pub bytes: u64,
}

impl Telemetry {
    /// The state of a run that is about to start.
    pub fn new(about: About) -> Self {
        Self {
            about,
            phase: Phase::Starting,
            epoch: 1,
            step: 0,
            samples: 0,
            losses: None,
            curve: Series::new(POINTS),
            history: Vec::new(),
            checkpoints: CheckpointFigures::default(),
            reads: None,
            energy: Energy::default(),
            messages: VecDeque::new(),
            progressed: Duration::ZERO,
            warnings: 0,
            totals: Totals::default(),
            window: Window::default(),
            step_times: StepTimes::default(),
            counted: Totals::default(),
        }
    }

    /// Takes note of an event.
    pub fn on(&mut self, at: Duration, event: &Event<'_>) {
        self.progressed = at;
        match event {
            Event::Resumed { state, .. } => self.resume(state),
            Event::Replicas { .. } | Event::Initialised { .. } | Event::Converged => (),
            Event::Progress(progress) => self.progress(progress),
            Event::Saving { stalled, .. } => {
                self.checkpoints.stalled_seconds += stalled.as_secs_f64();
            }
            Event::Saved(written) => {
                self.checkpoints.last = Some(Saved {
                    id: written.saved.entry.id.to_string(),
                    at,
                    seconds: written.took.as_secs_f64(),
                    bytes: written.saved.written,
                });
            }
            Event::Judging => self.phase = Phase::Judging,
            Event::Epoch(record) => {
                self.history.push((*record).clone());
                self.epoch = self.about.epochs.min(record.epoch + 1);
                self.counted = Totals::default();
                self.samples = 0;
                self.losses = None;
                self.phase = Phase::Ending;
            }
        }
    }

    fn resume(&mut self, state: &State) {
        let Partial { steps, samples, timing, .. } = &state.partial;
        self.step = state.step;
        self.epoch = self.about.epochs.min(state.cursor.epoch + 1);
        self.samples = *samples;
        self.history.clone_from(&state.history);
        // What a former attempt did isn't done by this one.
        self.counted = Totals {
            steps: *steps,
            samples: u64::try_from(*samples).unwrap_or(u64::MAX),
            seconds: timing.train_seconds,
            waited: timing.wait_seconds,
        };
    }

    fn progress(&mut self, progress: &Progress) {
        if self.epoch != progress.epoch {
            self.counted = Totals::default();
        }
        let now = Totals {
            steps: progress.steps,
            samples: u64::try_from(progress.samples).unwrap_or(u64::MAX),
            seconds: progress.seconds,
            waited: progress.waited,
        };
        let more = now.since(&self.counted);
        self.counted = now;
        self.totals = self.totals.plus(&more);
        self.window.push(self.totals);
        self.step_times.add(more.steps, more.seconds);
        self.phase = Phase::Training;
        self.epoch = progress.epoch;
        self.step += more.steps;
        self.samples = progress.samples;
        self.losses = Some(progress.losses.clone());
        let done = progress.samples as f64 / self.about.samples.max(1) as f64;
        self.curve.push((progress.epoch - 1) as f64 + done, progress.recent);
    }

    /// Takes note of something that was said.
    pub fn say(&mut self, at: Duration, level: Level, text: &str) {
        if level == Level::Warning {
            self.warnings += 1;
        }
        if self.messages.len() == MESSAGES {
            self.messages.pop_front();
        }
        self.messages.push_back(Message { at, level, text: text.to_owned() });
    }

    /// How fast training has been of late.
    pub fn rates(&self) -> Option<Rates> {
        self.window.rates()
    }

    /// Seconds until the last epoch is done at this pace, checkpoints left out.
    pub fn eta(&self) -> Option<f64> {
        let Rates { samples_per_second, .. } = self.rates()?;
        let left = self.about.epochs.saturating_sub(self.epoch - 1);
        if left == 0 || self.history.len() as u64 >= self.about.epochs {
            return Some(0.0);
        }
        let samples = left as f64 * self.about.samples as f64 - self.samples as f64;
        let judging = self.history.last().map_or(0.0, |record| record.timing.test_seconds);
        Some(samples.max(0.0) / samples_per_second + left as f64 * judging)
    }
}
