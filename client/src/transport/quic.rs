//! HTTP/3 over one QUIC connection, made when first needed and again when it is lost.

use super::dial::resolve;
use super::error::{Carrier, TransportError};
use super::exchange;
use super::stall::StallLimit;
use crate::endpoint::Endpoint;
use bytes::Bytes;
use h3_quinn::OpenStreams;
use object_store::client::{HttpRequest, HttpResponse};
use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig};
use socket2::SockRef;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How much of one response may be under way before the reader takes it.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
/// The same for all responses of the connection together; bounds the memory they take.
const CONNECTION_WINDOW: u32 = 32 * 1024 * 1024;
/// Unacknowledged request bytes kept for retransmission.
const SEND_WINDOW: u64 = 16 * 1024 * 1024;
/// The largest head of an answer, in bytes.
const HEADER_LIMIT: u64 = 64 * 1024;
/// The largest UDP payload to send or take; discovery finds out what the path carries. Quinn hands the
/// kernel ten packets at a time, which drops all of them if they exceed 64 KiB.
const LARGEST_PACKET: u16 = 6500;
/// What the kernel is to keep of packets that come while nobody can take them, in bytes: what does not
/// fit is lost, and slows the connection down.
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;
const KEEP_ALIVE: Duration = Duration::from_secs(4);
/// A server that is silent for so long, keep-alives unanswered, is gone.
const IDLE_LIMIT: Duration = Duration::from_secs(15);
/// A request tries this many connections before it gives up: the pooled one may have died unseen.
const CONNECTIONS_PER_REQUEST: usize = 2;
/// How long closing may take at the end.
const CLOSE_LIMIT: Duration = Duration::from_millis(250);

/// Opens request streams of one connection.
pub(super) type Requests = h3::client::SendRequest<OpenStreams, Bytes>;

/// Sends requests over HTTP/3.
pub(super) struct QuicClient {
    config: quinn::ClientConfig,
    endpoint: Endpoint,
    ca_file: Option<PathBuf>,
    connect_limit: Duration,
    stall: StallLimit,
    /// Held while connecting, so that requests that start together share one connection.
    pool: Mutex<Pool>,
}

#[derive(Default)]
struct Pool {
    connection: Option<Connection>,
    /// The last attempt that failed, and when.
    failure: Option<(Instant, TransportError)>,
}

#[derive(Clone)]
struct Connection {
    /// The socket; closing it needs its driver to run for a moment.
    socket: quinn::Endpoint,
    quic: quinn::Connection,
    requests: Requests,
}

/// A socket for connections by [`quic_config`]. Must be called within a Tokio runtime.
///
/// # Errors
/// When `local` can't be bound.
pub fn quic_socket(local: SocketAddr) -> std::io::Result<quinn::Endpoint> {
    let socket = std::net::UdpSocket::bind(local)?;
    let buffers = SockRef::from(&socket);
    // The kernel gives what it is set to give at most.
    let _ = buffers.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = buffers.set_send_buffer_size(SOCKET_BUFFER);
    let mut config = quinn::EndpointConfig::default();
    config.max_udp_payload_size(LARGEST_PACKET).map_err(std::io::Error::other)?;
    quinn::Endpoint::new(config, None, socket, Arc::new(quinn::TokioRuntime))
}

