//! What the program says while it works: a bar on a terminal, plain lines elsewhere; results on
//! standard output, everything else on standard error.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

/// Time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(15);

/// How the program speaks.
pub(super) struct Output {
    json: bool,
    quiet: bool,
}

impl Output {
    pub(super) fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// A remark for whoever watches.
    pub(super) fn note(&self, text: &str) {
        if !self.quiet {
            // Whoever doesn't listen any more doesn't stop the work.
            let _ = writeln!(stderr(), "{text}");
        }
    }

    /// A warning; shown even if the program is to be quiet.
    pub(super) fn warn(&self, text: &str) {
        let _ = writeln!(stderr(), "warning: {text}");
    }

    /// A result: as `text`, or as `value` in JSON.
    pub(super) fn result(&self, text: &str, value: &impl Serialize) {
        let line = if self.json { serde_json::to_string(value).ok() } else { None };
        let _ = writeln!(stdout(), "{}", line.as_deref().unwrap_or(text));
    }

    /// Progress of work on `total` items, called `what`.
    pub(super) fn progress(&self, what: &str, total: usize) -> Progress {
        let total = u64::try_from(total).unwrap_or(u64::MAX);
        let target = match (self.quiet, stderr().is_terminal()) {
            (false, true) => ProgressDrawTarget::stderr(),
            _ => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let template = "{prefix} {wide_bar} {pos}/{len} {per_sec} {eta} {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(what.to_owned());
        let lines = !self.quiet && bar.is_hidden();
        Progress { bar, lines: lines.then(Instant::now) }
    }
}

/// A bar, or lines every now and then.
pub(super) struct Progress {
    bar: ProgressBar,
    /// When the last line was written, if lines are wanted.
    lines: Option<Instant>,
}

impl Progress {
    /// Tells that `done` items are done.
    pub(super) fn at(&mut self, done: usize, message: String) {
        self.bar.set_position(u64::try_from(done).unwrap_or(u64::MAX));
        if let Some(last) = self.lines.as_mut().filter(|last| last.elapsed() >= LINE_EVERY) {
            *last = Instant::now();
            let total = self.bar.length().unwrap_or_default();
            let _ = writeln!(stderr(), "{} {done}/{total} {message}", self.bar.prefix());
        }
        self.bar.set_message(message);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
