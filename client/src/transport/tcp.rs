//! HTTP/2 and HTTP/1.1 over pooled TCP connections.

use super::dial::Dialer;
use super::error::TransportError;
use super::stall::{PacedBody, Progress, StallLimit, WatchedBody};
use crate::endpoint::Endpoint;
use crate::error::{chain, find_in_chain};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::client::{HttpRequest, HttpResponse, HttpResponseBody};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How much of one response may be under way before the reader takes it.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
/// The same for all responses of a connection together.
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// The largest frame a server may send: fewer and larger ones cost less.
const FRAME_BYTES: u32 = 128 * 1024;
const POOL_IDLE: Duration = Duration::from_secs(60);
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Sends requests over TCP.
pub(super) struct TcpClient {
    client: Client<Dialer, PacedBody>,
    endpoint: Endpoint,
    stall: StallLimit,
}

impl TcpClient {
    /// `tls` speaks HTTP/2 and 1.1 unless it names other protocols; `None` is plain HTTP.
    pub(super) fn new(
        endpoint: Endpoint,
        tls: Option<&rustls::ClientConfig>,
        ca_file: Option<PathBuf>,
        connect_limit: Duration,
        stall: StallLimit,
    ) -> Self {
        let tls = tls.map(|tls| {
            let mut tls = tls.clone();
            if tls.alpn_protocols.is_empty() {
                tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            }
            Arc::new(tls)
        });
        let dialer = Dialer::new(endpoint.clone(), tls, ca_file, connect_limit);
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .http2_max_frame_size(FRAME_BYTES)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .build(dialer);
        Self { client, endpoint, stall }
    }

    /// Sends one request and waits for the head of its answer.
    pub(super) async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        let progress = Progress::default();
        let request = request.map(|body| PacedBody::new(body, progress.clone()));
        let answer = self.stall.watch(&progress, self.client.request(request)).await?;
        let response = answer.map_err(|error| self.classify(&error))?;
        let body = |body| HttpResponseBody::new(WatchedBody::new(body, self.stall.clone()));
        Ok(response.map(body))
    }

    /// Finds out from hyper's error whether the request can have reached the server.
    fn classify(&self, error: &hyper_util::client::legacy::Error) -> TransportError {
        if let Some(dialing) = find_in_chain::<TransportError>(error) {
            return dialing.clone();
        }
        // The innermost message says what happened.
        let reason = chain(error).last().map_or_else(String::new, ToString::to_string);
        let endpoint = self.endpoint.clone();
        let canceled = find_in_chain::<hyper::Error>(error).is_some_and(hyper::Error::is_canceled);
        if canceled || error.is_connect() {
            TransportError::NotSent { endpoint, reason }
        } else {
            TransportError::Broken { endpoint, reason }
        }
    }
}
