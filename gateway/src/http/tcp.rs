//! HTTP/1.1 and HTTP/2 over TLS.

use super::connection::Connection;
use super::front::Front;
use super::linger::Linger;
use super::tasks::Tasks;
use super::tls::ServerTls;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use s3s::Body;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;

/// Connections at a time; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 4096;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a peer may be silent before it is asked for a sign of life, and then to give it.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// How long a peer may leave what it is sent in our buffers.
const WRITE_STALL: Duration = Duration::from_secs(60);
/// The most bytes of headers (S3 allows 8 KiB, of which 2 KiB are metadata), and the most headers.
const MAX_HEADERS: u32 = 32 * 1024;
const MAX_HEADER_COUNT: usize = 128;
/// Bytes of HTTP/1.1 that are read ahead.
const READ_BUFFER: usize = 64 * 1024;
/// Flow control windows of HTTP/2, in bytes; enough for fast uploads on one connection.
const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
const MAX_STREAMS: u32 = 256;

/// Accepts and serves connections.
pub(super) struct Connections {
    front: Arc<Front>,
    tls: TlsAcceptor,
    http: Builder<Tasks>,
    linger: Linger,
    tasks: Tasks,
}

impl Connections {
    pub(super) fn new(front: Arc<Front>, tls: &ServerTls, tasks: Tasks) -> Arc<Self> {
        let mut http = Builder::new(tasks.clone());
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(front.header_timeout)
            .max_headers(MAX_HEADER_COUNT)
            .max_buf_size(READ_BUFFER);
        http.http2()
            .timer(TokioTimer::new())
            .max_header_list_size(MAX_HEADERS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(MAX_STREAMS)
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE);
        let linger = Linger::new(tasks.clone());
        Arc::new(Self { front, tls: TlsAcceptor::from(tls.tcp()), http, linger, tasks })
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
                () = self.tasks.stopping() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let connections = self.clone();
                    self.tasks.spawn(async move {
                        connections.serve(stream, peer.ip()).await;
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

    async fn serve(&self, stream: TcpStream, peer: IpAddr) {
        // Answers are often smaller than a segment; waiting to fill one only delays them.
        let _ = stream.set_nodelay(true);
        let handshake = tokio::time::timeout(HANDSHAKE, self.tls.accept(Draining::new(stream)));
        let Ok(Ok(stream)) = handshake.await else { return };
        let tls = match stream.get_ref().1.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "1.2",
            _ => "1.3",
        };
        let connection = Connection { peer, tls };
        let front = self.front.clone();
        let linger = self.linger.clone();
        let asked = Arc::new(AtomicBool::new(false));
        let first = asked.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            let front = front.clone();
            first.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(connection);
            let request = linger.watch(request);
            async move { Ok::<Response<Body>, Infallible>(front.answer(request).await) }
        });
        let connection = self.http.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = self.tasks.stopping() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            () = self.silence(&asked) => return,
        };
        if let Err(error) = outcome {
            tracing::debug!(%error, "connection ended");
        }
    }

    /// Ends when nothing was `asked` in time. The timers of hyper only run once it knows which
    /// version of HTTP it is to be, for which it waits without end.
    async fn silence(&self, asked: &AtomicBool) {
        tokio::time::sleep(self.front.header_timeout).await;
        if asked.load(Ordering::Relaxed) {
            std::future::pending().await
        }
    }
}

/// A connection that fails when the peer takes nothing of what it is sent for [`WRITE_STALL`].
struct Draining {
    stream: TcpStream,
    timer: Pin<Box<Sleep>>,
    waiting: bool,
}

impl Draining {
    fn new(stream: TcpStream) -> Self {
        Self { stream, timer: Box::pin(tokio::time::sleep(WRITE_STALL)), waiting: false }
    }

    /// Passes on the outcome of a write, or the time-out.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.waiting = false;
            return outcome;
        }
        if !self.waiting {
            self.timer.as_mut().reset(Instant::now() + WRITE_STALL);
            self.waiting = true;
        }
        ready!(self.timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Draining {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Draining {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
