//! Two sets of runs side by side.

use super::summary::{Report, Run};
use serde::Serialize;
use std::fmt;

/// Fewer runs than this say little on a machine that others use, too.
const ENOUGH: usize = 5;

/// The middle of some figures, and how far they spread.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Median {
    /// The middle one; of an even number the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Median {
    /// Of some figures, if there are any.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let (min, max) = (*figures.first()?, *figures.last()?);
        let (low, high) = (figures[(figures.len() - 1) / 2], figures[figures.len() / 2]);
        Some(Self { median: f64::midpoint(low, high), min, max })
    }
}

/// Which way a figure is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Throughput, for example.
    Higher,
    /// Latency, for example.
    Lower,
}

/// One figure of both.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// What it is of: an operation, or the run as a whole.
    pub of: String,
    /// The figure with its unit.
    pub figure: &'static str,
    /// Which way it is better.
    pub better: Better,
    /// Of the first.
    pub a: Median,
    /// Of the second.
    pub b: Median,
    /// The second's median divided by the first's; none if that is 0.
    pub ratio: Option<f64>,
    /// Whether the ranges of the two overlap, so that the difference may be noise.
    pub overlap: bool,
}

/// Everything that two sets of runs have in common.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// What the first is called.
    pub a: String,
    /// What the second is called.
    pub b: String,
    /// The figures.
    pub lines: Vec<Line>,
    /// What makes them less comparable than they look.
    pub warnings: Vec<String>,
}

type Figure = (&'static str, Better, fn(&Run, &str) -> Option<f64>);

const OF_OPERATIONS: [Figure; 8] = [
    ("per s", Better::Higher, |run, op| Some(run.operations.get(op)?.per_s)),
    ("MiB/s", Better::Higher, |run, op| {
        Some(run.operations.get(op)?.mib_per_s).filter(|rate| *rate > 0.0)
    }),
    ("p50 ms", Better::Lower, |run, op| Some(run.operations.get(op)?.latency_ms?.p50)),
    ("p90 ms", Better::Lower, |run, op| Some(run.operations.get(op)?.latency_ms?.p90)),
    ("p99 ms", Better::Lower, |run, op| Some(run.operations.get(op)?.latency_ms?.p99)),
    ("p99.9 ms", Better::Lower, |run, op| Some(run.operations.get(op)?.latency_ms?.p999)),
    ("max ms", Better::Lower, |run, op| Some(run.operations.get(op)?.latency_ms?.max)),
    ("first byte p50 ms", Better::Lower, |run, op| {
        Some(run.operations.get(op)?.first_byte_ms?.p50)
    }),
];

const OF_RUNS: [Figure; 7] = [
    ("operations per server CPU-s", Better::Higher, |run, _| run.operations_per_cpu_s),
    ("MiB per server CPU-s", Better::Higher, |run, _| run.mib_per_cpu_s),
    ("server CPU-s", Better::Lower, |run, _| run.used.server_cpu_s),
    ("client CPU-s", Better::Lower, |run, _| Some(run.used.client_cpu_s)),
    ("bytes on disk per byte", Better::Lower, |run, _| run.disk_bytes_per_byte),
    ("bytes written per byte", Better::Lower, |run, _| run.written_bytes_per_byte),
    ("failures", Better::Lower, |run, _| u32::try_from(run.failures()).ok().map(f64::from)),
];

/// One set of runs: those of one target of a report.
struct Side<'a> {
    name: String,
    report: &'a Report,
    runs: Vec<&'a Run>,
}

impl<'a> Side<'a> {
    fn new(report: &'a Report, target: usize) -> Option<Self> {
        let info = report.targets.get(target)?;
        let runs: Vec<&Run> = report.runs.iter().filter(|run| run.target == info.label).collect();
        (!runs.is_empty()).then(|| Self { name: info.label.clone(), report, runs })
    }

