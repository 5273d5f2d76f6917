//! A run: what it is told, what it reports, what it gives.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use coffer_client::checkpoint::{Entry, Retain, Revision, Selector, Status, Written};
use coffer_client::place::Place;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::attempt::Attempt;
use super::config::TrainConfig;
use super::epoch::{Judged, PassError, judge};
use super::error::RunError;
use super::patience::{Patience, best};
use super::progress::Progress;
use super::record::EpochRecord;
use crate::checkpoint::{CheckpointId, State};
use crate::dataset::Split;
use crate::energy::{Energy, EnergyMeter};
use crate::model::{Adopted, Devices, Learner};
use crate::stream::{
    Cursor, Dataset, Holdout, Loader, LoaderConfig, OnCorrupt, Order, StreamError, Subset, Workers,
};

/// Samples per batch of the evaluation; has no effect on what is learned.
const TEST_BATCH: NonZeroUsize = NonZeroUsize::MIN.saturating_add(499);

/// What to do about checkpoints that are already there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Resume {
    /// Go on from the newest if there is one, else start.
    #[default]
    Auto,
    /// Go on from the newest; it's an error if there is none.
    Require,
    /// Start; it's an error if there are any.
    Refuse,
}

/// Weights to begin with.
#[derive(Debug, Clone)]
pub struct Init {
    /// The run that they are from.
    pub run: Place,
    /// Which of its checkpoints.
    pub checkpoint: Selector,
    /// Whether it will do if some of them don't fit.
    pub partial: bool,
}

/// When checkpoints are written, beside the end of each epoch, and which of them stay.
#[derive(Clone, Default)]
pub struct Saving {
    /// Write one each time that so many steps were taken, too.
    pub every: Option<NonZeroU64>,
    /// Names those that are deleted after each save; without it, all stay.
    pub retain: Option<Retain>,
    /// Is told what becomes of them.
    pub status: watch::Sender<Status>,
    /// The source that the program was started beside.
    pub revision: Option<Revision>,
}

/// A run to carry out.
pub struct Run<'a> {
    /// Executes reads and writes.
    pub runtime: &'a Runtime,
    /// What to learn from.
    pub dataset: Dataset,
    /// Where checkpoints and pictures go.
    pub place: Place,
    /// What the numbers follow from.
    pub config: TrainConfig,
    /// Epochs in all, those of former attempts included.
    pub epochs: u64,
    /// When to end before that, if at all.
    pub patience: Option<Patience>,
    /// Shards that are fetched ahead.
    pub prefetch: NonZeroUsize,
    /// What to do about damaged and missing shards.
    pub on_corrupt: OnCorrupt,
    /// Where tensors are computed: a replica of the model on each.
    pub devices: Devices,
    /// What to do about checkpoints that are already there.
    pub resume: Resume,
    /// What to begin with if there are none, instead of random weights; `config` names it, too.
    pub init: Option<Init>,
    /// When checkpoints are written.
    pub saving: Saving,
    /// Ends the run after the step, with a checkpoint.
    pub stop: CancellationToken,
    /// A local directory that gets copies of the pictures.
    pub out: Option<PathBuf>,
    /// Measures the energy of training, if that is wanted.
    pub energy: Option<Arc<EnergyMeter>>,
}

/// What a run reports while it goes on.
#[derive(Debug)]
pub enum Event<'a> {
    /// It goes on from a checkpoint; newer ones were passed over for these reasons.
    Resumed {
        /// The checkpoint.
        from: &'a Entry,
        /// Where the run stood then.
        state: &'a State,
        /// What was wrong with newer ones.
        passed_over: &'a [String],
    },
    /// It goes on with another number of replicas, and so rounds otherwise from here on.
    Replicas {
        /// How many it had.
        before: NonZeroUsize,
        /// How many it has now.
        now: NonZeroUsize,
    },
    /// It begins with weights of a checkpoint; newer ones were passed over for these reasons.
    Initialised {
        /// The checkpoint.
        from: CheckpointId,
        /// Which weights.
        adopted: &'a Adopted,
        /// What was wrong with newer ones.
        passed_over: &'a [String],
    },
    /// Training of an epoch got on.
    Progress(Progress),
    /// Judging of what an epoch has learned got on.
    Judging,
    /// A checkpoint was taken; it's being written in the background.
    Saving {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// How long learning stood still for it: waiting for the one before, and copying.
        stalled: Duration,
    },
    /// A checkpoint is safe.
    Saved(&'a Written),
    /// An epoch is done.
    Epoch(&'a EpochRecord),
    /// The run ends before its last epoch: the validation loss no longer falls.
    Converged,
}

/// A part of the data.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// What is learned from.
    Learned,
    /// What is held out for validation.
    Held(Holdout),
    /// The test set.
    Test,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All epochs are done.
    Finished,
    /// The validation loss no longer falls.
    Converged,
    /// It was stopped; what it had come to is saved.
    Stopped,
}

