//! What all commands share: the client, the printer, and the wish to stop.

use crate::args::Global;
use crate::exit::Failure;
use crate::output::Output;
use coffer_client::place::Opener;
use coffer_client::{Client, ClientOptions, Error, Profile, ProfileOptions, RetryPolicy};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// One run of the program; `C` is what reaches the store.
pub(crate) struct Session<'a, C = Client> {
    pub(crate) client: C,
    pub(crate) output: &'a Output,
    /// Cancelled by the first SIGINT or SIGTERM; the second ends the program at once.
    pub(crate) cancel: CancellationToken,
    signal: Arc<AtomicU8>,
}

/// One run of a command whose datasets or checkpoints may also be local.
pub(crate) type Places<'a> = Session<'a, Opener>;

impl<'a> Session<'a> {
    /// Resolves the profile; `retry` says how patient the command is.
    pub(crate) fn start(
        global: &Global,
        output: &'a Output,
        retry: RetryPolicy,
    ) -> Result<Self, Failure> {
        let profile = Profile::load(&profile_options(global)).map_err(Error::from)?;
        tracing::debug!("profile {} at {}", profile.name, profile.endpoint);
        let client =
            Client::with_options(profile, ClientOptions { retry, ..ClientOptions::default() })?;
        Self::over(client, output)
    }
}

impl<'a> Session<'a, Opener> {
    /// For places, which may be local: a profile is looked for when one in a bucket is opened.
    pub(crate) fn for_places(
        global: &Global,
        output: &'a Output,
        retry: RetryPolicy,
    ) -> Result<Self, Failure> {
        Self::over(Opener::new(profile_options(global)).with_retry(retry), output)
    }
}

impl<'a, C> Session<'a, C> {
    fn over(client: C, output: &'a Output) -> Result<Self, Failure> {
        let (cancel, signal) = (CancellationToken::new(), Arc::new(AtomicU8::new(0)));
        listen(cancel.clone(), Arc::clone(&signal))
            .map_err(|source| Error::Stream { action: "listen for signals", source })?;
        Ok(Self { client, output, cancel, signal })
    }

    /// The failure that a signal means, if there was one.
    pub(crate) fn interrupted(&self) -> Option<Failure> {
        match self.signal.load(Ordering::Relaxed) {
            0 => None,
            number => Some(Failure::Signal { number }),
        }
    }

    /// Runs `work` until it is done or a signal comes.
    pub(crate) async fn until_signal<T, E: From<Error>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        tokio::select! {
            result = work => result,
            () = self.cancel.cancelled() => Err(Error::Cancelled.into()),
        }
    }
}

fn profile_options(global: &Global) -> ProfileOptions {
    ProfileOptions {
        config: global.config.clone(),
        profile: global.profile.clone(),
        endpoint: global.endpoint.clone(),
    }
}

fn listen(cancel: CancellationToken, seen: Arc<AtomicU8>) -> std::io::Result<()> {
    const INTERRUPT: u8 = 2;
    const TERMINATE: u8 = 15;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        loop {
            let number = tokio::select! {
                _ = interrupt.recv() => INTERRUPT,
                _ = terminate.recv() => TERMINATE,
            };
            if seen.swap(number, Ordering::Relaxed) != 0 {
                std::process::exit(128 + i32::from(number));
            }
            cancel.cancel();
        }
    });
    Ok(())
}
