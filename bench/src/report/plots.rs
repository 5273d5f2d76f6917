//! Pictures of runs.

use super::summary::{Report, Run};
use coffer_plot::{Across, Curve, Panel, PlotError, Scale, draw};

/// A picture of latencies and one of the course of time, each as a file's name and PNG. Of several
/// runs of a target the last is drawn.
///
/// # Errors
/// If a picture can't be encoded.
pub fn plot(report: &Report) -> Result<[(&'static str, Vec<u8>); 2], PlotError> {
    let last: Vec<&Run> = report
        .targets
        .iter()
        .filter_map(|target| report.runs.iter().rfind(|run| run.target == target.label))
        .collect();
    let title = format!("{}: latency", report.config.workload);
    let latency = Panel {
        title: &title,
        unit: "% of operations that take no longer",
        across: Across { label: "ms", scale: Scale::Log },
        from_zero: true,
        curves: last.iter().flat_map(|run| latencies(run, last.len() > 1)).collect(),
    };
    let course = |title, unit, value: fn(&(u64, u64, u64)) -> f64| Panel {
        title,
        unit,
        across: Across { label: "s", scale: Scale::Linear },
        from_zero: true,
        curves: last.iter().map(|run| over_time(run, value)).collect(),
    };
    let panels = vec![
        course("Operations", "per second", |second| number(second.0)),
        course("Throughput", "MiB per second", |second| number(second.1) / 1_048_576.0),
        course("Failures", "per second", |second| number(second.2)),
    ];
    Ok([("latency.png", draw(vec![latency])?), ("time.png", draw(panels)?)])
}

/// A curve for each kind of operation.
fn latencies(run: &Run, several: bool) -> Vec<Curve> {
    let curve = |(operation, measured): (&String, &super::Measured)| Curve {
        name: if several { format!("{} {operation}", run.target) } else { operation.clone() },
        note: measured.latency_ms.map_or_else(String::new, |q| format!("p50 {:.2}", q.p50)),
        points: measured.distribution.iter().map(|(ms, share)| (*ms, 100.0 * share)).collect(),
    };
    run.operations.iter().map(curve).collect()
}

fn over_time(run: &Run, value: fn(&(u64, u64, u64)) -> f64) -> Curve {
    // The last second is not a whole one, unless it is the only one.
    let whole = &run.seconds[..run.seconds.len().saturating_sub(1).max(1).min(run.seconds.len())];
    let points: Vec<(f64, f64)> = (1u32..).map(f64::from).zip(whole.iter().map(value)).collect();
    let mean = points.iter().map(|(_, y)| y).sum::<f64>() / number(whole.len().max(1) as u64);
    Curve { name: run.target.clone(), note: format!("mean {mean:.1}"), points }
}

#[expect(clippy::cast_precision_loss, reason = "a picture")]
fn number(count: u64) -> f64 {
    count as f64
}
