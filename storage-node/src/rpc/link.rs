//! A client's connections to one server.

use super::call::{self, CallError, Failure, Limits};
use super::{Stream, stream};
use bytes::Bytes;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde::de::DeserializeOwned;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

/// How long connecting may take, with the handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The pauses between attempts to connect to a server that does not answer. Short: one that is being
/// restarted refuses at once, again and again, and should be found soon when it is back.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// Requests at a time to one server, and so connections.
const MAX_CONNECTIONS: usize = 128;
/// Connections that are made at a time: a burst of requests should not begin with as many handshakes.
const MAX_CONNECTING: usize = 8;
/// How long connections are kept that nobody uses. Servers keep them for longer.
const KEPT: Duration = Duration::from_secs(10);

/// Makes connections that show one certificate.
#[derive(Debug, Clone)]
pub struct Dialer {
    config: Arc<ClientConfig>,
}

/// The way to one server. Connects when it is first needed and again when it must.
#[derive(Debug)]
pub struct Link {
    config: Arc<ClientConfig>,
    name: String,
    address: String,
    connections: Semaphore,
    connecting: Semaphore,
    trying: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

/// Connections that nobody uses, the oldest first, and when to try again.
#[derive(Debug, Default)]
struct State {
    idle: Vec<(Stream, Instant)>,
    retry_at: Option<Instant>,
    pause: Duration,
}

impl Dialer {
    /// A dialer with a configuration of [`super::MutualTls::client`].
    pub fn new(config: Arc<ClientConfig>) -> Self {
        Self { config }
    }

    /// A link to the server at `address` (`host:port`) whose certificate names it `name`.
    pub fn link(&self, name: String, address: String) -> Link {
        Link {
            config: self.config.clone(),
            name,
            address,
            connections: Semaphore::new(MAX_CONNECTIONS),
            connecting: Semaphore::new(MAX_CONNECTING),
            trying: tokio::sync::Mutex::default(),
            state: Mutex::default(),
        }
    }
}

impl Link {
    /// The server's address, as it was given.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends a request ([`super::frame::encode`], and its payload) and waits for the answer. `again`
    /// says that it does no harm if it arrives twice: that happens only when the server has closed a
    /// connection that was to be used once more.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn call<T: DeserializeOwned>(
        &self,
        request: Vec<Bytes>,
        limits: Limits,
        again: bool,
        within: Duration,
    ) -> Result<(T, Bytes), CallError> {
        let mut sent = false;
        let calling = self.call_on_any(request, limits, again, &mut sent);
        match tokio::time::timeout(within, calling).await {
            Ok(outcome) => outcome,
            Err(_) => Err(CallError::Late { within, sent }),
        }
    }

    async fn call_on_any<T: DeserializeOwned>(
        &self,
        request: Vec<Bytes>,
        limits: Limits,
        again: bool,
        sent: &mut bool,
    ) -> Result<(T, Bytes), CallError> {
        // Never closed: all that can happen is that it waits.
        let _one_of = self.connections.acquire().await;
        let (mut stream, mut used) = match self.take_idle() {
            Some(stream) => (stream, true),
            None => self.connect_or_take().await.map_err(CallError::NotSent)?,
        };
        loop {
            match call::exchange(&mut stream, request.clone(), limits, sent).await {
                Ok((header, payload, whole)) => {
                    if whole {
                        self.keep(stream);
                    }
                    return Ok((header, payload));
                }
                Err(Failure::Closed(_)) if used && (again || !*sent) => {
                    (*sent, used) = (false, false);
                    stream = self.connect().await.map_err(CallError::NotSent)?;
                }
                Err(failure) if *sent => return Err(CallError::NoAnswer(failure.to_string())),
                Err(failure) => return Err(CallError::NotSent(failure.to_string())),
            }
        }
    }

    /// A new connection, or one that has become free while this one waited for its turn; and whether it
    /// was used before.
    async fn connect_or_take(&self) -> Result<(Stream, bool), String> {
        let _one_of = self.connecting.acquire().await;
        match self.take_idle() {
            Some(stream) => Ok((stream, true)),
            None => Ok((self.connect().await?, false)),
        }
    }

    /// Connects. While a server does not answer, callers fail at once but for one that tries from
    /// time to time.
    ///
    /// # Errors
    /// Why it can't be reached.
    pub async fn connect(&self) -> Result<Stream, String> {
        // While it is not known whether the server is back, one tries and the others wait for it.
        let _trying = match self.may_try()? {
            true => None,
            false => {
                let trying = self.trying.lock().await;
                self.may_try()?;
                Some(trying)
            }
        };
        let outcome = match tokio::time::timeout(CONNECT_TIMEOUT, self.dial()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("no connection within {} ms", CONNECT_TIMEOUT.as_millis())),
        };
        let mut state = self.state();
        match &outcome {
            Ok(_) => (state.retry_at, state.pause) = (None, Duration::ZERO),
            Err(_) => {
                state.pause = (state.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                state.retry_at = Some(Instant::now() + state.pause);
            }
        }
        outcome
    }

    /// Whether the server is known for no failure; an error while it is not to be tried again yet.
    fn may_try(&self) -> Result<bool, String> {
        match self.state().retry_at {
            Some(at) if Instant::now() < at => Err("it did not answer just now".to_owned()),
            retry_at => Ok(retry_at.is_none()),
        }
    }

    async fn dial(&self) -> Result<Stream, String> {
        let name = ServerName::try_from(self.name.clone()).map_err(|e| e.to_string())?;
        let tcp = TcpStream::connect(&self.address).await.map_err(|e| e.to_string())?;
        let tcp = stream::prepare(tcp).map_err(|e| e.to_string())?;
        let connector = TlsConnector::from(self.config.clone());
        let mut tls = connector.connect(name, tcp).await.map_err(|e| e.to_string())?;
        tls.get_mut().1.set_buffer_limit(Some(stream::WRITE));
        Stream::new(tls.into()).map_err(|e| e.to_string())
    }

    /// The connection that was used last: those that are not needed become old.
    fn take_idle(&self) -> Option<Stream> {
        let mut state = self.state();
        while let Some((mut stream, since)) = state.idle.pop() {
            if since.elapsed() < KEPT && stream.is_quiet() {
                return Some(stream);
            }
        }
        None
    }

    fn keep(&self, stream: Stream) {
        let mut state = self.state();
        let old = state.idle.iter().take_while(|(_, since)| since.elapsed() >= KEPT).count();
        state.idle.drain(..old);
        state.idle.push((stream, Instant::now()));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
