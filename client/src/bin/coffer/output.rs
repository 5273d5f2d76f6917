//! What the program prints: results on standard output, everything else on standard error.

use crate::args::Global;
use crate::bars::Bar;
use crate::exit::Failure;
use coffer_client::{Error, ErrorKind};
use serde_json::{Value, json};
use std::io::Write;

/// The printer of one run.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) json: bool,
    quiet: bool,
    /// Drawn on standard error, and out of the way while lines are printed.
    pub(crate) bar: Bar,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Self {
        let bar = Bar::new(!global.quiet && !global.no_progress);
        Self { json: global.json, quiet: global.quiet, bar }
    }

    /// A result the user asked for: always printed.
    pub(crate) fn result(
        &self,
        human: impl std::fmt::Display,
        json: impl FnOnce() -> Value,
    ) -> Result<(), Failure> {
        let line = if self.json { format!("{}\n", json()) } else { format!("{human}\n") };
        self.bar.suspend(|| write_stdout(line.as_bytes()))
    }

    /// Word of something done: not printed if the user wants quiet.
    pub(crate) fn done(
        &self,
        human: impl std::fmt::Display,
        json: impl FnOnce() -> Value,
    ) -> Result<(), Failure> {
        if self.quiet { Ok(()) } else { self.result(human, json) }
    }

    /// A remark for a person; never part of the result.
    pub(crate) fn remark(&self, text: impl std::fmt::Display) {
        if !self.quiet && !self.json {
            self.bar.suspend(|| eprintln_or_ignore(&text.to_string()));
        }
    }

    /// An error at one of many targets.
    pub(crate) fn error(&self, target: &str, error: &Error) {
        let hint = error.hint();
        let text = if self.json {
            json!({"error": {
                "target": target,
                "kind": kind_name(error.kind()),
                "code": match error { Error::S3(error) => Some(error.code.to_string()), _ => None },
                "message": error.to_string(),
                "hint": hint,
            }})
            .to_string()
        } else {
            // Errors about files name the file themselves.
            let place = match error {
                Error::File { .. } => String::new(),
                _ if target.is_empty() => String::new(),
                _ => format!("{target}: "),
            };
            let hint = hint.map_or_else(String::new, |hint| format!("\n  hint: {hint}"));
            format!("coffer: {place}{error}{hint}")
        };
        self.bar.suspend(|| eprintln_or_ignore(&text));
    }

    /// The failure that ends the program.
    pub(crate) fn failure(&self, failure: &Failure) {
        self.bar.finish();
        match failure {
            Failure::Failed { target, error } => self.error(target, error),
            Failure::Usage(text) => eprintln_or_ignore(&format!("coffer: {text}")),
            Failure::Partly { failed, .. } => {
                let objects = if *failed == 1 { "object" } else { "objects" };
                self.remark(format!("coffer: {failed} {objects} failed"));
            }
            Failure::Ailing { readable: true } => {
                self.remark("coffer: some objects lack shards; all can be read");
            }
            Failure::Ailing { readable: false } => {
                self.remark("coffer: some objects can't be read")
            }
            Failure::Incomplete { why } => {
                eprintln_or_ignore(&format!("coffer: the check broke off: {why}"));
            }
            Failure::NotCompared(failure) => self.failure(failure),
            Failure::Signal { .. } => self.remark("coffer: interrupted"),
            Failure::Damaged | Failure::Differs | Failure::NeedsOperator | Failure::ReaderGone => {}
        }
    }
}

/// Writes to standard output and flushes it.
pub(crate) fn write_stdout(data: &[u8]) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(data)
        .and_then(|()| stdout.flush())
        .map_err(|source| Error::Stream { action: "write the output", source }.into())
}

/// Errors about printing errors have nowhere to go.
fn eprintln_or_ignore(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "not_found",
        ErrorKind::AccessDenied => "access_denied",
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::Damaged => "damaged",
        ErrorKind::Conflict => "conflict",
        ErrorKind::Invalid => "invalid",
        ErrorKind::Cancelled => "cancelled",
        ErrorKind::Other => "other",
    }
}
