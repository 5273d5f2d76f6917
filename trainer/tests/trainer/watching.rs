//! What can be seen of a run while it goes on: metrics by HTTP, energy, the live view.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU64;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use coffer_client::checkpoint::Energy;
use coffer_train::checkpoint::{Selector, State, Status};
use coffer_train::dataset::Split;
use coffer_train::energy::{EnergyMeter, Rapl};
use coffer_train::telemetry::{About, MetricsServer, Watch};
use coffer_train::train::{Event, Run};

use tokio::sync::watch;

use crate::support::{TRAIN, dataset, load, memory, runtime, watched};

fn about() -> About {
    About {
        model: "vae",
        unit: "nats",
        run: "memory://test".to_owned(),
        dataset: "drawn".to_owned(),
        devices: "cpu".to_owned(),
        epochs: 2,
        samples: TRAIN,
    }
}

fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Looks for promtool and hands `text` to it, where it is.
fn promtool(arguments: &[&str], text: &str) {
    let child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        return println!("SKIPPED: promtool isn't installed");
    };
    // One that reads nothing may be gone already.
    let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
    let output = child.wait_with_output().unwrap();
    let told = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&told));
}

#[test]
fn metrics_are_told_while_the_run_goes_on() {
    let runtime = runtime();
    let (dataset, place) = (dataset(&runtime, &memory()), memory());
    let status = watch::Sender::new(Status::default());
    let nothing_measured = Arc::new(EnergyMeter::of(Vec::new(), Vec::new()));
    let watch = Watch::new(about(), nothing_measured, status.subscribe());
    let watch = Arc::new(watch.reading(dataset.clone()));
    let any = "127.0.0.1:0".parse().unwrap();
    let server = MetricsServer::start(&runtime, any, Arc::clone(&watch)).unwrap();
    let address = server.address();
    let mut answers = Vec::new();
    let change = |run: &mut Run<'_>| run.saving.status = status;
    watched(&runtime, &dataset, &place, 2, change, |event, _| {
        watch.observe(event);
        if let Event::Progress(_) | Event::Epoch(_) = event {
            answers.push(ask(address, "GET /metrics"));
        }
    })
    .unwrap();
    let (first, last) = (&answers[0], answers.last().unwrap());
    assert!(first.starts_with("HTTP/1.1 200 ") && first.contains("version=0.0.4"), "{first}");
    assert!(first.contains("\ncoffer_train_phase{phase=\"training\"} 1\n"), "{first}");
    assert!(last.contains(&format!("\ncoffer_train_samples_total {}\n", 2 * TRAIN)), "{last}");
    assert!(last.contains("\ncoffer_train_loss{part=\"test\"} "), "{last}");
    assert!(!last.contains("energy"), "{last}");
    let shards = Split::ALL.iter().flat_map(|split| dataset.shards(*split));
    let bytes = 2 * shards.map(|shard| shard.bytes).sum::<u64>();
    let read = format!("\ncoffer_train_data_read_bytes_total{{from=\"store\"}} {bytes}\n");
    assert!(last.contains(&read), "{last}");
    // The first epoch's checkpoint is safe once the second's is taken.
    let written = ask(address, "GET /metrics");
    for name in ["checkpoint_timestamp_seconds", "checkpoint_duration_seconds", "checkpoint_bytes"]
    {
        assert!(written.contains(&format!("\ncoffer_train_{name} ")), "{name}\n{written}");
    }
    assert!(written.contains("\ncoffer_train_checkpoints_total 2\n"), "{written}");
    let (_, text) = last.split_once("\r\n\r\n").unwrap();
    promtool(&["check", "metrics"], text);

    assert!(ask(address, "GET /").starts_with("HTTP/1.1 404 "));
    let refused = ask(address, "POST /metrics").to_lowercase();
    assert!(refused.starts_with("http/1.1 405 ") && refused.contains("allow: get"), "{refused}");
    drop(server);
}

#[test]
fn the_rules_for_alerts_are_sound() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/monitoring");
    for rules in ["coffer-rules.yml", "coffer-train-rules.yml"] {
        promtool(&["check", "rules", &format!("{folder}/{rules}")], "");
    }
    promtool(&["check", "config", "--syntax-only", &format!("{folder}/prometheus.yml")], "");
}

/// One package of a CPU whose counter is at `microjoules`.
fn package(folder: &Path, microjoules: u64) {
    let folder = folder.join("intel-rapl:0");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("name"), "package-0\n").unwrap();
    fs::write(folder.join("max_energy_range_uj"), "262143328850\n").unwrap();
    // The meter never finds it empty.
    let new = folder.join("new");
    fs::write(&new, microjoules.to_string()).unwrap();
    fs::rename(new, folder.join("energy_uj")).unwrap();
}

