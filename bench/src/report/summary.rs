//! Figures of runs, as they are written to JSON and read back.

use crate::measure::{Latencies, Machine, Operation, Reading, Recorder, Tally};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// The form of the JSON object; another number is another form.
pub const FORMAT: &str = "coffer-bench/1";

/// All runs of one call of the program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: String,
    /// The version of this program.
    pub version: String,
    /// When it began (RFC 3339).
    pub began: String,
    /// What was asked for.
    pub config: Config,
    /// Where this program ran; the server may run elsewhere.
    pub machine: Machine,
    /// What was measured, in the order of the command line.
    pub targets: Vec<TargetInfo>,
    /// The runs, in the order in which they took place.
    pub runs: Vec<Run>,
}

/// What was asked for, as far as it makes figures comparable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The subcommand.
    pub workload: String,
    /// Sizes of objects, samples or parts, and what else the workload takes.
    pub settings: BTreeMap<String, String>,
    /// Operations under way at a time, at most.
    pub concurrency: usize,
    /// Operations per second in an open loop.
    pub rate: Option<f64>,
    /// Not counted, in seconds.
    pub warm_up_s: f64,
    /// What choices follow from.
    pub seed: u64,
    /// Whether contents were checked as they were read.
    pub check: bool,
    /// Attempts after the first.
    pub retries: usize,
}

/// A target, without its secrets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetInfo {
    /// Its name in tables.
    pub label: String,
    /// Where it is.
    pub endpoint: String,
    /// The version of HTTP.
    pub http: String,
    /// What it calls itself (the `Server` header).
    pub server: String,
}

/// One run on one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The target's label.
    pub target: String,
    /// Counted from 1; targets take turns within a round.
    pub round: usize,
    /// From the end of the warm-up to the end of the last operation, or of the time, if that is
    /// later; in seconds.
    pub window_s: f64,
    /// By name of operation.
    pub operations: BTreeMap<String, Measured>,
    /// How much later than intended operations began. In an open loop this is the backlog.
    pub start_lag_ms: Option<Quantiles>,
    /// Arrivals that nobody came to.
    pub abandoned: u64,
    /// By second: operations that succeeded, bytes they moved, operations that failed.
    pub seconds: Vec<(u64, u64, u64)>,
    /// Processor time and space.
    pub used: Reading,
    /// Operations per second of the server's processor time.
    pub operations_per_cpu_s: Option<f64>,
    /// MiB moved per second of the server's processor time.
    pub mib_per_cpu_s: Option<f64>,
    /// By how many bytes the server's files grew for each byte that was stored.
    pub disk_bytes_per_byte: Option<f64>,
    /// Bytes written to disks by the server's processes for each byte that was stored.
    pub written_bytes_per_byte: Option<f64>,
}

/// One kind of operation in one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Those that succeeded.
    pub count: u64,
    /// The same per second of the window.
    pub per_s: f64,
    /// Bytes they moved.
    pub bytes: u64,
    /// The same in MiB per second.
    pub mib_per_s: f64,
    /// Their latencies.
    pub latency_ms: Option<Quantiles>,
    /// To the first byte of the answer's body.
    pub first_byte_ms: Option<Quantiles>,
    /// Latencies of those that failed.
    pub failed_ms: Option<Quantiles>,
    /// Failures by kind.
    pub errors: BTreeMap<String, u64>,
    /// Failures that were tried again, by kind.
    pub retried: BTreeMap<String, u64>,
    /// Points of the distribution: milliseconds, and the share of operations that took no longer.
    pub distribution: Vec<(f64, f64)>,
}

