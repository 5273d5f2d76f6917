//! Frames, as letters.

use std::time::Duration;

use coffer_train::checkpoint::{Activity, CheckpointId};
use coffer_train::energy::Energy;
use coffer_train::telemetry::{About, Level, Saved, Telemetry};
use coffer_train::train::{EpochRecord, Event, Losses, Progress, Timing};
use ratatui_core::backend::TestBackend;
use ratatui_core::terminal::Terminal;

use super::frame::{Keys, draw};

fn about() -> About {
    About {
        model: "classifier",
        unit: "nats",
        run: "s3://training/classifier".to_owned(),
        dataset: "d".to_owned(),
        devices: "cpu".to_owned(),
        epochs: 4,
        samples: 60_000,
    }
}

fn losses(loss: f64) -> Losses {
    Losses([("cross entropy".to_owned(), loss)].into())
}

fn progress(epoch: u64, steps: u64, loss: f64) -> Event<'static> {
    Event::Progress(Progress {
        epoch,
        steps,
        samples: usize::try_from(steps).unwrap() * 100,
        losses: losses(loss),
        recent: loss,
        seconds: steps as f64 / 50.0,
        waited: steps as f64 / 500.0,
    })
}

fn record(epoch: u64, loss: f64) -> EpochRecord {
    let energy = Energy { cpu_joules: Some(120.0), gpu_joules: None };
    let (train_seconds, test_seconds) = (12.0, 1.0);
    EpochRecord {
        epoch,
        steps: 600,
        train: losses(loss),
        validation: None,
        test: losses(loss * 0.9),
        confusion: None,
        timing: Timing {
            train_seconds,
            wait_seconds: 1.2,
            test_seconds,
            energy,
            ..Timing::default()
        },
    }
}

/// A run in its second epoch.
fn state() -> Telemetry {
    let mut state = Telemetry::new(about());
    let at = Duration::from_secs;
    state.on(at(1), &progress(1, 600, 0.8));
    state.on(at(13), &Event::Judging);
    state.on(at(14), &Event::Epoch(&record(1, 0.8)));
    state.on(at(20), &progress(2, 300, 0.4));
    state
}

fn lines(state: &Telemetry, keys: Keys, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, state, Duration::from_secs(30), keys)).unwrap();
    let cells = terminal.backend().buffer().content();
    let line = |cells: &[ratatui_core::buffer::Cell]| {
        cells.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned()
    };
    cells.chunks(width.into()).map(line).collect()
}

fn has(lines: &[String], text: &str) -> bool {
    lines.iter().any(|line| line.contains(text))
}

#[test]
fn a_frame_tells_how_the_run_is() {
    let mut state = state();
    state.energy = Energy { cpu_joules: Some(345.6), gpu_joules: None };
    state.checkpoints.last = Some(Saved {
        id: "step-00000600".to_owned(),
        at: Duration::from_secs(15),
        seconds: 0.25,
        bytes: 3 << 19,
    });
    state.say(Duration::from_secs(16), Level::Warning, "a shard was skipped");
    let frame = lines(&state, Keys::Free, 100, 24);
    for text in [
        "classifier at s3://training/classifier on cpu",
        "epoch 2/4  30,000/60,000",
        "loss        0.4000",
        "judged      test 0.7200",
        "5,000 samples/s, 50.0 steps/s, 10.0 % of the time waiting for data",
        "step-00000600 15 s ago, 1.5 MiB in 0.2 s",
        "cpu 345.6 J; last epoch's training cpu 120.0 J",
        "warning: a shard was skipped",
        "q or Ctrl-C ends the run",
    ] {
        assert!(has(&frame, text), "{text}\n{}", frame.join("\n"));
    }
    // 150,000 samples at 5,000 a second, and three times a second of judging.
    assert!(frame[0].ends_with("training, 33 s left"), "{}", frame[0]);
    // The curves: names in the legend, and dots.
    assert!(has(&frame, "train") && has(&frame, "test"));
    assert!(
        frame.iter().flat_map(|line| line.chars()).any(|c| ('\u{2801}'..='\u{28ff}').contains(&c))
    );
}

#[test]
fn what_is_not_known_is_said_to_be_so() {
    let state = Telemetry::new(about());
    let frame = lines(&state, Keys::Ending, 80, 24);
    for text in ["energy      unavailable", "loss        none yet", "unknown left", "q again"] {
        assert!(has(&frame, text), "{text}\n{}", frame.join("\n"));
    }
}

#[test]
fn writing_failures_and_standstills_are_told() {
    let mut state = state();
    let (checkpoint, written, bytes) = (CheckpointId(7), 1 << 20, 4 << 20);
    state.checkpoints.status.activity = Activity::Writing { checkpoint, written, bytes };
    state.checkpoints.stalled_seconds = 1.5;
    let frame = lines(&state, Keys::Free, 100, 24);
    let told = "step-00000007 is being written, 1.0 MiB of 4.0 MiB; training stood still for 1.5 s";
    assert!(has(&frame, told), "{}", frame.join("\n"));
    state.checkpoints.status.activity = Activity::Failed("out of space".to_owned());
    assert!(has(&lines(&state, Keys::Free, 100, 24), "failed: out of space"));
}

#[test]
fn any_size_of_terminal_will_do() {
    let state = state();
    for (width, height) in [(1, 1), (5, 3), (20, 8), (80, 10), (300, 100)] {
        lines(&state, Keys::Free, width, height);
    }
}
