//! Events in, figures out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use super::*;
use crate::checkpoint::State;
use crate::stream::Cursor;
use crate::train::{Timing, TrainConfig};

/// Where the names of metrics are listed, and used.
const DOCS: &str = include_str!("../../../docs/trainer-metrics.md");
const RULES: &str = include_str!("../../../deploy/monitoring/coffer-train-rules.yml");

fn about() -> About {
    About {
        model: "vae",
        unit: "nats",
        run: "s3://b/a \"run\"".to_owned(),
        dataset: "d".to_owned(),
        devices: "cpu".to_owned(),
        epochs: 2,
        samples: 1000,
    }
}

fn config() -> TrainConfig {
    let json = r#"{"model": {"kind": "linear"}, "seed": 1, "batch": 10, "learning_rate": 0.1,
        "window": 100, "dataset": "DIGEST"}"#;
    let digest = coffer_client::Digest::of(b"a dataset").to_string();
    serde_json::from_str(&json.replace("DIGEST", &digest)).unwrap()
}

fn losses(loss: f64) -> Losses {
    Losses([("kl".to_owned(), loss / 4.0), ("reconstruction".to_owned(), 3.0 * loss / 4.0)].into())
}

fn progress(epoch: u64, steps: u64, seconds: f64, loss: f64) -> Event<'static> {
    Event::Progress(Progress {
        epoch,
        steps,
        samples: usize::try_from(steps).unwrap() * 10,
        losses: losses(loss),
        recent: loss,
        seconds,
        waited: seconds / 4.0,
    })
}

fn record(epoch: u64) -> EpochRecord {
    EpochRecord {
        epoch,
        steps: 100,
        train: losses(8.0),
        validation: Some(losses(6.0)),
        test: losses(7.0),
        confusion: Some(crate::metrics::Confusion::default()),
        timing: Timing { test_seconds: 3.0, ..Timing::default() },
    }
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A run whose first epoch is done, and the second half done.
fn state() -> Telemetry {
    let mut state = Telemetry::new(about());
    state.on(at(1), &progress(1, 50, 1.0, 9.0));
    state.on(at(2), &progress(1, 100, 3.0, 8.0));
    state.on(at(3), &Event::Judging);
    state.on(at(4), &Event::Epoch(&record(1)));
    state.on(at(6), &progress(2, 50, 2.0, 4.0));
    state
}

/// The samples of the metrics, by name and labels.
fn samples(text: &str) -> BTreeMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap()).map(|(n, v)| (n, v.parse().unwrap())).collect()
}

#[test]
fn totals_and_rates_follow_from_progress() {
    let state = state();
    let rates = state.rates().unwrap();
    // 150 steps of 10 samples in 5 seconds, of which a quarter was spent waiting.
    assert_eq!((rates.samples_per_second, rates.steps_per_second), (300.0, 30.0));
    assert_eq!(rates.wait_share, 0.25);
    assert_eq!((state.step, state.epoch, state.samples), (150, 2, 500));
    assert_eq!(state.curve.points(), [(0.5, 9.0), (1.0, 8.0), (1.5, 4.0)]);
    // 500 samples at 300 a second, and judging as it was before.
    assert_eq!(state.eta(), Some(500.0 / 300.0 + 3.0));
}

#[test]
fn rates_are_those_of_late_and_the_eta_ends_at_zero() {
    let mut state = Telemetry::new(about());
    assert_eq!((state.rates(), state.eta()), (None, None));
    state.on(at(1), &progress(1, 10, 100.0, 1.0));
    state.on(at(2), &progress(1, 20, 111.0, 1.0));
    assert_eq!(state.rates().unwrap().steps_per_second, 10.0 / 11.0);
    for epoch in [1, 2] {
        state.on(at(3), &Event::Epoch(&record(epoch)));
    }
    assert_eq!((state.eta(), state.epoch), (Some(0.0), 2));
}

#[test]
fn a_resumed_run_goes_on_counting_steps_but_not_what_others_did() {
    // It was broken off after ten steps of the second epoch.
    let mut resumed = State::new(config());
    resumed.step = 110;
    resumed.cursor = Cursor { epoch: 1, sample: 100 };
    resumed.history = vec![record(1)];
    let timing = Timing { train_seconds: 2.0, wait_seconds: 0.5, ..Timing::default() };
    resumed.partial = Partial { steps: 10, samples: 100, sums: Vec::new(), timing };
    let mut state = Telemetry::new(about());
    state.resume(&resumed);
    assert_eq!((state.step, state.epoch, state.samples), (110, 2, 100));
    state.on(at(2), &progress(2, 15, 3.0, 1.0));
    let text = state.metrics(SystemTime::UNIX_EPOCH);
    let found = samples(&text);
    assert_eq!(found["coffer_train_steps_total"], 5.0);
    assert_eq!(found["coffer_train_training_seconds_total"], 1.0);
    assert_eq!(found["coffer_train_data_wait_seconds_total"], 0.25);
    assert_eq!(found["coffer_train_step"], 115.0);
}

