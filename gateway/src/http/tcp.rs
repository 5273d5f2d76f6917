//! HTTP/1.1 and HTTP/2 over TLS.

use super::front::Front;
use super::tls::ServerTls;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use s3s::Body;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections at a time; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 4096;
/// How long a handshake, or the sending of a request's headers, may take.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a peer may be silent before it is asked for a sign of life, and then to give it.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// The most bytes of headers (S3 allows 8 KiB, of which 2 KiB are metadata).
const MAX_HEADERS: usize = 32 * 1024;
/// Flow control windows of HTTP/2, in bytes; enough for fast uploads on one connection.
const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
const MAX_STREAMS: u32 = 256;

/// Accepts and serves connections.
pub(super) struct Connections {
    front: Arc<Front>,
    tls: TlsAcceptor,
    http: Builder<TokioExecutor>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Connections {
    pub(super) fn new(
        front: Arc<Front>,
        tls: &ServerTls,
        stop: CancellationToken,
        tasks: TaskTracker,
    ) -> Arc<Self> {
        let mut http = Builder::new(TokioExecutor::new());
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MAX_HEADERS.max(64 * 1024));
        http.http2()
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(MAX_HEADERS).unwrap_or(u32::MAX))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(MAX_STREAMS)
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE);
        Arc::new(Self { front, tls: TlsAcceptor::from(tls.tcp()), http, stop, tasks })
    }

    pub(super) async fn accept(self: Arc<Self>, listener: TcpListener) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let accepted = async {
                let slot = slots.clone().acquire_owned().await;
                (listener.accept().await, slot)
            };
            let (accepted, slot) = tokio::select! {
                accepted = accepted => accepted,
                () = self.stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, _)) => {
                    let connections = self.clone();
                    self.tasks.spawn(async move {
                        connections.serve(stream).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    // Out of file descriptors, for instance: a pause lets some be closed.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    async fn serve(&self, stream: TcpStream) {
        // Answers are often smaller than a segment; waiting to fill one only delays them.
        let _ = stream.set_nodelay(true);
        let handshake = tokio::time::timeout(HEADER_TIMEOUT, self.tls.accept(stream));
        let Ok(Ok(stream)) = handshake.await else { return };
        let front = self.front.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let front = front.clone();
            async move { Ok::<Response<Body>, Infallible>(front.answer(request.map(Body::from)).await) }
        });
        let connection = self.http.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(%error, "connection ended");
        }
    }
}
