//! What the program says while it works: a bar on a terminal, plain lines elsewhere; results on
//! standard output, everything else on standard error.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use coffer_train::telemetry::{Level, Watch};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

/// Time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(15);

/// How the program speaks. Clones speak with one voice.
#[derive(Clone)]
pub(super) struct Output {
    json: bool,
    quiet: bool,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The run that hears what is said, while there is one.
    watch: Option<Arc<Watch>>,
    /// What is held back, while something else has the terminal.
    held: Option<Vec<Line>>,
}

/// A line, by where it belongs.
enum Line {
    Result(String),
    Remark(String),
}

impl Line {
    /// Whoever doesn't listen any more doesn't stop the work.
    fn write(&self) {
        let _ = match self {
            Self::Result(text) => writeln!(stdout(), "{text}"),
            Self::Remark(text) => writeln!(stderr(), "{text}"),
        };
    }

    /// Whether it would be written to a terminal.
    fn is_shown(&self) -> bool {
        match self {
            Self::Result(_) => stdout().is_terminal(),
            Self::Remark(_) => stderr().is_terminal(),
        }
    }
}

impl Output {
    pub(super) fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet, state: Arc::default() }
    }

    /// A remark for whoever watches.
    pub(super) fn note(&self, text: &str) {
        self.say(Level::Note, text);
        if !self.quiet {
            self.write(Line::Remark(text.to_owned()));
        }
    }

    /// A warning; shown even if the program is to be quiet.
    pub(super) fn warn(&self, text: &str) {
        self.say(Level::Warning, text);
        self.write(Line::Remark(format!("warning: {text}")));
    }

    /// Warns if a server on `listen` can be reached from other machines: it lets anyone in.
    pub(super) fn warn_of_strangers(&self, listen: SocketAddr) {
        if !listen.ip().is_loopback() {
            self.warn("other machines can use this server, which has no access control");
        }
    }

    /// A result: as `text`, or as `value` in JSON.
    pub(super) fn result(&self, text: &str, value: &impl Serialize) {
        let line = if self.json { serde_json::to_string(value).ok() } else { None };
        self.write(Line::Result(line.unwrap_or_else(|| text.to_owned())));
    }

    /// Tells `watch`, too, what is said from now on.
    pub(super) fn tell(&self, watch: Option<Arc<Watch>>) {
        self.lock().watch = watch;
    }

    /// Holds back what would be written to the terminal.
    pub(super) fn hold(&self) {
        self.lock().held.get_or_insert_default();
    }

    /// Writes what was held back.
    pub(super) fn release(&self) {
        let held = self.lock().held.take();
        held.iter().flatten().for_each(Line::write);
    }

    fn say(&self, level: Level, text: &str) {
        let watch = self.lock().watch.clone();
        if let Some(watch) = watch {
            watch.say(level, text);
        }
    }

    fn write(&self, line: Line) {
        match self.lock().held.as_mut().filter(|_| line.is_shown()) {
            Some(held) => held.push(line),
            None => line.write(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Progress of work on `total` items, called `what`; with its pace, unless messages tell that.
    pub(super) fn progress(&self, what: &str, total: usize, pace: bool) -> Progress {
        let total = u64::try_from(total).unwrap_or(u64::MAX);
        let held = self.lock().held.is_some();
        let target = if self.quiet || held || !stderr().is_terminal() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let pace = if pace { "{per_sec} {eta} " } else { "" };
        let template = format!("{{prefix}} {{wide_bar}} {{pos}}/{{len}} {pace}{{msg}}");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        bar.set_prefix(what.to_owned());
        let lines = !self.quiet && !held && bar.is_hidden();
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
            // How much there will be is not known at the beginning of everything.
            let of = match self.bar.length().unwrap_or_default() {
                0 => String::new(),
                total => format!("/{total}"),
            };
            let _ = writeln!(stderr(), "{} {done}{of} {message}", self.bar.prefix());
        }
        self.bar.set_message(message);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
