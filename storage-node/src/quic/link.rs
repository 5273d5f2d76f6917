//! A client's connection to one server.

use super::endpoint_config;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The pauses between attempts to connect to a server that does not answer.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A server can't be reached: nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreachable(pub String);

/// Makes connections: one UDP socket, one certificate.
#[derive(Debug, Clone)]
pub struct Dialer {
    endpoint: quinn::Endpoint,
}

/// The way to one server. Connects when it is first needed and again when it must.
#[derive(Debug)]
pub struct Link {
    endpoint: quinn::Endpoint,
    name: String,
    address: String,
    state: Mutex<State>,
}

/// The connection, or when to try again.
#[derive(Debug, Default)]
struct State {
    connection: Option<quinn::Connection>,
    retry_at: Option<Instant>,
    pause: Duration,
}

impl Dialer {
    /// A dialer on a socket of its own.
    ///
    /// # Errors
    /// When no socket can be had.
    pub fn new(config: quinn::ClientConfig) -> io::Result<Self> {
        // Where there is no IPv6, IPv4 must do.
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))
            .or_else(|_| UdpSocket::bind(("0.0.0.0", 0)))?;
        let runtime = Arc::new(quinn::TokioRuntime);
        let mut endpoint = quinn::Endpoint::new(endpoint_config(), None, socket, runtime)?;
        endpoint.set_default_client_config(config);
        Ok(Self { endpoint })
    }

    /// A link to the server at `address` (`host:port`) whose certificate names it `name`.
    pub fn link(&self, name: String, address: String) -> Link {
        Link { endpoint: self.endpoint.clone(), name, address, state: Mutex::default() }
    }
}

fn unreachable(error: impl std::fmt::Display) -> Unreachable {
    Unreachable(error.to_string())
}

impl Link {
    /// The server's address, as it was given.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The connection, made if there is none. While a server does not answer, callers fail at once
    /// but for one that tries from time to time.
    ///
    /// # Errors
    /// [`Unreachable`].
    pub async fn connection(&self) -> Result<quinn::Connection, Unreachable> {
        let mut state = self.state.lock().await;
        if let Some(connection) = &state.connection
            && connection.close_reason().is_none()
        {
            return Ok(connection.clone());
        }
        if state.retry_at.is_some_and(|at| Instant::now() < at) {
            return Err(unreachable("it did not answer just now"));
        }
        match tokio::time::timeout(CONNECT_TIMEOUT, self.connect()).await {
            Ok(Ok(connection)) => {
                *state = State { connection: Some(connection.clone()), ..State::default() };
                Ok(connection)
            }
            failed => {
                state.pause = (state.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                state.retry_at = Some(Instant::now() + state.pause);
                state.connection = None;
                Err(match failed {
                    Ok(Err(error)) => error,
                    _ => unreachable(format!(
                        "no connection within {} ms",
                        CONNECT_TIMEOUT.as_millis()
                    )),
                })
            }
        }
    }

    async fn connect(&self) -> Result<quinn::Connection, Unreachable> {
        let address = self.resolve().await?;
        let connecting = self.endpoint.connect(address, &self.name).map_err(unreachable)?;
        connecting.await.map_err(unreachable)
    }

    async fn resolve(&self) -> Result<SocketAddr, Unreachable> {
        let wide = self.endpoint.local_addr().is_ok_and(|a| a.is_ipv6());
        let mut addresses = tokio::net::lookup_host(&self.address).await.map_err(unreachable)?;
        let address = addresses
            .find(|a| wide || a.is_ipv4())
            .ok_or_else(|| unreachable(format!("{} has no usable address", self.address)))?;
        Ok(match address {
            // A socket for both takes IPv4 addresses in IPv6 form.
            SocketAddr::V4(v4) if wide => SocketAddr::from((v4.ip().to_ipv6_mapped(), v4.port())),
            other => other,
        })
    }
}
