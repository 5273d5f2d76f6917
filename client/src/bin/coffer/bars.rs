//! The progress bar: bytes and objects, or a share of all, on standard error, if that is a terminal.

use coffer_client::transfer::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const STYLE: &str =
    "{bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {msg}  {elapsed} (left {eta})";

const SHARE_STYLE: &str = "{bar:30} {percent}%  {msg}  {elapsed}";
/// The steps of a share of all.
const STEPS: f64 = 1000.0;

/// A bar that is drawn once there is something to do.
#[derive(Debug, Clone)]
pub(crate) struct Bar {
    bar: ProgressBar,
    visible: bool,
    objects: Arc<Objects>,
}

#[derive(Debug, Default)]
struct Objects {
    found: AtomicU64,
    done: AtomicU64,
}

impl Bar {
    pub(crate) fn new(wanted: bool) -> Self {
        let visible = wanted && std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template(STYLE) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar, visible, objects: Arc::default() }
    }

    /// More work is known of.
    pub(crate) fn found(&self, objects: u64, bytes: u64) {
        if self.visible && self.objects.found.fetch_add(objects, Ordering::Relaxed) == 0 {
            self.bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
            self.bar.enable_steady_tick(Duration::from_millis(200));
        }
        self.bar.inc_length(bytes);
        self.describe();
    }

    /// An object is done, well or not.
    pub(crate) fn object_done(&self) {
        self.objects.done.fetch_add(1, Ordering::Relaxed);
        self.describe();
    }

    fn describe(&self) {
        let done = self.objects.done.load(Ordering::Relaxed);
        let found = self.objects.found.load(Ordering::Relaxed);
        self.bar.set_message(format!("{done}/{found} objects"));
    }

    /// So much of all is done, from 0 to 1.
    // From 0 to 1000, whatever comes.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(crate) fn share(&self, done: f64, message: String) {
        if self.visible && self.objects.found.swap(1, Ordering::Relaxed) == 0 {
            if let Ok(style) = ProgressStyle::with_template(SHARE_STYLE) {
                self.bar.set_style(style.progress_chars("=> "));
            }
            self.bar.set_length(STEPS as u64);
            self.bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
            self.bar.enable_steady_tick(Duration::from_millis(200));
        }
        self.bar.set_position((done.clamp(0.0, 1.0) * STEPS) as u64);
        self.bar.set_message(message);
    }

    /// Takes the bar away while `print` prints.
    pub(crate) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Bar {
    fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
    }
}
