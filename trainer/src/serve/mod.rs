//! Inference over HTTP/1.1 from one checkpoint.
//!
//! ```text
//! GET  /health                  what is served
//! POST /classify                a 28x28 grey picture, as PNG or as 784 bytes: class probabilities
//! GET  /digits?count=N&seed=S   N digits that the model makes, as one PNG
//! ```
//!
//! Everything is bounded: what [`crate::http`] bounds, and the time of a request, its body, the
//! requests that wait for the model.

mod api;
mod model;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::http::HttpServer;

pub use model::Model;

/// A server whose socket is bound, and which doesn't answer yet.
#[derive(Debug)]
pub struct Server {
    http: HttpServer,
    model: Arc<Model>,
}

impl Server {
    /// Binds `listen`; port 0 takes any that is free.
    ///
    /// # Errors
    /// If the address can't be bound.
    pub async fn bind(listen: SocketAddr, model: Model) -> io::Result<Self> {
        Ok(Self { http: HttpServer::bind(listen).await?, model: Arc::new(model) })
    }

    /// The address that is bound.
    ///
    /// # Errors
    /// If the system doesn't tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.http.address()
    }

    /// Answers requests until `stop` resolves; those under way then are still answered.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let model = self.model;
        let handler = move |request| {
            let model = Arc::clone(&model);
            async move { api::answer(&model, request).await }
        };
        self.http.serve(handler, stop).await;
    }
}
