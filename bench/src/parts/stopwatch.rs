//! Timing: the median of several runs.

use std::time::Instant;

/// Gibibytes per second at which `work` goes through `bytes`: the median of `runs` runs, each long
/// enough to be timed.
pub(super) fn rate(runs: usize, bytes: usize, mut work: impl FnMut()) -> f64 {
    work();
    let once = Instant::now();
    work();
    let repeat = (0.05 / once.elapsed().as_secs_f64()).ceil().clamp(1.0, 10_000.0);
    let mut rates: Vec<f64> = (0..runs.max(1))
        .map(|_| {
            let start = Instant::now();
            let mut done = 0.0;
            while done < repeat {
                work();
                done += 1.0;
            }
            #[allow(clippy::cast_precision_loss, reason = "a few MiB")]
            let total = bytes as f64 * done;
            total / start.elapsed().as_secs_f64() / f64::from(1u32 << 30)
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
