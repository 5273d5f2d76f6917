//! TCP connections, with TLS where the endpoint asks for it, in the shape hyper's pool wants.

use super::error::{Carrier, TransportError};
use crate::endpoint::Endpoint;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Opens connections to one endpoint.
#[derive(Clone)]
pub(super) struct Dialer {
    target: Arc<Target>,
}

struct Target {
    endpoint: Endpoint,
    tls: Option<TlsConnector>,
    ca_file: Option<PathBuf>,
    limit: Duration,
}

impl Dialer {
    /// `tls` is needed if the endpoint is secure; `ca_file` is named in errors.
    pub(super) fn new(
        endpoint: Endpoint,
        tls: Option<Arc<rustls::ClientConfig>>,
        ca_file: Option<PathBuf>,
        limit: Duration,
    ) -> Self {
        let tls = tls.map(TlsConnector::from);
        Self { target: Arc::new(Target { endpoint, tls, ca_file, limit }) }
    }
}

/// The endpoint's addresses, at least one.
pub(super) async fn resolve(endpoint: &Endpoint) -> Result<Vec<SocketAddr>, TransportError> {
    let failed =
        |reason: String| TransportError::Resolve { host: endpoint.host().to_owned(), reason };
    let addresses: Vec<_> = tokio::net::lookup_host((endpoint.host(), endpoint.port()))
        .await
        .map_err(|error| failed(error.to_string()))?
        .collect();
    if addresses.is_empty() { Err(failed("it has no address".to_owned())) } else { Ok(addresses) }
}

impl Target {
    async fn connect(&self) -> Result<Stream, TransportError> {
        let addresses = resolve(&self.endpoint).await?;
        let tcp =
            TcpStream::connect(&*addresses).await.map_err(|error| self.unreachable(&error))?;
        tcp.set_nodelay(true).map_err(|error| self.unreachable(&error))?;
        let Some(tls) = &self.tls else {
            return Ok(Stream::Plain(TokioIo::new(tcp)));
        };
        let name = ServerName::try_from(self.endpoint.host().to_owned())
            .map_err(|error| self.unreachable(&error))?;
        let stream = tls.connect(name, tcp).await.map_err(|error| self.handshake(&error))?;
        Ok(Stream::Tls(Box::new(TokioIo::new(stream))))
    }

    fn unreachable(&self, error: &dyn std::fmt::Display) -> TransportError {
        TransportError::Connect {
            endpoint: self.endpoint.clone(),
            carrier: Carrier::Tcp,
            reason: error.to_string(),
        }
    }

    /// Tells a refused certificate from a connection that failed otherwise.
    fn handshake(&self, error: &io::Error) -> TransportError {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(rustls::Error::InvalidCertificate(reason)) => TransportError::Untrusted {
                endpoint: self.endpoint.clone(),
                reason: reason.to_string(),
                ca_file: self.ca_file.clone(),
            },
            _ => self.unreachable(error),
        }
    }
}

impl tower_service::Service<http::Uri> for Dialer {
    type Response = Stream;
    type Error = TransportError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, TransportError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        let target = Arc::clone(&self.target);
        Box::pin(async move {
            let timeout = || TransportError::ConnectTimeout {
                endpoint: target.endpoint.clone(),
                carrier: Carrier::Tcp,
                limit: target.limit,
            };
            tokio::time::timeout(target.limit, target.connect())
                .await
                .unwrap_or_else(|_| Err(timeout()))
        })
    }
}

/// A connection, plain or within TLS.
pub(super) enum Stream {
    Plain(TokioIo<TcpStream>),
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        match self {
            Self::Tls(stream) if stream.inner().get_ref().1.alpn_protocol() == Some(b"h2") => {
                Connected::new().negotiated_h2()
            }
            _ => Connected::new(),
        }
    }
}

impl Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl Write for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }
}
