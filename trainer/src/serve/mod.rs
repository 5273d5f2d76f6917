//! Inference over HTTP/1.1 from one checkpoint.
//!
//! ```text
//! GET  /health                  what is served
//! POST /classify                a 28x28 grey picture, as PNG or as 784 bytes: class probabilities
//! GET  /digits?count=N&seed=S   N digits that the model makes, as one PNG
//! ```
//!
//! Everything is bounded: connections, their silence, the time of a request, its body, the requests
//! that wait for the model. There's neither TLS nor access control: it's meant for this machine, or
//! for a proxy that has both.

mod api;
mod model;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use model::Model;

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

/// A server whose socket is bound, and which doesn't answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    model: Arc<Model>,
}

impl Server {
    /// Binds `listen`; port 0 takes any that is free.
    ///
    /// # Errors
    /// If the address can't be bound.
    pub async fn bind(listen: SocketAddr, model: Model) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(listen).await?, model: Arc::new(model) })
    }

    /// The address that is bound.
    ///
    /// # Errors
    /// If the system doesn't tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers requests until `stop` resolves; those under way then are still answered.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
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
                    let (model, stopping) = (Arc::clone(&self.model), stopping.clone());
                    tasks.spawn(async move {
                        let served = connection(stream, model, stopping);
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

async fn connection(stream: TcpStream, model: Arc<Model>, stopping: CancellationToken) {
    let service = service_fn(move |request: Request<Incoming>| {
        let model = Arc::clone(&model);
        async move { Ok::<_, Infallible>(api::answer(&model, request).await) }
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