    fn median(&self, figure: fn(&Run, &str) -> Option<f64>, of: &str) -> Option<Median> {
        Median::of(self.runs.iter().filter_map(|run| figure(run, of)))
    }

    fn warn(&self, warnings: &mut Vec<String>) {
        let Self { name, runs, .. } = self;
        if runs.len() < ENOUGH {
            warnings.push(format!(
                "{name}: {} of at least {ENOUGH} runs (--repeat {ENOUGH})",
                runs.len()
            ));
        }
        let failures: u64 = runs.iter().map(|run| run.failures()).sum();
        if failures > 0 {
            warnings.push(format!("{name}: {failures} operations failed"));
        }
    }
}

/// Compares the first target of `a` with that of `b`, or, where there is no `b`, with the second
/// target of `a`. `None` if there are not two sets of runs.
pub fn compare(a: &Report, b: Option<&Report>) -> Option<Comparison> {
    let first = Side::new(a, 0)?;
    let second = match b {
        Some(b) => Side::new(b, 0)?,
        None => Side::new(a, 1)?,
    };
    let mut warnings = Vec::new();
    if let Some(b) = b {
        if a.config != b.config {
            warnings.push("the two were measured with different settings".to_owned());
        }
        if (&a.machine.cpu, a.machine.cores) != (&b.machine.cpu, b.machine.cores) {
            warnings.push("the two were measured on different machines".to_owned());
        }
        warnings.push(
            "not measured in turns: compare processor time rather than wall-clock time, or use \
             --against"
                .to_owned(),
        );
    }
    first.warn(&mut warnings);
    second.warn(&mut warnings);
    let line = |of: &str, (figure, better, get): Figure| {
        let (a, b) = (first.median(get, of)?, second.median(get, of)?);
        let ratio = (a.median != 0.0).then(|| b.median / a.median);
        let overlap = a.min <= b.max && b.min <= a.max;
        Some(Line { of: of.to_owned(), figure, better, a, b, ratio, overlap })
    };
    let mut lines = Vec::new();
    let operations: std::collections::BTreeSet<&String> =
        first.runs.iter().flat_map(|run| run.operations.keys()).collect();
    for operation in operations {
        lines.extend(OF_OPERATIONS.iter().filter_map(|figure| line(operation, *figure)));
    }
    lines.extend(OF_RUNS.iter().filter_map(|figure| line("run", *figure)));
    let name = |side: &Side<'_>, letter: &str| match second.name == first.name {
        true => format!("{letter}: {} ({})", side.name, side.report.began),
        false => format!("{letter}: {}", side.name),
    };
    Some(Comparison { a: name(&first, "A"), b: name(&second, "B"), lines, warnings })
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\nmedians, in brackets least and greatest\n", self.a, self.b)?;
        let range =
            |m: &Median| format!("{} [{}..{}]", short(m.median), short(m.min), short(m.max));
        for line in &self.lines {
            let ratio = line.ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.3}"));
            let verdict = match (line.ratio, line.better) {
                _ if line.overlap => "~",
                (Some(ratio), Better::Higher) if ratio > 1.0 => "B better",
                (Some(ratio), Better::Lower) if ratio < 1.0 => "B better",
                (Some(_), _) => "A better",
                (None, _) => "",
            };
            let (a, b) = (range(&line.a), range(&line.b));
            let (of, figure) = (&line.of, line.figure);
            writeln!(f, "{of:<10} {figure:<28} {a:>30} {b:>30}  B/A {ratio:>7}  {verdict}")?;
        }
        self.warnings.iter().try_for_each(|warning| writeln!(f, "note: {warning}"))
    }
}

