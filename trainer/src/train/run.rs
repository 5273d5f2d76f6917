//! A run: epochs of learning and judging, each followed by a checkpoint and pictures.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Instant;

use bytes::Bytes;
use coffer_client::place::Place;
use tokio::runtime::Runtime;

use super::config::TrainConfig;
use super::epoch::{Mode, Pass, PassError, pass};
use super::error::RunError;
use super::patience::{Patience, best};
use super::record::{EpochRecord, Losses, Timing};
use crate::checkpoint::{Checkpoint, CheckpointId, Checkpoints, State, Which};
use crate::dataset::Split;
use crate::dataset::picture::PictureError;
use crate::model::{Adopted, Devices, Learner};
use crate::report::{Curve, GRID_SIDE, grid, loss_plot};
use crate::seeded::Draws;
use crate::stream::{Cursor, Dataset, Holdout, Loader, LoaderConfig, Order, Subset};

/// Samples per batch of the evaluation; has no effect on what is learned.
const TEST_BATCH: NonZeroUsize = NonZeroUsize::MIN.saturating_add(499);
/// Seed of the latent points of the grid: the same for all runs and epochs, to compare them.
const PICTURE_SEED: u64 = 0;

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
    pub checkpoint: Which,
    /// Whether it will do if some of them don't fit.
    pub partial: bool,
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
    /// Where tensors are computed: a replica of the model on each.
    pub devices: Devices,
    /// What to do about checkpoints that are already there.
    pub resume: Resume,
    /// What to begin with if there are none, instead of random weights; `config` names it, too.
    pub init: Option<Init>,
    /// A local directory that gets copies of the pictures.
    pub out: Option<PathBuf>,
}

