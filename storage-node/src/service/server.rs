//! The node's side of the shard service.

use super::{MutualTls, endpoint_config};
use bytes::Bytes;
use coffer_core::shard::{ShardError, ShardStore};
use coffer_core::wire::{self, Request, Response};
use quinn::{RecvStream, SendStream};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// How long one request may take, from its first byte to the last of its answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of payload that all requests together may be receiving: bounds the memory of the service.
const RECEIVING: usize = 128 << 20;
/// Connections at a time: a cluster has few gateways.
const MAX_CONNECTIONS: usize = 64;

/// A shard service that is running.
#[derive(Debug)]
pub struct Service {
    endpoint: quinn::Endpoint,
    task: JoinHandle<()>,
    address: SocketAddr,
}

/// Serves `store` on a UDP address.
///
/// # Errors
/// When the address can't be bound or the certificates do not fit.
pub fn serve(
    store: Arc<dyn ShardStore>,
    tls: &MutualTls,
    listen: SocketAddr,
) -> io::Result<Service> {
    let config = tls.server().map_err(io::Error::other)?;
    let socket = UdpSocket::bind(listen)?;
    let runtime = Arc::new(quinn::TokioRuntime);
    let endpoint = quinn::Endpoint::new(endpoint_config(), Some(config), socket, runtime)?;
    let address = endpoint.local_addr()?;
    let server = Arc::new(Server { store, receiving: Semaphore::new(RECEIVING) });
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

/// What all requests share.
#[derive(Debug)]
struct Server {
    store: Arc<dyn ShardStore>,
    receiving: Semaphore,
}

async fn accept(endpoint: quinn::Endpoint, server: Arc<Server>) {
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

async fn serve_connection(connection: quinn::Connection, server: Arc<Server>) {
    tracing::debug!(peer = %connection.remote_address(), "connected");
    // The number of streams is bounded by the transport.
    while let Ok((send, receive)) = connection.accept_bi().await {
        let server = server.clone();
        tokio::spawn(async move {
            let answer = answer(send, receive, &server);
            match tokio::time::timeout(REQUEST_TIMEOUT, answer).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a request broke off"),
                Err(_) => tracing::warn!("a request took too long"),
            }
        });
    }
}

/// A request or its answer could not be brought across.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Read(#[from] quinn::ReadExactError),
    #[error(transparent)]
    Write(#[from] quinn::WriteError),
    #[error(transparent)]
    Wire(#[from] wire::WireError),
    #[error(transparent)]
    Closed(#[from] quinn::ClosedStream),
}

async fn answer(
    mut send: SendStream,
    mut receive: RecvStream,
    server: &Server,
) -> Result<(), Broken> {
    let outcome = match read_header(&mut receive).await? {
        Ok(request) => perform(request, &mut receive, server).await?,
        Err(error) => Err(ShardError::BadRequest(error.to_string())),
    };
    let (response, payload) = outcome.unwrap_or_else(|e| (Response::Failed(e), Bytes::new()));
    send.write_all(&wire::encode(&response)?).await?;
    send.write_chunk(payload).await?;
    send.finish()?;
    // Dropping the stream would be taken for a reset before all has arrived.
    let _ = send.stopped().await;
    Ok(())
}

async fn read_header(
    receive: &mut RecvStream,
) -> Result<Result<Request, wire::WireError>, quinn::ReadExactError> {
    let mut len = [0; 4];
    receive.read_exact(&mut len).await?;
    let len = match wire::check_len(u32::from_le_bytes(len)) {
        Ok(len) => len,
        Err(error) => return Ok(Err(error)),
    };
    let mut body = vec![0; len as usize];
    receive.read_exact(&mut body).await?;
    Ok(wire::decode(&body))
}

type Answer = Result<(Response, Bytes), ShardError>;

async fn perform(
    request: Request,
    receive: &mut RecvStream,
    server: &Server,
) -> Result<Answer, Broken> {
    let store = &server.store;
    let plain = |response| (response, Bytes::new());
    Ok(match request {
        Request::Put { key, info } => {
            // Before anything is allocated for it.
            if let Err(error) = info.check() {
                return Ok(Err(error));
            }
            let _room = server.receiving.acquire_many(info.len).await;
            let mut payload = vec![0; info.len as usize];
            receive.read_exact(&mut payload).await?;
            if receive.read(&mut [0]).await.is_ok_and(|more| more.is_some()) {
                let message = format!("more than the {} bytes that were announced", info.len);
                return Ok(Err(ShardError::BadRequest(message)));
            }
            store.put(key, info, payload.into()).await.map(|()| plain(Response::Done))
        }
        Request::Get { key, blocks } => store.get(key, blocks).await.map(|bytes| {
            let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            (Response::Blocks { len }, bytes)
        }),
        Request::Delete { keys } => store.delete(keys).await.map(|()| plain(Response::Done)),
        Request::List { after, limit } => {
            store.list(after, limit).await.map(|rows| plain(Response::Shards(rows)))
        }
        Request::Stat => store.stat().await.map(|stat| plain(Response::Stat(stat))),
    })
}