#[test]
fn metrics_tell_the_state() {
    let mut state = state();
    state.energy = Energy { cpu_joules: Some(12.5), gpu_joules: None };
    state.reads = Some(ReadStats { network_bytes: 7, cache_hits: 3, ..ReadStats::default() });
    state.say(at(5), Level::Note, "no warning");
    state.say(at(5), Level::Warning, "a warning");
    let started = SystemTime::UNIX_EPOCH + at(1000);
    let text = state.metrics(started);
    let found = samples(&text);
    for (name, value) in [
        ("coffer_train_phase{phase=\"training\"}", 1.0),
        ("coffer_train_phase{phase=\"judging\"}", 0.0),
        ("coffer_train_start_timestamp_seconds", 1000.0),
        ("coffer_train_progress_timestamp_seconds", 1006.0),
        ("coffer_train_epoch", 2.0),
        ("coffer_train_epoch_done_ratio", 0.5),
        ("coffer_train_loss{part=\"train\"}", 4.0),
        ("coffer_train_loss{part=\"validation\"}", 6.0),
        ("coffer_train_loss_term{part=\"test\",term=\"kl\"}", 1.75),
        ("coffer_train_data_read_bytes_total{from=\"store\"}", 7.0),
        ("coffer_train_cache_hits_total", 3.0),
        ("coffer_train_samples_total", 1500.0),
        ("coffer_train_training_seconds_total", 5.0),
        ("coffer_train_data_wait_seconds_total", 1.25),
        // 50 steps of 20 ms, 100 of 40 ms.
        ("coffer_train_step_seconds_bucket{le=\"0.01\"}", 0.0),
        ("coffer_train_step_seconds_bucket{le=\"0.025\"}", 50.0),
        ("coffer_train_step_seconds_bucket{le=\"0.05\"}", 150.0),
        ("coffer_train_step_seconds_bucket{le=\"+Inf\"}", 150.0),
        ("coffer_train_step_seconds_sum", 5.0),
        ("coffer_train_energy_joules_total{component=\"cpu\"}", 12.5),
        ("coffer_train_warnings_total", 1.0),
    ] {
        assert_eq!(found.get(name), Some(&value), "{name}\n{text}");
    }
    assert!(text.contains("run=\"s3://b/a \\\"run\\\"\""), "{text}");
    assert!(!text.contains("gpu"), "what isn't measured has no figure");
    assert!(!text.contains("checkpoint_timestamp"), "{text}");
}

#[test]
fn all_samples_of_a_name_are_together_and_described() {
    let text = full().metrics(SystemTime::UNIX_EPOCH);
    let mut described = BTreeSet::new();
    let mut current = "";
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            current = help.split(' ').next().unwrap();
            assert!(described.insert(current), "{current} is described twice");
        } else if !line.starts_with("# TYPE ") {
            let name = line.split(['{', ' ']).next().unwrap();
            let suffix = name.strip_prefix(current).unwrap_or("?");
            assert!(["", "_bucket", "_sum", "_count"].contains(&suffix), "{name}, {current}");
        }
    }
}

#[test]
fn metrics_documents_and_alerts_use_the_same_names() {
    let text = full().metrics(SystemTime::UNIX_EPOCH);
    let heads = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let told: BTreeSet<&str> = heads.map(|head| head.split(' ').next().unwrap()).collect();
    assert_eq!(names(DOCS), told, "docs/trainer-metrics.md and the metrics differ");
    let histogram = |name| told.iter().any(|told| format!("{told}_bucket") == name);
    for name in names(RULES) {
        assert!(told.contains(name) || histogram(name), "{name} isn't told by any trainer");
    }
}

/// A state of which every figure is known.
fn full() -> Telemetry {
    let mut state = state();
    state.energy = Energy { cpu_joules: Some(1.0), gpu_joules: Some(1.0) };
    let saved = Saved { id: "step-00000100".to_owned(), at: at(3), seconds: 0.5, bytes: 1 };
    state.checkpoints.last = Some(saved);
    state.reads = Some(ReadStats::default());
    state
}

/// The names of the trainer's metrics in a text.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("coffer_train_")).collect()
}

#[test]
fn only_the_newest_messages_are_kept() {
    let mut state = Telemetry::new(about());
    for number in 0..MESSAGES + 5 {
        state.say(at(0), Level::Note, &number.to_string());
    }
    assert_eq!(state.messages.len(), MESSAGES);
    assert_eq!(state.messages[0].text, "5");
}
