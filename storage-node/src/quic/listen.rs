//! A server's side of connections and streams.

use super::{HeaderError, endpoint_config};
use coffer_core::wire::WireError;
use quinn::{RecvStream, SendStream};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Connections at a time: a cluster has few gateways.
const MAX_CONNECTIONS: usize = 64;

/// Answers requests, one a stream.
pub trait Answer: Send + Sync + 'static {
    /// How long one request may take, from its first byte to the last of its answer.
    const LIMIT: Duration;

    /// Reads a request and writes its answer. Streams that are dropped before their end are reset.
    fn answer(
        &self,
        send: SendStream,
        receive: RecvStream,
    ) -> impl Future<Output = Result<(), Broken>> + Send;
}

/// A request or its answer could not be brought across.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The request broke off.
    #[error(transparent)]
    Read(#[from] quinn::ReadExactError),
    /// The answer broke off.
    #[error(transparent)]
    Write(#[from] quinn::WriteError),
    /// The request has no header, or the answer can have none.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The answer was ended already.
    #[error(transparent)]
    Closed(#[from] quinn::ClosedStream),
}

impl From<WireError> for Broken {
    fn from(error: WireError) -> Self {
        Self::Header(error.into())
    }
}

/// A service that is running.
#[derive(Debug)]
pub struct Service {
    endpoint: quinn::Endpoint,
    task: JoinHandle<()>,
    address: SocketAddr,
}

/// Serves on a UDP address.
///
/// # Errors
/// When the address can't be bound.
pub fn serve(
    server: Arc<impl Answer>,
    config: quinn::ServerConfig,
    listen: SocketAddr,
) -> io::Result<Service> {
    let socket = UdpSocket::bind(listen)?;
    let runtime = Arc::new(quinn::TokioRuntime);
    let endpoint = quinn::Endpoint::new(endpoint_config(), Some(config), socket, runtime)?;
    let address = endpoint.local_addr()?;
    let task = tokio::spawn(accept(endpoint.clone(), server));
    Ok(Service { endpoint, task, address })
}

impl Service {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Closes all connections and stops.
    pub async fn stop(self) {
        self.endpoint.close(0u32.into(), b"stopping");
        self.endpoint.wait_idle().await;
        self.task.abort();
    }
}

async fn accept(endpoint: quinn::Endpoint, server: Arc<impl Answer>) {
    while let Some(incoming) = endpoint.accept().await {
        if endpoint.open_connections() >= MAX_CONNECTIONS {
            incoming.refuse();
            continue;
        }
        let server = server.clone();
        tokio::spawn(async move {
            match incoming.await {
                Ok(connection) => serve_connection(connection, server).await,
                Err(error) => tracing::warn!(%error, "a connection was refused"),
            }
        });
    }
}

async fn serve_connection<A: Answer>(connection: quinn::Connection, server: Arc<A>) {
    tracing::debug!(peer = %connection.remote_address(), "connected");
    // The number of streams is bounded by the transport.
    while let Ok((send, receive)) = connection.accept_bi().await {
        let server = server.clone();
        tokio::spawn(async move {
            match tokio::time::timeout(A::LIMIT, server.answer(send, receive)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a request broke off"),
                Err(_) => tracing::warn!("a request took too long"),
            }
        });
    }
}