/// Of a distribution of times, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "percentiles name themselves")]
pub struct Quantiles {
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl Quantiles {
    /// Of some latencies, if there are any.
    pub fn of(latencies: &Latencies) -> Option<Self> {
        (latencies.count() > 0).then(|| Self {
            mean: latencies.mean(),
            p50: latencies.quantile(0.5),
            p90: latencies.quantile(0.9),
            p99: latencies.quantile(0.99),
            p999: latencies.quantile(0.999),
            max: latencies.max(),
        })
    }
}

/// Shares at which distributions are kept: by hundredths, and closer at the upper end.
fn shares() -> impl Iterator<Item = f64> {
    let hundredths = (0..100u32).map(|n| f64::from(n) / 100.0);
    hundredths.chain([0.995, 0.999, 0.9995, 0.9999, 1.0])
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn number(count: u64) -> f64 {
    count as f64
}

fn mib(bytes: u64) -> f64 {
    number(bytes) / 1_048_576.0
}

impl Measured {
    fn of(tally: &Tally, window: f64) -> Self {
        let count = tally.latency.count();
        let named = |map: &BTreeMap<crate::measure::Failure, u64>| {
            map.iter().map(|(failure, count)| (failure.to_string(), *count)).collect()
        };
        let per_s = |amount: f64| if window > 0.0 { amount / window } else { 0.0 };
        Self {
            count,
            per_s: per_s(number(count)),
            bytes: tally.bytes,
            mib_per_s: per_s(mib(tally.bytes)),
            latency_ms: Quantiles::of(&tally.latency),
            first_byte_ms: Quantiles::of(&tally.first_byte),
            failed_ms: Quantiles::of(&tally.failed),
            errors: named(&tally.errors),
            retried: named(&tally.retried),
            distribution: match count {
                0 => Vec::new(),
                _ => shares().map(|share| (tally.latency.quantile(share), share)).collect(),
            },
        }
    }

    /// Operations that failed.
    pub fn failures(&self) -> u64 {
        self.errors.values().sum()
    }
}

impl Run {
    /// Sums a run up. `length` is how long it was to take, if time was to end it and did.
    pub fn of(
        target: &str,
        round: usize,
        record: &Recorder,
        length: Option<Duration>,
        used: Reading,
    ) -> Self {
        let window = record.last_end.max(length.unwrap_or_default()).as_secs_f64();
        let whole: Vec<(&Operation, &Tally)> = record
            .tallies
            .iter()
            .filter(|(part, _)| !record.tallies.keys().any(|whole| part.is_step_of(*whole)))
            .collect();
        let count: u64 = whole.iter().map(|(_, tally)| tally.latency.count()).sum();
        let bytes: u64 = whole.iter().map(|(_, tally)| tally.bytes).sum();
        let writes = [Operation::Put, Operation::Multipart, Operation::Burst];
        let stored: u64 =
            whole.iter().filter(|(op, _)| writes.contains(op)).map(|(_, tally)| tally.bytes).sum();
        let cpu = used.server_cpu_s.filter(|seconds| *seconds > 0.0);
        let per_byte = |amount: f64| (stored > 0).then(|| amount / number(stored));
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let grown = used.disk_growth_bytes.map(|bytes| bytes as f64);
        Self {
            target: target.to_owned(),
            round,
            window_s: window,
            operations: record
                .tallies
                .iter()
                .map(|(operation, tally)| {
                    (operation.name().to_owned(), Measured::of(tally, window))
                })
                .collect(),
            start_lag_ms: Quantiles::of(&record.lag),
            abandoned: record.abandoned,
            seconds: record.seconds.iter().map(|s| (s.operations, s.bytes, s.errors)).collect(),
            used,
            operations_per_cpu_s: cpu.map(|cpu| number(count) / cpu),
            mib_per_cpu_s: cpu.filter(|_| bytes > 0).map(|cpu| mib(bytes) / cpu),
            disk_bytes_per_byte: grown.and_then(per_byte),
            written_bytes_per_byte: used.server_written_bytes.map(number).and_then(per_byte),
        }
    }

    /// Operations that failed, and arrivals that nobody came to.
    pub fn failures(&self) -> u64 {
        self.operations.values().map(Measured::failures).sum::<u64>() + self.abandoned
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Done, Failure, Moved, Part};

    #[test]
    fn steps_of_an_operation_are_shown_and_not_counted_twice() {
        let second = Duration::from_secs(1);
        let moved = |bytes| Ok(Moved { bytes, first_byte: None });
        let part = |result| Part {
            operation: Operation::Put,
            took: second / 2,
            result,
            retried: vec![Failure::Stalled],
        };
        let done = Done {
            operation: Operation::Burst,
            result: moved(2 << 20),
            retried: vec![],
            parts: vec![part(moved(1 << 20)), part(moved(1 << 20))],
        };
        let mut record = Recorder::default();
        record.add(Duration::ZERO, Duration::ZERO, second, &done);
        let used = Reading {
            server_cpu_s: Some(0.5),
            disk_growth_bytes: Some(3 << 20),
            ..Reading::default()
        };
        let run = Run::of("a", 1, &record, None, used);
        assert_eq!(run.operations["put"].count, 2);
        assert_eq!(run.operations["put"].retried["stalled"], 2);
        assert_eq!((run.operations_per_cpu_s, run.mib_per_cpu_s), (Some(2.0), Some(4.0)));
        assert_eq!(run.disk_bytes_per_byte, Some(1.5));
        assert_eq!(run.window_s, 1.0);
        // Time that was to pass counts even if nothing happened in it.
        let run = Run::of("a", 1, &record, Some(4 * second), used);
        assert_eq!(run.operations["burst"].per_s, 0.25);
    }

    #[test]
    fn a_run_without_success_has_no_latencies_and_its_errors() {
        let mut record = Recorder::default();
        let result = Err(Failure::Refused { status: 503, code: "SlowDown".into() });
        let done = Done { operation: Operation::Get, result, retried: vec![], parts: vec![] };
        record.add(Duration::ZERO, Duration::ZERO, Duration::from_secs(1), &done);
        let run = Run::of("a", 1, &record, None, Reading::default());
        let get = &run.operations["get"];
        assert_eq!((get.count, get.latency_ms, run.failures()), (0, None, 1));
        assert_eq!(get.errors, BTreeMap::from([("503 SlowDown".to_owned(), 1)]));
        assert!(get.failed_ms.is_some_and(|failed| failed.max > 999.0));
        let text = serde_json::to_string(&run).unwrap();
        assert_eq!(serde_json::from_str::<Run>(&text).unwrap(), run);
    }
}
