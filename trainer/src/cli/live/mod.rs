//! The live view of a run: on a terminal, beside the run, until it ends.

mod ansi;
mod chart;
mod frame;
mod screen;
#[cfg(test)]
mod tests;
mod words;

use std::io::{self, Write, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use coffer_train::telemetry::{Level, Watch};
use ratatui_core::layout::Size;
use ratatui_core::terminal::Terminal;
use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::tcgetwinsize;

use ansi::Ansi;
use frame::{Keys, draw};
use screen::Screen;

pub(super) use screen::give_back;

/// Time between two frames.
const FRAME_EVERY: Duration = Duration::from_millis(200);
/// The size of a terminal that doesn't tell its own.
const SIZE: Size = Size { width: 80, height: 24 };

/// Shows a run until it's dropped; then the terminal is as it was.
#[derive(Debug)]
pub(super) struct LiveView {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl LiveView {
    /// Whether there is a terminal for it.
    pub(super) fn is_possible() -> bool {
        Screen::is_there()
    }

    /// Takes the terminal, and begins to show what is watched.
    pub(super) fn start(watch: Arc<Watch>) -> io::Result<Self> {
        let screen = Screen::take()?;
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let show = move || {
            if let Err(error) = show(screen, &watch, &seen) {
                watch.say(Level::Warning, &format!("the live view has ended: {error}"));
            }
        };
        let thread = std::thread::Builder::new().name("live view".to_owned()).spawn(show)?;
        Ok(Self { over, thread: Some(thread) })
    }
}

impl Drop for LiveView {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // If it panicked, the terminal was given back and the panic told.
            let _ = thread.join();
        }
    }
}

fn show(screen: Screen, watch: &Watch, over: &AtomicBool) -> io::Result<()> {
    let colors = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let Ok(mut terminal) = Terminal::new(Ansi::new(size(), colors));
    let mut keys = Keys::Free;
    while !over.load(Ordering::Relaxed) && screen.is_taken() {
        terminal.backend_mut().resize(size());
        let Ok(_) = watch.look(|state, now| {
            // A result that can't be an error.
            terminal.draw(|frame| draw(frame, state, now, keys)).map(drop)
        });
        let mut out = stderr().lock();
        out.write_all(terminal.backend_mut().take().as_bytes())?;
        out.flush()?;
        drop(out);
        match (screen.key(FRAME_EVERY)?, keys) {
            (Some(b'q' | b'Q'), Keys::Free) => {
                keys = Keys::Ending;
                interrupt()?;
            }
            (Some(b'q' | b'Q'), Keys::Ending) => break,
            _ => (),
        }
    }
    drop(screen);
    Ok(())
}

/// Ends the run as Ctrl-C does.
fn interrupt() -> io::Result<()> {
    Ok(kill_process(getpid(), Signal::INT)?)
}

fn size() -> Size {
    let found = tcgetwinsize(stderr()).ok();
    let found = found.map(|size| Size::new(size.ws_col, size.ws_row));
    found.filter(|size| size.width > 0 && size.height > 0).unwrap_or(SIZE)
}
