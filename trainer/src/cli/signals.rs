//! Signals that end a run: the first after the step, with a checkpoint; the second at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::Context;
use coffer_train::checkpoint::CheckpointId;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Session, live};

/// A signal that asks the program to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    Interrupt,
    Terminate,
}

impl Signal {
    /// The exit code that tells of it: as shells do, 128 and its number.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// A run was ended by a signal, and is saved.
#[derive(Debug, thiserror::Error)]
#[error(
    "stopped by {}{}: the same command goes on from there",
    match signal { Signal::Interrupt => "SIGINT", Signal::Terminate => "SIGTERM" },
    checkpoint.map_or(" before anything was learned".to_owned(), |id| format!("; {id} is safe"))
)]
pub(super) struct Stopped {
    pub(super) signal: Signal,
    /// The last checkpoint, if there is any.
    pub(super) checkpoint: Option<CheckpointId>,
}

/// The signals from now on.
pub(super) struct Signals {
    /// Is cancelled by the first.
    pub(super) stop: CancellationToken,
    code: Arc<AtomicU8>,
}

impl Signals {
    /// Watches for signals, as long as `session` is there.
    pub(super) fn watch(session: &Session) -> anyhow::Result<Self> {
        let _entered = session.runtime.enter();
        let hear = |kind| signal(kind).context("can't listen for signals");
        let mut interrupt = hear(SignalKind::interrupt())?;
        let mut terminate = hear(SignalKind::terminate())?;
        let stop = CancellationToken::new();
        let code = Arc::new(AtomicU8::new(Signal::Interrupt.code()));
        let (stopping, heard) = (stop.clone(), Arc::clone(&code));
        let output = session.output.clone();
        session.runtime.spawn(async move {
            let mut next = async || {
                tokio::select! {
                    _ = interrupt.recv() => Signal::Interrupt,
                    _ = terminate.recv() => Signal::Terminate,
                }
            };
            heard.store(next().await.code(), Ordering::Relaxed);
            stopping.cancel();
            output.note("ending after this step, with a checkpoint; once more: at once");
            let code = next().await.code();
            live::give_back();
            std::process::exit(code.into());
        });
        Ok(Self { stop, code })
    }

    /// The signal that came first.
    pub(super) fn first(&self) -> Signal {
        match self.code.load(Ordering::Relaxed) {
            code if code == Signal::Terminate.code() => Signal::Terminate,
            _ => Signal::Interrupt,
        }
    }
}
