//! A server's connections.

use super::frame::PREFIX;
use super::{Broken, Exchange, Stream, stream};
use rustls::ServerConfig;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// Connections at a time: a cluster has few gateways, and each has some to each server.
const MAX_CONNECTIONS: usize = 1024;
/// Handshakes at a time.
const MAX_HANDSHAKES: usize = 64;
/// How long a handshake may take, with waiting for its turn: clients wait no longer.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a connection may be idle. Clients let go of theirs sooner.
const IDLE: Duration = Duration::from_secs(30);
/// The pause after a connection could not be taken, for lack of file descriptors as it may be.
const PAUSE: Duration = Duration::from_millis(50);

/// Answers requests, one at a time on each connection.
pub trait Answer: Send + Sync + 'static {
    /// How long one request may take, from its first byte to the last of its answer.
    const LIMIT: Duration;

    /// Reads a request and writes its answer. If it fails, the connection is closed.
    fn answer(&self, exchange: Exchange<'_>) -> impl Future<Output = Result<(), Broken>> + Send;
}

/// A service that is running.
#[derive(Debug)]
pub struct Service {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    address: SocketAddr,
}

/// Serves on a TCP address. Must be called within a Tokio runtime.
///
/// # Errors
/// When the address can't be bound.
pub fn serve(
    server: Arc<impl Answer>,
    config: Arc<ServerConfig>,
    listen: SocketAddr,
) -> io::Result<Service> {
    let listener = StdListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let address = listener.local_addr()?;
    let (stop, stopping) = watch::channel(false);
    let task = tokio::spawn(accept(listener, config.into(), server, stopping));
    Ok(Service { stop, task, address })
}

impl Service {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Closes all connections and stops.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // It has been stopped, be it by a panic.
        let _ = self.task.await;
    }
}

/// Returns when the service is to stop. One that was only let go of goes on.
async fn stopped(mut stopping: watch::Receiver<bool>) {
    if stopping.wait_for(|stop| *stop).await.is_err() {
        std::future::pending().await
    }
}

async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    server: Arc<impl Answer>,
    stopping: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = stopped(stopping.clone()) => break,
        };
        let (tcp, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(held) = room.clone().try_acquire_owned() else {
            tracing::warn!(%peer, "a connection was refused: there are too many");
            continue;
        };
        let (tls, server, handshakes) = (tls.clone(), server.clone(), handshakes.clone());
        let stopping = stopping.clone();
        connections.spawn(async move {
            let serving = async {
                let shaking = shake_hands(tls, tcp, &handshakes);
                match tokio::time::timeout(HANDSHAKE_TIMEOUT, shaking).await {
                    Ok(Ok(stream)) => serve_connection(stream, peer, server, held).await,
                    Ok(Err(error)) => tracing::warn!(%peer, %error, "a connection was refused"),
                    Err(_) => tracing::warn!(%peer, "a connection was refused: it took too long"),
                }
            };
            tokio::select! {
                () = serving => {}
                () = stopped(stopping) => {}
            }
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn shake_hands(
    tls: TlsAcceptor,
    tcp: TcpStream,
    handshakes: &Semaphore,
) -> io::Result<Stream> {
    let tcp = stream::prepare(tcp)?;
    // Never closed: all that can happen is that it waits.
    let _one_of = handshakes.acquire().await;
    let mut tls = tls.accept(tcp).await?;
    tls.get_mut().1.set_buffer_limit(Some(stream::WRITE));
    Stream::new(tls.into())
}

async fn serve_connection<A: Answer>(
    mut stream: Stream,
    peer: SocketAddr,
    server: Arc<A>,
    _held: OwnedSemaphorePermit,
) {
    tracing::debug!(%peer, "connected");
    while let Ok(Some(prefix)) = tokio::time::timeout(IDLE, next(&mut stream)).await {
        let exchange = Exchange::new(&mut stream, prefix);
        match tokio::time::timeout(A::LIMIT, server.answer(exchange)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return tracing::debug!(%peer, %error, "a request broke off"),
            Err(_) => return tracing::warn!(%peer, "a request took too long"),
        }
    }
}

/// The beginning of the next request; none if there is none.
async fn next(stream: &mut Stream) -> Option<[u8; PREFIX]> {
    let (mut prefix, mut filled) = ([0; PREFIX], 0);
    while filled < PREFIX {
        let rest = prefix.get_mut(filled..)?;
        match std::future::poll_fn(|cx| stream.poll_read(cx, rest)).await {
            Ok(read) if read > 0 => filled += read,
            _ => return None,
        }
    }
    Some(prefix)
}