/// What a run gave.
#[derive(Debug)]
pub struct Outcome {
    /// Why it ended.
    pub ending: Ending,
    /// The last checkpoint, if there is any.
    pub checkpoint: Option<CheckpointId>,
    /// The one with the least validation loss, if samples are held out.
    pub best: Option<CheckpointId>,
    /// All epochs, those of former attempts included.
    pub history: Vec<EpochRecord>,
    /// Full addresses of the pictures: loss, cost and, for models that make pictures, the grid.
    pub pictures: Vec<String>,
}

impl Outcome {
    /// Energy of the training of all epochs, where every one was measured.
    pub fn training_energy(&self) -> Energy {
        Energy::sum(self.history.iter().map(|record| record.timing.energy))
    }
}

impl Run<'_> {
    /// Carries the run out, from where its checkpoints stand. Blocks until it's done, and all of it
    /// is safe.
    ///
    /// # Errors
    /// See [`RunError`]. What was checkpointed before the error stays usable.
    pub fn carry_out(&self, on: &mut dyn FnMut(Event<'_>)) -> Result<Outcome, RunError> {
        self.check_holdout()?;
        let mut attempt = Attempt::begin(self, on)?;
        let ended = attempt.go(on);
        // A checkpoint that is under way is sound, whatever went wrong after it was taken.
        let finished = attempt.finish(on);
        let (ending, pictures) = ended?;
        finished?;
        let state = attempt.into_state();
        Ok(Outcome {
            ending,
            checkpoint: (state.step > 0).then(|| state.id()),
            best: best(&state.history).and_then(|epoch| state.end_of(epoch)),
            history: state.history,
            pictures,
        })
    }

    fn check_holdout(&self) -> Result<(), RunError> {
        let shards = self.dataset.shards(Split::Train);
        match self.config.holdout() {
            Some(holdout) if Subset::Held(holdout).samples(shards) == 0 => {
                let (dataset, share) = (self.config.dataset, holdout.share);
                Err(RunError::NothingHeldOut { dataset, share })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn loader(
        &self,
        part: Part,
        from: Cursor,
        until: u64,
    ) -> Result<Loader, StreamError> {
        let TrainConfig { seed, window, batch, workers, .. } = self.config;
        let (split, subset) = match part {
            Part::Learned => (Split::Train, self.config.learned()),
            Part::Held(holdout) => (Split::Train, Subset::Held(holdout)),
            Part::Test => (Split::Test, Subset::All),
        };
        let (order, batch, workers) = match part {
            Part::Learned => (Order::Shuffled { seed, window }, batch, workers),
            Part::Held(_) | Part::Test => (Order::Sequential, TEST_BATCH, Workers::ALONE),
        };
        let (prefetch, on_corrupt) = (self.prefetch, self.on_corrupt);
        let config = LoaderConfig { split, subset, order, workers, batch, prefetch, on_corrupt };
        Loader::start(self.runtime.handle(), &self.dataset, config, from, until)
    }

    /// Judges the learner by one part of the data.
    pub(super) fn judge(
        &self,
        learner: &dyn Learner,
        part: Part,
        on: &mut dyn FnMut(Event<'_>),
    ) -> Result<Judged, PassError> {
        on(Event::Judging);
        let mut loader = self.loader(part, Cursor::default(), 1)?;
        judge(learner, &mut loader, self.config.seed, &mut || on(Event::Judging))
    }
}
