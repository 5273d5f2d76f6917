//! What the libraries beneath have to say, in the program's own voice: so that it neither tears the
//! live view nor is missing from it.

use std::io::{self, Write};

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::progress::Output;

/// Lets warnings of the client library through; `COFFER_LOG` lets through what it names.
pub(super) fn start(output: &Output) {
    let filter = EnvFilter::try_from_env("COFFER_LOG")
        .unwrap_or_else(|_| EnvFilter::new("coffer_client=warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Voice(output.clone()))
        .with_ansi(false)
        .with_level(false)
        .with_target(false)
        .without_time()
        .init();
}

struct Voice(Output);

impl<'a> MakeWriter<'a> for Voice {
    type Writer = Words<'a>;

    fn make_writer(&'a self) -> Words<'a> {
        Words { output: &self.0, warning: true }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Words<'a> {
        Words { output: &self.0, warning: *meta.level() <= Level::WARN }
    }
}

/// Takes one event, which is written at once.
struct Words<'a> {
    output: &'a Output,
    warning: bool,
}

impl Write for Words<'_> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let text = text.trim_end();
        if self.warning {
            self.output.warn(text);
        } else {
            self.output.note(text);
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
