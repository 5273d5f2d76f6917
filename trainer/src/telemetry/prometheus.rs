//! The state as metrics. docs/trainer-metrics.md lists the names.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::text::{Kind, Text};
use super::{Phase, Telemetry};
use crate::checkpoint::Activity;
use crate::energy::Component;
use crate::train::Losses;

impl Telemetry {
    /// All metrics of a run that was started at `started`.
    pub fn metrics(&self, started: SystemTime) -> String {
        let mut text = Text::default();
        let unix = |at: Duration| {
            let since = (started + at).duration_since(UNIX_EPOCH);
            since.unwrap_or_default().as_secs_f64()
        };
        self.run(&mut text, unix(Duration::ZERO), unix(self.progressed));
        self.loss(&mut text);
        self.training(&mut text);
        self.reading(&mut text);
        self.writing(&mut text, unix);
        let name = "coffer_train_energy_joules_total";
        let used = |component| Some((component, self.energy.of(component)?));
        let used: Vec<_> = Component::ALL.into_iter().filter_map(used).collect();
        if !used.is_empty() {
            text.head(name, Kind::Counter, "Energy used since the start, by component.");
        }
        for (component, joules) in used {
            text.sample(name, &[("component", component.name())], joules);
        }
        text.into_string()
    }

    fn run(&self, text: &mut Text, started: f64, progressed: f64) {
        let about = &self.about;
        let name = "coffer_train_info";
        text.head(name, Kind::Gauge, "What is trained, by which release, where: always 1.");
        let labels = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("model", about.model),
            ("run", &about.run),
            ("dataset", &about.dataset),
            ("devices", &about.devices),
        ];
        text.sample(name, &labels, 1);
        let name = "coffer_train_phase";
        text.head(name, Kind::Gauge, "What the run is doing: 1 for that, 0 for the others.");
        for phase in Phase::ALL {
            text.sample(name, &[("phase", phase.name())], u8::from(phase == self.phase));
        }
        let mut gauge = |name, help, value: f64| text.one(name, Kind::Gauge, help, value);
        let help = "When the process began this run, in Unix time.";
        gauge("coffer_train_start_timestamp_seconds", help, started);
        let help = "When training or judging last got on, in Unix time.";
        gauge("coffer_train_progress_timestamp_seconds", help, progressed);
        gauge("coffer_train_epochs", "Epochs that the run is to have.", about.epochs as f64);
        let help = "The epoch under way, counted from 1.";
        gauge("coffer_train_epoch", help, self.epoch as f64);
        let help = "Share of that epoch's samples that were learned from.";
        let done = self.samples as f64 / about.samples.max(1) as f64;
        gauge("coffer_train_epoch_done_ratio", help, done);
        let help = "Steps since the run's beginning, former attempts included.";
        gauge("coffer_train_step", help, self.step as f64);
        let help = "Warnings since the start.";
        text.one("coffer_train_warnings_total", Kind::Counter, help, self.warnings);
    }

    fn loss(&self, text: &mut Text) {
        let last = self.history.last();
        let parts = [
            ("train", self.losses.as_ref().or(last.map(|record| &record.train))),
            ("validation", last.and_then(|record| record.validation.as_ref())),
            ("test", last.map(|record| &record.test)),
        ];
        let known = || parts.iter().filter_map(|(part, losses)| Some((*part, (*losses)?)));
        if known().next().is_none() {
            return;
        }
        let name = "coffer_train_loss";
        text.head(name, Kind::Gauge, "Mean loss per sample, by part of the data.");
        for (part, losses) in known() {
            text.sample(name, &[("part", part)], losses.total());
        }
        let name = "coffer_train_loss_term";
        text.head(name, Kind::Gauge, "The terms that the loss is the sum of.");
        for (part, Losses(terms)) in known() {
            for (term, value) in terms {
                text.sample(name, &[("part", part), ("term", term)], value);
            }
        }
        let accuracy = last.and_then(|record| record.confusion.as_ref());
        let accuracy = accuracy.map(|confusion| confusion.scores().accuracy);
        let help = "Share of the test set's samples whose class was told right.";
        text.known("coffer_train_test_accuracy_ratio", help, accuracy);
    }

    fn training(&self, text: &mut Text) {
        let totals = &self.totals;
        let mut counter = |name, help, value: f64| text.one(name, Kind::Counter, help, value);
        let help = "Steps since the start.";
        counter("coffer_train_steps_total", help, totals.steps as f64);
        let help = "Samples that were learned from since the start.";
        counter("coffer_train_samples_total", help, totals.samples as f64);
        let help = "Seconds of training since the start, without judging.";
        counter("coffer_train_training_seconds_total", help, totals.seconds);
        let help = "Seconds of these that training waited for data.";
        counter("coffer_train_data_wait_seconds_total", help, totals.waited);
        let name = "coffer_train_step_seconds";
        text.head(name, Kind::Histogram, "How long steps took, waiting for data included.");
        let bucket = format!("{name}_bucket");
        let times = &self.step_times;
        for (bound, count) in times.cumulative() {
            text.sample(&bucket, &[("le", &bound.to_string())], count);
        }
        text.sample(&bucket, &[("le", "+Inf")], times.count());
        text.sample(&format!("{name}_sum"), &[], times.seconds());
        text.sample(&format!("{name}_count"), &[], times.count());
    }

    fn reading(&self, text: &mut Text) {
        let Some(reads) = &self.reads else { return };
        let name = "coffer_train_data_read_bytes_total";
        text.head(name, Kind::Counter, "Bytes of shards that were read, by where they came from.");
        text.sample(name, &[("from", "store")], reads.network_bytes);
        text.sample(name, &[("from", "cache")], reads.cache_bytes);
        let mut counter = |name, help, value: u64| text.one(name, Kind::Counter, help, value);
        let help = "Shards that came from the cache.";
        counter("coffer_train_cache_hits_total", help, reads.cache_hits);
        let help = "Shards that were not in the cache, or damaged there.";
        counter("coffer_train_cache_misses_total", help, reads.cache_misses);
        let help = "Reads of shards that were made again.";
        counter("coffer_train_data_retries_total", help, reads.retries);
        let help = "Samples that were passed over, since their shard is damaged or missing.";
        counter("coffer_train_samples_skipped_total", help, reads.skipped_samples);
    }

    fn writing(&self, text: &mut Text, unix: impl Fn(Duration) -> f64) {
        let figures = &self.checkpoints;
        let last = figures.last.as_ref();
        let help = "When the newest checkpoint of this process was safe, in Unix time.";
        let at = last.map(|saved| unix(saved.at));
        text.known("coffer_train_checkpoint_timestamp_seconds", help, at);
        let help = "How long writing the newest checkpoint took.";
        let seconds = last.map(|saved| saved.seconds);
        text.known("coffer_train_checkpoint_duration_seconds", help, seconds);
        let help = "Bytes that were written for the newest checkpoint.";
        let bytes = last.map(|saved| saved.bytes);
        text.known("coffer_train_checkpoint_bytes", help, bytes);
        let help = "Whether a checkpoint is being written.";
        let writing = u8::from(matches!(figures.status.activity, Activity::Writing { .. }));
        text.one("coffer_train_checkpoint_writing", Kind::Gauge, help, writing);
        let help = "Checkpoints that were written since the start.";
        text.one("coffer_train_checkpoints_total", Kind::Counter, help, figures.status.saves);
        let help = "Checkpoints that could not be written; the run ends with the first.";
        let failed = u8::from(matches!(figures.status.activity, Activity::Failed(_)));
        let name = "coffer_train_checkpoint_failures_total";
        text.one(name, Kind::Counter, help, failed);
        let help = "Bytes that were written for checkpoints since the start.";
        let written = figures.status.written;
        text.one("coffer_train_checkpoint_written_bytes_total", Kind::Counter, help, written);
        let help = "Seconds that training stood still for checkpoints.";
        let name = "coffer_train_checkpoint_stall_seconds_total";
        text.one(name, Kind::Counter, help, figures.stalled_seconds);
    }
}
