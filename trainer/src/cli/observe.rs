//! Carries a run out before those who watch: a bar or the live view, metrics, and results as they
//! come. All of them show the state that the run's events feed.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use coffer_train::energy::{Energy, EnergyMeter};
use coffer_train::metrics::Scores;
use coffer_train::report::score_table;
use coffer_train::telemetry::{About, MetricsServer, Telemetry, Watch};
use coffer_train::train::{EpochRecord, Event, Outcome, Run};
use serde::Serialize;

use super::Session;
use super::args::WatchArgs;
use super::live::LiveView;
use super::progress::{Output, Progress};

/// An epoch as it is reported: what is remembered of it, and what follows from that.
#[derive(Serialize)]
struct Reported<'a> {
    #[serde(flatten)]
    record: &'a EpochRecord,
    samples_per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    scores: Option<Scores>,
}

/// What a run gave, and what it took.
pub(super) struct Watched {
    pub(super) outcome: Outcome,
    /// Of this process, judging and checkpoints included.
    pub(super) energy: Energy,
}

/// Carries `run` out, which `about` describes and whose energy `meter` measures.
pub(super) fn carry_out(
    session: &Session,
    run: &Run<'_>,
    args: &WatchArgs,
    about: About,
    meter: &Arc<EnergyMeter>,
) -> anyhow::Result<Watched> {
    let output = &session.output;
    let writing = run.saving.status.subscribe();
    let watch = Watch::new(about, Arc::clone(meter), writing).reading(run.dataset.clone());
    let watch = Arc::new(watch);
    output.tell(Some(Arc::clone(&watch)));
    let _metrics = args.metrics_listen.map(|at| metrics(session, at, &watch)).transpose()?;
    for unavailable in meter.take_news() {
        output.note(&unavailable.to_string());
    }
    let view = View::start(output, args.live, &watch)?;
    let mut display = Display { output, watch: &watch, meter, bar: None };
    let outcome = run.carry_out(&mut |event| display.on(&event));
    drop(display.bar.take());
    drop(view);
    let energy = watch.look(|state, _| state.energy);
    Ok(Watched { outcome: outcome?, energy })
}

fn metrics(
    session: &Session,
    listen: SocketAddr,
    watch: &Arc<Watch>,
) -> anyhow::Result<MetricsServer> {
    session.output.warn_of_strangers(listen);
    let server = MetricsServer::start(&session.runtime, listen, Arc::clone(watch));
    let server = server.with_context(|| format!("can't listen on {listen}"))?;
    session.output.note(&format!("metrics at http://{}/metrics", server.address()));
    Ok(server)
}

/// The live view, if it's wanted. While it's there, what would be written beneath it is held back.
struct View<'a> {
    output: &'a Output,
    live: Option<LiveView>,
}

impl<'a> View<'a> {
    fn start(output: &'a Output, wanted: bool, watch: &Arc<Watch>) -> anyhow::Result<Self> {
        let mut view = View { output, live: None };
        if wanted && !LiveView::is_possible() {
            output.warn("--live needs a terminal, and there is none: telling progress in lines");
        } else if wanted {
            output.hold();
            let live = LiveView::start(Arc::clone(watch));
            view.live = Some(live.context("can't use the terminal: leave out --live")?);
        }
        Ok(view)
    }
}

impl Drop for View<'_> {
    fn drop(&mut self) {
        drop(self.live.take());
        self.output.tell(None);
        self.output.release();
    }
}

/// What is shown at events.
struct Display<'a> {
    output: &'a Output,
    watch: &'a Watch,
    meter: &'a EnergyMeter,
    bar: Option<Progress>,
}

impl Display<'_> {
    fn on(&mut self, event: &Event<'_>) {
        self.watch.observe(event);
        let output = self.output;
        match event {
            Event::Resumed { from, passed_over, .. } => {
                passed_over.iter().for_each(|problem| output.warn(problem));
                output.note(&format!("going on from {}", from.id));
            }
            Event::Replicas { before, now } => output.note(&format!(
                "the run had {before} replicas and goes on with {now}: \
                 its numbers will differ in the last digits"
            )),
            Event::Initialised { from, adopted, passed_over } => {
                passed_over.iter().for_each(|problem| output.warn(problem));
                output.note(&format!("beginning with {} weights of {from}", adopted.taken.len()));
                adopted.left.iter().for_each(|left| output.note(&format!("not taken: {left}")));
            }
            Event::Progress(_) => self.advance(progress_line),
            Event::Saving { .. } => (),
            Event::Saved(written) => {
                if let Some(error) = &written.unpruned {
                    output.warn(&format!("older checkpoints can't be deleted: {error}"));
                }
            }
            Event::Judging => self.advance(|state| state.phase.name().to_owned()),
            Event::Epoch(record) => {
                self.bar = None;
                let samples = self.watch.look(|state, _| state.about.samples);
                let scores = record.confusion.map(|confusion| confusion.scores());
                let samples_per_second = record.timing.per_second(samples as f64);
                let reported = Reported { record, samples_per_second, scores };
                output.result(&text(record, samples_per_second), &reported);
                for unavailable in self.meter.take_news() {
                    output.warn(&unavailable.to_string());
                }
            }
            Event::Converged => output.note("converged: the validation loss no longer falls"),
        }
    }

    fn advance(&mut self, message: impl FnOnce(&Telemetry) -> String) {
        self.watch.look(|state, _| {
            let bar = self.bar.get_or_insert_with(|| {
                self.output.progress(&format!("epoch {}", state.epoch), state.about.samples, false)
            });
            bar.at(state.samples, message(state));
        });
    }
}

fn progress_line(state: &Telemetry) -> String {
    let loss = state.losses.as_ref().map_or(0.0, coffer_train::train::Losses::total);
    let rates = state.rates().map_or(String::new(), |rates| {
        let waiting = 100.0 * rates.wait_share;
        format!(", {:.0} samples/s, {waiting:.1} % waiting for data", rates.samples_per_second)
    });
    format!("loss {loss:.4}{rates}")
}

fn text(record: &EpochRecord, samples_per_second: f64) -> String {
    let timing = record.timing;
    let validation = record.validation.as_ref();
    let validation = validation.map_or(String::new(), |losses| format!("  validation {losses}"));
    let mut text = format!(
        "epoch {:>3}  train {}{validation}  test {}  {:.1} s, {samples_per_second:.0} samples/s, \
         {:.1} % waiting for data, {:.1} s for checkpoints",
        record.epoch,
        record.train,
        record.test,
        timing.train_seconds + timing.test_seconds,
        100.0 * timing.wait_share(),
        timing.stall_seconds,
    );
    if !timing.energy.is_empty() {
        text.push_str(&format!(", {}", timing.energy));
    }
    if let Some(confusion) = &record.confusion {
        text.push('\n');
        text.push_str(&score_table(confusion));
    }
    text
}