/// How HTTP/3 is spoken: windows, packets, patience. `tls` as for TCP; its application protocols are
/// left out.
///
/// # Errors
/// When `tls` has no cipher that QUIC begins with.
pub fn quic_config(
    tls: &rustls::ClientConfig,
) -> Result<quinn::ClientConfig, NoInitialCipherSuite> {
    let mut tls = tls.clone();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let crypto = QuicClientConfig::try_from(tls)?;
    let mut transport = quinn::TransportConfig::default();
    let mut discovery = quinn::MtuDiscoveryConfig::default();
    discovery.upper_bound(LARGEST_PACKET);
    transport
        .max_idle_timeout(IDLE_LIMIT.try_into().ok())
        .keep_alive_interval(Some(KEEP_ALIVE))
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(SEND_WINDOW)
        .mtu_discovery_config(Some(discovery));
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

impl QuicClient {
    /// `tls` as for TCP.
    pub(super) fn new(
        endpoint: Endpoint,
        tls: &rustls::ClientConfig,
        ca_file: Option<PathBuf>,
        connect_limit: Duration,
        stall: StallLimit,
    ) -> Result<Self, TransportError> {
        let config = quic_config(tls).map_err(|error| TransportError::Connect {
            endpoint: endpoint.clone(),
            carrier: Carrier::Http3,
            reason: error.to_string(),
        })?;
        let pool = Mutex::default();
        Ok(Self { config, endpoint, ca_file, connect_limit, stall, pool })
    }

    /// Sends one request and waits for the head of its answer.
    pub(super) async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        let mut attempt = 1;
        loop {
            let connection = self.connection().await?;
            let sent =
                exchange::send(connection.requests.clone(), request.clone(), &self.stall).await;
            match sent {
                Err(error) if error.never_sent() => {
                    self.discard(&connection).await;
                    if attempt >= CONNECTIONS_PER_REQUEST {
                        return Err(error);
                    }
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    /// The pooled connection, or a new one.
    async fn connection(&self) -> Result<Connection, TransportError> {
        let asked = Instant::now();
        let mut pool = self.pool.lock().await;
        if let Some(connection) = &pool.connection
            && connection.quic.close_reason().is_none()
        {
            return Ok(connection.clone());
        }
        // Who waited while another tried in vain shares that result, and does not wait again.
        if let Some((at, error)) = &pool.failure
            && *at >= asked
        {
            return Err(error.clone());
        }
        let timeout = TransportError::ConnectTimeout {
            endpoint: self.endpoint.clone(),
            carrier: Carrier::Http3,
            limit: self.connect_limit,
        };
        let connected = tokio::time::timeout(self.connect_limit, self.connect()).await;
        let connected = connected.unwrap_or(Err(timeout));
        *pool = match &connected {
            Ok(connection) => Pool { connection: Some(connection.clone()), failure: None },
            Err(error) => Pool { connection: None, failure: Some((Instant::now(), error.clone())) },
        };
        connected
    }

    async fn connect(&self) -> Result<Connection, TransportError> {
        let mut last = None;
        for address in resolve(&self.endpoint).await? {
            match self.connect_to(address).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| self.failed("no address")))
    }

    async fn connect_to(&self, address: SocketAddr) -> Result<Connection, TransportError> {
        let local: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = quic_socket(local).map_err(|error| self.failed(error))?;
        let quic = socket
            .connect_with(self.config.clone(), address, self.endpoint.host())
            .map_err(|error| self.failed(error))?
            .await
            .map_err(|error| self.handshake(&error))?;
        let (mut driver, requests) = h3::client::builder()
            .max_field_section_size(HEADER_LIMIT)
            .build::<_, _, Bytes>(h3_quinn::Connection::new(quic.clone()))
            .await
            .map_err(|error| self.failed(error))?;
        // Ends by itself when the connection closes or its last user is gone.
        tokio::spawn(async move {
            let end = driver.wait_idle().await;
            tracing::debug!("HTTP/3 connection ended: {end}");
        });
        Ok(Connection { socket, quic, requests })
    }

    /// Forgets `connection` unless it has been replaced already.
    async fn discard(&self, connection: &Connection) {
        let mut pool = self.pool.lock().await;
        let id = connection.quic.stable_id();
        pool.connection.take_if(|pooled| pooled.quic.stable_id() == id);
    }

    /// Tells the server that we leave, so that it need not wait for our silence to mean it.
    pub(super) async fn close(&self) {
        if let Some(connection) = self.pool.lock().await.connection.take() {
            let code = u32::try_from(h3::error::Code::H3_NO_ERROR.value()).unwrap_or_default();
            connection.quic.close(code.into(), b"done");
            let _ = tokio::time::timeout(CLOSE_LIMIT, connection.socket.wait_idle()).await;
        }
    }

    fn failed(&self, reason: impl ToString) -> TransportError {
        TransportError::Connect {
            endpoint: self.endpoint.clone(),
            carrier: Carrier::Http3,
            reason: reason.to_string(),
        }
    }

    /// Tells a refused certificate from a handshake that failed otherwise.
    fn handshake(&self, error: &quinn::ConnectionError) -> TransportError {
        match error {
            quinn::ConnectionError::TransportError(error)
                if error.reason.contains("certificate") =>
            {
                TransportError::Untrusted {
                    endpoint: self.endpoint.clone(),
                    reason: error.reason.clone(),
                    ca_file: self.ca_file.clone(),
                }
            }
            other => self.failed(other),
        }
    }
}
