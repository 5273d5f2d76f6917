//! Runs as a table for people.

use super::compare::{Median, short};
use super::summary::{Measured, Quantiles, Report, Run};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

const HEAD: [&str; 11] =
    ["", "count", "per s", "MiB/s", "p50 ms", "p90", "p99", "p99.9", "max", "first byte", "errors"];

/// The medians over each target's runs.
pub fn table(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string can't fail.
    let _ = write(&mut out, report);
    out
}

fn write(out: &mut String, report: &Report) -> std::fmt::Result {
    for target in &report.targets {
        let runs: Vec<&Run> = report.runs.iter().filter(|run| run.target == target.label).collect();
        let length = Median::of(runs.iter().map(|run| run.window_s)).map_or(0.0, |m| m.median);
        let server = match target.server.as_str() {
            "" => String::new(),
            name => format!(" ({name})"),
        };
        let times = if runs.len() == 1 { "run" } else { "runs, medians" };
        writeln!(
            out,
            "{}: {}{server}, HTTP/{}: {}, {} at a time; {} {times} of {} s",
            target.label,
            target.endpoint,
            target.http,
            report.config.workload,
            report.config.concurrency,
            runs.len(),
            short(length),
        )?;
        line(out, &HEAD.map(str::to_owned))?;
        let names: BTreeSet<&String> = runs.iter().flat_map(|run| run.operations.keys()).collect();
        for name in names {
            let found: Vec<&Measured> =
                runs.iter().filter_map(|run| run.operations.get(name)).collect();
            let median = |figure: &dyn Fn(&Measured) -> Option<f64>| {
                let median = Median::of(found.iter().filter_map(|measured| figure(measured)));
                median.map_or("-".to_owned(), |m| short(m.median))
            };
            let latency = |figure: fn(&Quantiles) -> f64| {
                median(&|measured| Some(figure(&measured.latency_ms?)))
            };
            let count: u64 = found.iter().map(|measured| measured.count).sum();
            let errors: u64 = found.iter().map(|measured| measured.failures()).sum();
            line(
                out,
                &[
                    name.clone(),
                    count.to_string(),
                    median(&|measured| Some(measured.per_s)),
                    median(&|measured| Some(measured.mib_per_s)),
                    latency(|q| q.p50),
                    latency(|q| q.p90),
                    latency(|q| q.p99),
                    latency(|q| q.p999),
                    latency(|q| q.max),
                    median(&|measured| Some(measured.first_byte_ms?.p50)),
                    errors.to_string(),
                ],
            )?;
        }
        kinds(out, "failed", &runs, |measured| &measured.errors)?;
        kinds(out, "failed and was tried again", &runs, |measured| &measured.retried)?;
        used(out, &runs, report.config.rate)?;
        out.push('\n');
    }
    Ok(())
}

fn line(out: &mut String, cells: &[String; 11]) -> std::fmt::Result {
    write!(out, "  {:<10}", cells[0])?;
    for cell in &cells[1..] {
        write!(out, " {cell:>10}")?;
    }
    out.push('\n');
    Ok(())
}

fn kinds(
    out: &mut String,
    what: &str,
    runs: &[&Run],
    of: fn(&Measured) -> &BTreeMap<String, u64>,
) -> std::fmt::Result {
    let mut sums: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for (name, measured) in runs.iter().flat_map(|run| &run.operations) {
        for (kind, count) in of(measured) {
            *sums.entry((name, kind)).or_default() += count;
        }
    }
    sums.iter().try_for_each(|((name, kind), count)| {
        writeln!(out, "  {name} {what}: {kind}, {count} times")
    })
}

fn used(out: &mut String, runs: &[&Run], rate: Option<f64>) -> std::fmt::Result {
    let mut say = |what: &str, figure: &dyn Fn(&Run) -> Option<f64>| match Median::of(
        runs.iter().filter_map(|run| figure(run)),
    ) {
        Some(m) if runs.len() > 1 => {
            let (least, most) = (short(m.min), short(m.max));
            writeln!(out, "  {what}: {} [{least}..{most}]", short(m.median))
        }
        Some(m) => writeln!(out, "  {what}: {}", short(m.median)),
        None => Ok(()),
    };
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
    say("server CPU-seconds", &|run| run.used.server_cpu_s)?;
    say("operations per server CPU-second", &|run| run.operations_per_cpu_s)?;
    say("MiB per server CPU-second", &|run| run.mib_per_cpu_s)?;
    say("client CPU-seconds", &|run| Some(run.used.client_cpu_s))?;
    say("server's peak memory, MiB", &|run| run.used.server_peak_memory_bytes.map(mib))?;
    say("bytes on disk per byte stored", &|run| run.disk_bytes_per_byte)?;
    say("bytes written to disk per byte stored", &|run| run.written_bytes_per_byte)?;
    if rate.is_some() {
        say("began later than intended, p99 ms", &|run| Some(run.start_lag_ms?.p99))?;
        let abandoned: u64 = runs.iter().map(|run| run.abandoned).sum();
        if abandoned > 0 {
            writeln!(out, "  {abandoned} arrivals were abandoned: the rate is too high for it")?;
        }
    }
    Ok(())
}
