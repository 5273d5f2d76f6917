//! `GET /metrics`, for Prometheus.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tokio_util::sync::DropGuard;

use super::Watch;
use super::text::CONTENT_TYPE;
use crate::http::{Answer, HttpServer, allowing, answer};

/// Tells the metrics of a run to whoever asks, until it's dropped.
#[derive(Debug)]
pub struct MetricsServer {
    address: SocketAddr,
    _stop: DropGuard,
}

impl MetricsServer {
    /// Listens on `listen`; port 0 takes any that is free.
    ///
    /// # Errors
    /// If the address can't be bound.
    pub fn start(runtime: &Runtime, listen: SocketAddr, watch: Arc<Watch>) -> io::Result<Self> {
        let server = runtime.block_on(HttpServer::bind(listen))?;
        let address = server.address()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let handler = move |request| std::future::ready(told(&watch, &request));
        runtime.spawn(server.serve(handler, stopped));
        Ok(Self { address, _stop: stop.drop_guard() })
    }

    /// The address that is bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn told(watch: &Watch, request: &Request<Incoming>) -> Answer {
    let plain = |status, text: &str| answer(status, "text/plain", text.as_bytes().to_vec());
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "nothing is here: GET /metrics\n");
    }
    if request.method() != Method::GET {
        let refused = plain(StatusCode::METHOD_NOT_ALLOWED, "use GET for this\n");
        return allowing(refused, &Method::GET);
    }
    answer(StatusCode::OK, CONTENT_TYPE, watch.metrics().into_bytes())
}