#[test]
fn the_energy_of_training_is_kept_with_each_epoch_and_judging_is_no_part_of_it() {
    let runtime = runtime();
    let (dataset, place) = (dataset(&runtime, &memory()), memory());
    let folder = tempfile::tempdir().unwrap();
    package(folder.path(), 0);
    let rapl = Rapl::within(folder.path()).unwrap();
    let meter = EnergyMeter::of(vec![Box::new(rapl)], Vec::new());
    let (mut now, mut trained) = (0, vec![0.0]);
    let meter = Arc::new(meter);
    let measure = |run: &mut Run<'_>| run.energy = Some(Arc::clone(&meter));
    let (outcome, _) = watched(&runtime, &dataset, &place, 2, measure, |event, _| {
        match event {
            Event::Progress(_) => {
                now += 2_500_000;
                *trained.last_mut().unwrap() += 2.5;
            }
            Event::Judging => now += 10_000_000,
            Event::Epoch(_) => trained.push(0.0),
            _ => (),
        }
        package(folder.path(), now);
    })
    .unwrap();
    let found: Vec<_> =
        outcome.history.iter().map(|record| record.timing.energy.cpu_joules).collect();
    assert_eq!(found, [Some(trained[0]), Some(trained[1])]);
    assert_eq!(outcome.training_energy().cpu_joules, Some(trained[0] + trained[1]));
    assert_eq!(outcome.training_energy().gpu_joules, None);
    let kept = load(&runtime, &place, Selector::Latest);
    assert_eq!(State::of(&kept).unwrap().history, outcome.history);
    let (joules, source) = (trained[0] + trained[1], "rapl".to_owned());
    assert_eq!(kept.manifest.energy, Some(Energy { joules, source }));
}

#[test]
fn an_epoch_that_was_broken_off_has_the_energy_of_both_attempts() {
    let runtime = runtime();
    let (dataset, place) = (dataset(&runtime, &memory()), memory());
    let folder = tempfile::tempdir().unwrap();
    let attempt = |stop: bool, used: u64| {
        package(folder.path(), 5_000_000);
        let rapl = Rapl::within(folder.path()).unwrap();
        let meter = Arc::new(EnergyMeter::of(vec![Box::new(rapl)], Vec::new()));
        let measure = |run: &mut Run<'_>| {
            run.energy = Some(meter);
            run.saving.every = NonZeroU64::new(4);
        };
        let (outcome, _) = watched(&runtime, &dataset, &place, 1, measure, |event, token| {
            // The checkpoint of the fourth step, or the last step of the rest.
            if matches!(event, Event::Saving { .. } if stop) {
                package(folder.path(), 5_000_000 + used);
                token.cancel();
            } else if let Event::Progress(_) = event {
                package(folder.path(), 5_000_000 + used);
            }
        })
        .unwrap();
        outcome
    };
    attempt(true, 3_000_000);
    let broken_off = State::of(&load(&runtime, &place, Selector::Latest)).unwrap();
    assert_eq!(broken_off.partial.timing.energy.cpu_joules, Some(3.0));
    let outcome = attempt(false, 4_500_000);
    assert_eq!(outcome.history[0].timing.energy.cpu_joules, Some(7.5));
}

#[test]
fn an_epoch_in_which_a_counter_vanished_has_no_figure() {
    let runtime = runtime();
    let (dataset, place) = (dataset(&runtime, &memory()), memory());
    let folder = tempfile::tempdir().unwrap();
    package(folder.path(), 0);
    let rapl = Rapl::within(folder.path()).unwrap();
    let meter = EnergyMeter::of(vec![Box::new(rapl)], Vec::new());
    let meter = Arc::new(meter);
    let measure = |run: &mut Run<'_>| run.energy = Some(Arc::clone(&meter));
    let (outcome, _) = watched(&runtime, &dataset, &place, 2, measure, |event, _| {
        if let Event::Epoch(_) = event {
            let _ = fs::remove_dir_all(folder.path().join("intel-rapl:0"));
        }
    })
    .unwrap();
    let found: Vec<_> =
        outcome.history.iter().map(|record| record.timing.energy.cpu_joules).collect();
    assert_eq!(found, [Some(0.0), None]);
    assert!(outcome.training_energy().is_empty());
    assert_eq!(meter.take_news().len(), 1);
}

/// Runs a case of `live.py`, which runs the program under a pseudo-terminal.
fn live(case: &str) {
    let work = tempfile::tempdir().unwrap();
    let python = std::env::var("COFFER_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let output = Command::new(python)
        .arg("-B")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/trainer/live.py"))
        .args([env!("CARGO_BIN_EXE_coffer-train"), case])
        .current_dir(work.path())
        .output();
    let Ok(output) = output else {
        return println!("SKIPPED: Python can't be started");
    };
    let told = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&told));
}

#[test]
fn the_live_view_draws_and_gives_the_terminal_back() {
    live("to-the-end");
}

#[test]
fn q_ends_the_run_and_gives_the_terminal_back() {
    live("q");
}

#[test]
fn ctrl_c_ends_the_run_and_gives_the_terminal_back() {
    live("ctrl-c");
}

#[test]
fn an_error_is_told_on_the_terminal_as_it_was() {
    live("error");
}

#[test]
fn warnings_of_the_client_library_are_shown_in_the_view_and_told_after_it() {
    live("warnings");
}