/// A figure to four digits.
pub(super) fn short(figure: f64) -> String {
    match figure.abs() {
        size if size >= 1_000.0 => format!("{figure:.0}"),
        size if size >= 100.0 => format!("{figure:.1}"),
        size if size >= 10.0 => format!("{figure:.2}"),
        _ => format!("{figure:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Done, Machine, Moved, Operation, Reading, Recorder};
    use crate::report::{Config, TargetInfo};
    use proptest::prelude::*;
    use std::time::Duration;

    /// A report of one target for each list of latencies, each of which is one run.
    fn report(targets: &[(&str, &[u64])]) -> Report {
        let run = |label: &str, round: usize, latency: u64| {
            let mut record = Recorder::default();
            let result = Ok(Moved { bytes: 1 << 20, first_byte: None });
            let done = Done { operation: Operation::Put, result, retried: vec![], parts: vec![] };
            record.add(Duration::ZERO, Duration::ZERO, Duration::from_millis(latency), &done);
            let used = Reading { server_cpu_s: Some(0.5), ..Reading::default() };
            Run::of(label, round, &record, None, used)
        };
        Report {
            format: super::super::summary::FORMAT.to_owned(),
            version: "0".to_owned(),
            began: "now".to_owned(),
            config: Config {
                workload: "put".to_owned(),
                settings: Default::default(),
                concurrency: 1,
                rate: None,
                warm_up_s: 0.0,
                seed: 1,
                check: false,
                retries: 0,
            },
            machine: Machine::here(),
            targets: targets
                .iter()
                .map(|(label, _)| TargetInfo {
                    label: (*label).to_owned(),
                    endpoint: String::new(),
                    http: "1.1".to_owned(),
                    server: String::new(),
                })
                .collect(),
            runs: targets
                .iter()
                .flat_map(|(label, runs)| {
                    runs.iter().enumerate().map(|(at, latency)| run(label, at + 1, *latency))
                })
                .collect(),
        }
    }

    fn line<'a>(comparison: &'a Comparison, figure: &str) -> &'a Line {
        comparison.lines.iter().find(|line| line.figure == figure).unwrap()
    }

    #[test]
    fn medians_are_compared_and_one_bad_run_does_not_decide() {
        let both = report(&[("a", &[10, 10, 10, 10, 900]), ("b", &[20, 20, 20, 21, 22])]);
        let comparison = compare(&both, None).unwrap();
        let p50 = line(&comparison, "p50 ms");
        assert!((p50.ratio.unwrap() - 2.0).abs() < 0.01, "{p50:?}");
        assert!(p50.overlap, "the bad run reaches into the other's range");
        assert_eq!(comparison.warnings, Vec::<String>::new());
        let text = comparison.to_string();
        assert!(text.contains("A: a\nB: b\n") && text.contains("2.000"), "{text}");
        let clear = compare(&report(&[("a", &[10; 5]), ("b", &[20; 5])]), None).unwrap();
        let p50 = line(&clear, "p50 ms");
        assert!(!p50.overlap && clear.to_string().contains("A better"));
        assert_eq!(line(&clear, "MiB per server CPU-s").ratio, Some(1.0));
    }

    #[test]
    fn says_what_makes_figures_less_comparable() {
        let (one, mut other) = (report(&[("a", &[10; 5])]), report(&[("a", &[10; 2])]));
        other.config.concurrency = 9;
        let comparison = compare(&one, Some(&other)).unwrap();
        let text = comparison.to_string();
        for part in ["different settings", "not measured in turns", "2 of at least 5", "(now)"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(compare(&one, None).is_none());
    }

    proptest! {
        #[test]
        fn half_of_all_lie_on_each_side(figures in proptest::collection::vec(-1e6f64..1e6, 1..30)) {
            let middle = Median::of(figures.iter().copied()).unwrap();
            let below = figures.iter().filter(|f| **f <= middle.median).count();
            let above = figures.iter().filter(|f| **f >= middle.median).count();
            prop_assert!(2 * below >= figures.len() && 2 * above >= figures.len());
            prop_assert!(middle.min <= middle.median && middle.median <= middle.max);
        }
    }
}