/// What a run reports while it goes on.
#[derive(Debug)]
pub enum Event<'a> {
    /// It goes on from a checkpoint; newer ones were passed over for these reasons.
    Resumed {
        /// The checkpoint.
        from: CheckpointId,
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
    /// Samples of an epoch that have been learned from, and their mean loss.
    Progress {
        /// The epoch, counted from 1.
        epoch: u64,
        /// Samples so far.
        samples: usize,
        /// Mean loss so far.
        loss: f64,
    },
    /// An epoch is done, and its checkpoint is safe.
    Epoch(&'a EpochRecord),
    /// The run ends before its last epoch: the validation loss no longer falls.
    Converged,
}

/// A part of the data.
#[derive(Debug, Clone, Copy)]
enum Part {
    /// What is learned from.
    Learned,
    /// What is held out for validation.
    Held(Holdout),
    /// The test set.
    Test,
}

/// What a run gave.
#[derive(Debug)]
pub struct Outcome {
    /// The last checkpoint.
    pub checkpoint: CheckpointId,
    /// The one with the least validation loss, if samples are held out.
    pub best: Option<CheckpointId>,
    /// All epochs, those of former attempts included.
    pub history: Vec<EpochRecord>,
    /// Full addresses of the pictures: loss plot and, for models that make pictures, the grid.
    pub pictures: Vec<String>,
}

impl Run<'_> {
    /// Carries the run out, from where its checkpoints stand. Blocks until it's done.
    ///
    /// # Errors
    /// See [`RunError`]. What was checkpointed before the error stays usable.
    pub fn carry_out(&self, on: &mut dyn FnMut(Event<'_>)) -> Result<Outcome, RunError> {
        self.check_holdout()?;
        let mut learner = self.config.learner(self.devices.clone())?;
        let mut checkpoints = Checkpoints::new(&self.place);
        let mut state = self.begin(learner.as_mut(), &mut checkpoints, on)?;
        let mut loader = self.loader(Part::Learned, state.cursor, self.epochs);
        let mut pictures = Vec::new();
        while state.cursor.epoch < self.epochs {
            if self.patience.is_some_and(|patience| patience.is_over(&state.history)) {
                on(Event::Converged);
                break;
            }
            let record = self.epoch(learner.as_mut(), &mut loader, state.cursor.epoch, on)?;
            state.step += record.steps;
            state.cursor = Cursor { epoch: record.epoch, sample: 0 };
            state.history.push(record);
            state.best = best(&state.history).map(CheckpointId);
            let parts = learner.save()?.into_iter();
            let parts = parts.map(|(name, content)| (name.to_owned(), Bytes::from(content)));
            let checkpoint = Checkpoint { state: state.clone(), parts: parts.collect() };
            self.runtime.block_on(checkpoints.save(&checkpoint))?;
            pictures = self.report(learner.as_ref(), &state.history)?;
            if let Some(record) = state.history.last() {
                on(Event::Epoch(record));
            }
        }
        if pictures.is_empty() {
            pictures = self.report(learner.as_ref(), &state.history)?;
        }
        let checkpoint = CheckpointId(state.cursor.epoch);
        Ok(Outcome { checkpoint, best: state.best, history: state.history, pictures })
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

    /// The state to go on from; the learner is made to match it.
    fn begin(
        &self,
        learner: &mut dyn Learner,
        checkpoints: &mut Checkpoints,
        on: &mut dyn FnMut(Event<'_>),
    ) -> Result<State, RunError> {
        let place = || self.place.address().to_owned();
        let Some(found) = self.runtime.block_on(checkpoints.newest())? else {
            if self.resume == Resume::Require {
                return Err(RunError::NothingToResume(place()));
            }
            if let Some(init) = &self.init {
                self.initialise(learner, init, on)?;
            }
            let config = TrainConfig { replicas: self.devices.replicas(), ..self.config.clone() };
            let history = Vec::new();
            return Ok(State { step: 0, cursor: Cursor::default(), config, history, best: None });
        };
        if self.resume == Resume::Refuse {
            return Err(RunError::Exists { place: place(), newest: found.id });
        }
        let differences = found.checkpoint.state.config.differences(&self.config);
        if !differences.is_empty() {
            return Err(RunError::OtherConfig { place: place(), differences });
        }
        let parts = &found.checkpoint.parts;
        learner.load(&|name| parts.get(name).map(|content| content.to_vec()))?;
        on(Event::Resumed { from: found.id, passed_over: &found.passed_over });
        let mut state = found.checkpoint.state;
        let (before, now) = (state.config.replicas, self.devices.replicas());
        if before != now {
            state.config.replicas = now;
            on(Event::Replicas { before, now });
        }
        Ok(state)
    }

    /// Gives the learner the weights to begin with.
    fn initialise(
        &self,
        learner: &mut dyn Learner,
        init: &Init,
        on: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), RunError> {
        let mut checkpoints = Checkpoints::new(&init.run);
        let found = self.runtime.block_on(checkpoints.choose(init.checkpoint))?;
        let parts = &found.checkpoint.parts;
        let adopted = learner.adopt(&|name| parts.get(name).map(|content| content.to_vec()))?;
        if adopted.taken.is_empty() || !(init.partial || adopted.left.is_empty()) {
            let place = init.run.address().to_owned();
            return Err(RunError::Unfit { place, checkpoint: found.id, adopted });
        }
        let passed_over = &found.passed_over;
        on(Event::Initialised { from: found.id, adopted: &adopted, passed_over });
        Ok(())
    }

    fn loader(&self, part: Part, from: Cursor, until: u64) -> Loader {
        let TrainConfig { seed, window, batch, .. } = self.config;
        let (split, subset) = match part {
            Part::Learned => (Split::Train, self.config.learned()),
            Part::Held(holdout) => (Split::Train, Subset::Held(holdout)),
            Part::Test => (Split::Test, Subset::All),
        };
        let (order, batch) = match part {
            Part::Learned => (Order::Shuffled { seed, window }, batch),
            Part::Held(_) | Part::Test => (Order::Sequential, TEST_BATCH),
        };
        let config = LoaderConfig { split, subset, order, batch, prefetch: self.prefetch };
        Loader::start(self.runtime.handle(), &self.dataset, config, from, until)
    }

    /// Judges the learner by one part of the data.
    fn judge(&self, learner: &dyn Learner, part: Part) -> Result<Pass, PassError> {
        let mut loader = self.loader(part, Cursor::default(), 1);
        pass(Mode::Judge(learner), &mut loader, self.config.seed, &mut |_, _| ())
    }

    fn epoch(
        &self,
        learner: &mut dyn Learner,
        loader: &mut Loader,
        epoch: u64,
        on: &mut dyn FnMut(Event<'_>),
    ) -> Result<EpochRecord, RunError> {
        let seed = self.config.seed;
        let start = Instant::now();
        let mut progress = |samples, loss| {
            on(Event::Progress { epoch: epoch + 1, samples, loss });
        };
        let train = pass(Mode::Learn(learner), loader, seed, &mut progress)?;
        let train_seconds = start.elapsed().as_secs_f64();
        let wait_seconds = loader.take_waited().as_secs_f64();
        let start = Instant::now();
        let holdout = self.config.holdout();
        let held = holdout.map(|holdout| self.judge(learner, Part::Held(holdout))).transpose()?;
        let test = self.judge(learner, Part::Test)?;
        let test_seconds = start.elapsed().as_secs_f64();
        Ok(EpochRecord {
            epoch: epoch + 1,
            steps: train.steps,
            train: train.losses,
            validation: held.map(|pass| pass.losses),
            test: test.losses,
            confusion: test.confusion,
            timing: Timing { train_seconds, wait_seconds, test_seconds },
        })
    }

    /// Writes the pictures of the run to the store and to the local directory, if one is wanted.
    /// Returns their addresses.
    fn report(
        &self,
        learner: &dyn Learner,
        history: &[EpochRecord],
    ) -> Result<Vec<String>, RunError> {
        let mut files =
            BTreeMap::from([("loss.png".to_owned(), plot(history, self.config.model.unit())?)]);
        if let Some(pictures) =
            learner.pictures(Draws::pictures(PICTURE_SEED, GRID_SIDE * GRID_SIDE))?
        {
            let png = grid(&pictures, GRID_SIDE)?;
            let epoch = CheckpointId(u64::try_from(history.len()).unwrap_or(u64::MAX));
            files.insert(format!("grid-{epoch}.png"), png.clone());
            files.insert("grid.png".to_owned(), png);
        }
        let plots = self.place.child("plots");
        for (name, png) in &files {
            self.runtime.block_on(plots.write(name, Bytes::from(png.clone())))?;
            if let Some(directory) = &self.out {
                let path = directory.join(name);
                let copied =
                    std::fs::create_dir_all(directory).and_then(|()| std::fs::write(&path, png));
                copied.map_err(|source| RunError::Copy { path, source })?;
            }
        }
        Ok(["loss.png", "grid.png"]
            .into_iter()
            .filter(|name| files.contains_key(*name))
            .map(|name| plots.address_of(name))
            .collect())
    }
}

fn plot(history: &[EpochRecord], unit: &str) -> Result<Vec<u8>, PictureError> {
    let curve = |name, losses: fn(&EpochRecord) -> Option<&Losses>| Curve {
        name,
        values: history.iter().filter_map(losses).map(Losses::total).collect(),
    };
    let mut curves = vec![
        curve("train", |record| Some(&record.train)),
        curve("validation", |record| record.validation.as_ref()),
        curve("test", |record| Some(&record.test)),
    ];
    curves.retain(|curve| !curve.values.is_empty());
    loss_plot("Loss per image", unit, &curves)
}
