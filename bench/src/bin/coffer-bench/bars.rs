//! Progress on standard error, if that is a terminal.

use coffer_bench::load::Live;
use coffer_bench::session::Watch;
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(250);

/// One line that tells what goes on.
#[derive(Debug)]
pub(crate) struct Bars {
    bar: ProgressBar,
}

impl Bars {
    pub(crate) fn new(wanted: bool) -> Self {
        let visible = wanted && std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(
            None,
            if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() },
        );
        if let Ok(style) = ProgressStyle::with_template("{msg}  {elapsed}") {
            bar.set_style(style);
        }
        Self { bar }
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Tells what goes on from now on.
    pub(crate) fn begin(&self, message: String) {
        self.bar.reset_elapsed();
        self.bar.set_message(message);
    }
}

impl Watch for Bars {
    fn preparing(&self, target: &str, objects: u64) {
        self.bar.set_length(objects);
        self.bar.set_position(0);
        self.begin(format!("{target}: storing {objects} objects"));
    }

    fn prepared(&self, objects: u64) {
        self.bar.inc(objects);
    }

    fn running(&self, target: &str, round: usize, live: Arc<Live>) {
        let name = format!("{target}, run {round}");
        self.begin(name.clone());
        if self.bar.is_hidden() {
            return;
        }
        let bar = self.bar.downgrade();
        // It ends with the run, which holds the figures.
        let (live, begun) = (Arc::downgrade(&live), Instant::now());
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(TICK);
            while let (Some(bar), Some(live)) = (bar.upgrade(), live.upgrade()) {
                #[expect(clippy::cast_precision_loss, reason = "figures for people")]
                let per_second = |count: u64| count as f64 / begun.elapsed().as_secs_f64().max(0.1);
                let operations = live.operations.load(Ordering::Relaxed);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a positive rate"
                )]
                let bytes = HumanBytes(per_second(live.bytes.load(Ordering::Relaxed)) as u64);
                bar.set_message(format!(
                    "{name}: {:.0} operations/s, {bytes}/s, {} failed",
                    per_second(operations),
                    live.errors.load(Ordering::Relaxed),
                ));
                drop((bar, live));
                ticks.tick().await;
            }
        });
    }

    fn cleaning(&self, target: &str) {
        self.begin(format!("{target}: deleting what was stored"));
    }
}
