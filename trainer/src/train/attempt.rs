//! One attempt at a run, from the checkpoint that it goes on from until it ends or is broken off.

use std::time::{Duration, Instant};

use bytes::Bytes;
use coffer_client::Timestamp;
use coffer_client::checkpoint::{
    DatasetVersion, Found, Lineage, Origin, Program, RunId, Snapshot, Writer,
};

use super::config::TrainConfig;
use super::epoch::{Meter, draws};
use super::error::RunError;
use super::patience::best;
use super::progress::Progress;
use super::record::{EpochRecord, Losses, Timing};
use super::run::{Ending, Event, Init, Part, Resume, Run};
use super::stopwatch::Stopwatch;
use crate::checkpoint::{CheckpointError, Checkpoints, Partial, STATE, State};
use crate::model::Learner;
use crate::seeded::Purpose;
use crate::stream::{Cursor, Loader};

/// A run that is going on.
pub(super) struct Attempt<'a> {
    run: &'a Run<'a>,
    learner: Box<dyn Learner>,
    state: State,
    lineage: Lineage,
    writer: Writer,
    /// How long learning has stood still for checkpoints since an epoch was last recorded.
    stalled: Duration,
}

type On<'a> = &'a mut dyn FnMut(Event<'_>);

impl<'a> Attempt<'a> {
    /// Reads where the run stands, and makes the learner match it.
    pub(super) fn begin(run: &'a Run<'a>, on: On<'_>) -> Result<Self, RunError> {
        let place = || run.place.address().to_owned();
        let mut learner = run.config.learner(run.devices.clone())?;
        let (saver, found) = run.runtime.block_on(Checkpoints::open(&run.place).resume())?;
        let (state, id, origin) = match found {
            Some(found) if run.resume == Resume::Refuse => {
                return Err(RunError::Exists { place: place(), newest: found.loaded.entry.id });
            }
            None if run.resume == Resume::Require => {
                return Err(RunError::NothingToResume(place()));
            }
            Some(found) => {
                let mut state = take_up(run, learner.as_mut(), &found)?;
                let (from, passed_over) = (&found.loaded.entry, &found.passed_over);
                on(Event::Resumed { from, state: &state, passed_over });
                let (before, now) = (state.config.replicas, run.devices.replicas());
                if before != now {
                    state.config.replicas = now;
                    on(Event::Replicas { before, now });
                }
                let Lineage { run, init_from, .. } = found.loaded.manifest.lineage;
                (state, run, init_from)
            }
            None => {
                let init = run.init.as_ref();
                let origin = init.map(|init| initialise(run, learner.as_mut(), init, on));
                let id = RunId::random().map_err(CheckpointError::Random)?;
                let replicas = run.devices.replicas();
                let config = TrainConfig { replicas, ..run.config.clone() };
                (State::new(config), id, origin.transpose()?)
            }
        };
        let lineage = Lineage {
            run: id,
            parent: None,
            init_from: origin,
            dataset: Some(DatasetVersion {
                address: run.dataset.address().to_owned(),
                version: run.config.dataset,
            }),
            config: serde_json::to_value(&state.config).unwrap_or_default(),
            revision: run.saving.revision.clone(),
            program: Program {
                name: env!("CARGO_PKG_NAME").to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
        };
        let saving = run.saving.clone();
        let writer = Writer::new(run.runtime.handle(), saver, saving.retain, saving.status);
        Ok(Self { run, learner, state, lineage, writer, stalled: Duration::ZERO })
    }

    /// Learns until the run ends. Returns the addresses of its pictures, too.
    pub(super) fn go(&mut self, on: On<'_>) -> Result<(Ending, Vec<String>), RunError> {
        let run = self.run;
        let mut loader = run.loader(Part::Learned, self.state.cursor, run.epochs)?;
        let mut pictures = Vec::new();
        let ending = loop {
            if self.state.cursor.epoch >= run.epochs {
                break Ending::Finished;
            }
            let over = |patience: super::Patience| patience.is_over(&self.state.history);
            if self.state.partial.is_empty() && run.patience.is_some_and(over) {
                on(Event::Converged);
                break Ending::Converged;
            }
            if run.stop.is_cancelled() {
                return Ok((Ending::Stopped, Vec::new()));
            }
            let Some(learned) = self.learn(&mut loader, on)? else {
                return Ok((Ending::Stopped, Vec::new()));
            };
            let record = self.judge(learned, on)?;
            self.state.cursor = Cursor { epoch: record.epoch, sample: 0 };
            self.state.history.push(record);
            self.save(on)?;
            pictures = run.report(self.learner.as_ref(), &self.state.history)?;
            if let Some(record) = self.state.history.last() {
                on(Event::Epoch(record));
            }
        };
        if pictures.is_empty() {
            pictures = run.report(self.learner.as_ref(), &self.state.history)?;
        }
        Ok((ending, pictures))
    }

    /// Waits until the last checkpoint is safe.
    pub(super) fn finish(&mut self, on: On<'_>) -> Result<(), RunError> {
        let written = self.writer.finish()?;
        written.iter().for_each(|written| on(Event::Saved(written)));
        Ok(())
    }

    pub(super) fn into_state(self) -> State {
        self.state
    }

    /// Learns until the end of the epoch, or until the run is to stop: then there is no record.
    fn learn(&mut self, loader: &mut Loader, on: On<'_>) -> Result<Option<Learned>, RunError> {
        let (run, epoch) = (self.run, self.state.cursor.epoch);
        let partial = std::mem::take(&mut self.state.partial);
        let mut meter = Meter::new(self.learner.terms(), &partial);
        let mut watch = Stopwatch::start(&partial, self.stalled, run.energy.as_deref());
        while let Some(batch) = loader.next_batch()? {
            let noise = draws(&batch, run.config.seed, Purpose::TrainNoise, &[epoch]);
            let losses = self.learner.learn(&batch, noise)?;
            if let Some(reading) = meter.add(losses, &batch)? {
                let timing = watch.read(loader, self.stalled);
                on(Event::Progress(Progress {
                    epoch: epoch + 1,
                    steps: meter.steps(),
                    samples: meter.samples(),
                    losses: reading.losses,
                    recent: reading.recent,
                    seconds: timing.train_seconds,
                    waited: timing.wait_seconds,
                }));
            }
            self.state.step += 1;
            self.state.cursor = batch.end;
            if batch.last {
                break;
            }
            if let Some(written) = self.writer.poll()? {
                on(Event::Saved(&written));
            }
            let stop = run.stop.is_cancelled();
            let due = run.saving.every.is_some_and(|every| self.state.step % every == 0);
            if stop || due {
                self.state.partial = meter.partial(epoch, watch.read(loader, self.stalled))?;
                self.save(on)?;
            }
            if stop {
                return Ok(None);
            }
        }
        self.state.partial = Partial::default();
        let timing = watch.read(loader, self.stalled);
        self.stalled = Duration::ZERO;
        Ok(Some(Learned { steps: meter.steps(), losses: meter.means()?, timing }))
    }

    /// Judges what was learned in an epoch.
    fn judge(&self, learned: Learned, on: On<'_>) -> Result<EpochRecord, RunError> {
        let start = Instant::now();
        let (run, learner) = (self.run, self.learner.as_ref());
        let held = run.config.holdout().map(|holdout| run.judge(learner, Part::Held(holdout), on));
        let (held, test) = (held.transpose()?, run.judge(learner, Part::Test, on)?);
        let Learned { steps, losses: train, timing } = learned;
        Ok(EpochRecord {
            epoch: self.state.cursor.epoch + 1,
            steps,
            train,
            validation: held.map(|judged| judged.losses),
            test: test.losses,
            confusion: test.confusion,
            timing: Timing { test_seconds: start.elapsed().as_secs_f64(), ..timing },
        })
    }

    /// Takes a checkpoint, and begins to write it once the one before is safe.
    fn save(&mut self, on: On<'_>) -> Result<(), RunError> {
        let start = Instant::now();
        // First, so that there are never two of them in memory.
        self.finish(on)?;
        let snapshot = self.snapshot()?;
        let checkpoint = snapshot.id;
        self.writer.save(snapshot)?;
        let stalled = start.elapsed();
        self.stalled += stalled;
        on(Event::Saving { checkpoint, stalled });
        Ok(())
    }

    fn snapshot(&self) -> Result<Snapshot, RunError> {
        let state = &self.state;
        let parts = self.learner.save()?.into_iter();
        let parts = parts.map(|(name, content)| (name.to_owned(), Bytes::from(content)));
        let ended = state.position().ended_epoch();
        Ok(Snapshot {
            id: state.id(),
            created: Timestamp::now(),
            position: state.position(),
            best: ended.is_some() && ended == best(&state.history),
            parts: parts.chain([(STATE.to_owned(), state.to_part()?)]).collect(),
            lineage: self.lineage.clone(),
            metrics: state.metrics(self.learner.terms()),
            energy: state.energy().recorded(),
        })
    }
}

/// An epoch that was learned, and not judged yet.
struct Learned {
    steps: u64,
    losses: Losses,
    timing: Timing,
}

/// Makes the learner, and the state, those of the checkpoint that was found.
fn take_up(run: &Run<'_>, learner: &mut dyn Learner, found: &Found) -> Result<State, RunError> {
    let state = State::of(&found.loaded)?;
    let differences = state.config.differences(&run.config);
    if !differences.is_empty() {
        return Err(RunError::OtherConfig { place: run.place.address().to_owned(), differences });
    }
    let parts = &found.loaded.parts;
    learner.load(&|name| parts.get(name).map(|content| content.to_vec()))?;
    Ok(state)
}

/// Gives the learner the weights to begin with. Returns where they're from.
fn initialise(
    run: &Run<'_>,
    learner: &mut dyn Learner,
    init: &Init,
    on: On<'_>,
) -> Result<Origin, RunError> {
    let checkpoints = Checkpoints::open(&init.run);
    let found = run.runtime.block_on(checkpoints.choose(init.checkpoint))?;
    let (entry, parts) = (&found.loaded.entry, &found.loaded.parts);
    let adopted = learner.adopt(&|name| parts.get(name).map(|content| content.to_vec()))?;
    if adopted.taken.is_empty() || !(init.partial || adopted.left.is_empty()) {
        let place = init.run.address().to_owned();
        return Err(RunError::Unfit { place, checkpoint: entry.id, adopted });
    }
    let passed_over = &found.passed_over;
    on(Event::Initialised { from: entry.id, adopted: &adopted, passed_over });
    let address = format!("{}@{}", init.run.address(), entry.id);
    Ok(Origin { address, manifest: entry.manifest })
}
