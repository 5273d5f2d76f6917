//! The HTTP/1.1 server beneath inference and metrics, in which everything is bounded: connections,
//! their silence, their length. There's neither TLS nor access control: it's meant for this machine,
//! or for a proxy that has both.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections at a time; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 64;
/// How long a connection may take to send a request's head, or be idle between requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may last in all.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(300);
/// Bytes of a head that are read, and its most headers.
const HEAD_BUFFER: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
/// How long requests may take to end when the server stops.
const GRACE: Duration = Duration::from_secs(10);

/// What a request gets.
pub(crate) type Answer = Response<Full<Bytes>>;

/// An answer of this status with a body of this type.
pub(crate) fn answer(status: StatusCode, kind: &'static str, content: Vec<u8>) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(content)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// `answer`, which says that only `method` is allowed here.
pub(crate) fn allowing(mut answer: Answer, method: &Method) -> Answer {
    if let Ok(value) = HeaderValue::from_str(method.as_str()) {
        answer.headers_mut().insert(ALLOW, value);
    }
    answer
}

/// A server whose socket is bound, and which doesn't answer yet.
#[derive(Debug)]
pub(crate) struct HttpServer {
    listener: TcpListener,
}

impl HttpServer {
    /// Binds `listen`; port 0 takes any that is free.
    pub(crate) async fn bind(listen: SocketAddr) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(listen).await? })
    }

    /// The address that is bound.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers requests by `handler` until `stop` resolves; those under way then are still answered.
    pub(crate) async fn serve<H, F>(self, handler: H, stop: impl Future<Output = ()>)
    where
        H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
        F: Future<Output = Answer> + Send,
    {
        let handler = Arc::new(handler);
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let (tasks, stopping) = (TaskTracker::new(), CancellationToken::new());
        tokio::pin!(stop);
        loop {
            let accepted = async {
                let slot = Arc::clone(&slots).acquire_owned().await;
                (self.listener.accept().await, slot)
            };
            let (accepted, slot) = tokio::select! {
                accepted = accepted => accepted,
                () = &mut stop => break,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (handler, stopping) = (Arc::clone(&handler), stopping.clone());
                    tasks.spawn(async move {
                        let served = connection(stream, handler, stopping);
                        // What a peer does to its connection is its own affair.
                        let _ = tokio::time::timeout(CONNECTION_TIMEOUT, served).await;
                        drop(slot);
                    });
                }
                // Out of file descriptors, for instance: a pause lets some be closed.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        stopping.cancel();
        tasks.close();
        let _ = tokio::time::timeout(GRACE, tasks.wait()).await;
    }
}

async fn connection<H, F>(stream: TcpStream, handler: Arc<H>, stopping: CancellationToken)
where
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Answer>,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let handler = Arc::clone(&handler);
        async move { Ok::<_, Infallible>(handler(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(HEAD_BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let _ = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
}
