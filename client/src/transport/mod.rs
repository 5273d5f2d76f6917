//! Requests to one gateway: HTTP/3 where it can be reached, HTTP/2 or 1.1 else.
//!
//! [`Transport`] plugs into `object_store` as its HTTP connector and service. It sends to its own
//! endpoint only, so that neither a redirect nor a bug carries credentials elsewhere.

mod breaker;
mod dial;
mod error;
mod exchange;
mod quic;
mod stall;
mod tcp;
mod tls;

pub use error::{Carrier, TransportError};

use crate::endpoint::Endpoint;
use crate::profile::{Http3, Profile};
use async_trait::async_trait;
use breaker::Breaker;
use http::header::{AUTHORIZATION, HeaderValue, USER_AGENT};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService,
};
use quic::QuicClient;
use stall::StallLimit;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tcp::TcpClient;

const AGENT: HeaderValue = HeaderValue::from_static(concat!("coffer/", env!("CARGO_PKG_VERSION")));

/// How long to wait for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// For a TCP connection with its TLS handshake, and for QUIC where it is the only way.
    pub connect: Duration,
    /// For a QUIC connection where TCP is the way out.
    pub try_http3: Duration,
    /// For the next byte to move, in a request as in its answer.
    pub stall: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            try_http3: Duration::from_secs(1),
            stall: Duration::from_secs(60),
        }
    }
}

/// A connection pool to one gateway. Clones share it.
#[derive(Clone)]
pub struct Transport {
    inner: Arc<Inner>,
}

struct Inner {
    endpoint: Endpoint,
    tcp: TcpClient,
    quic: Option<QuicClient>,
    /// Whether HTTP/3 may give way to TCP.
    fallback: bool,
    breaker: Mutex<Breaker>,
}

impl Transport {
    /// A transport for the profile's endpoint. Connects on the first request, not here.
    ///
    /// # Errors
    /// If the trusted authorities can't be loaded.
    pub fn new(profile: &Profile, timeouts: &Timeouts) -> Result<Self, TransportError> {
        let endpoint = profile.endpoint.clone();
        let stall = StallLimit { endpoint: endpoint.clone(), limit: timeouts.stall };
        let ca_file = profile.ca_file.clone();
        let tls =
            endpoint.is_secure().then(|| tls::client_config(ca_file.as_deref())).transpose()?;
        let fallback = profile.http3 != Http3::Always;
        let quic_limit = if fallback { timeouts.try_http3 } else { timeouts.connect };
        let quic = match &tls {
            Some(tls) if profile.http3 != Http3::Never => Some(QuicClient::new(
                endpoint.clone(),
                tls,
                ca_file.clone(),
                quic_limit,
                stall.clone(),
            )?),
            _ => None,
        };
        let tcp = TcpClient::new(endpoint.clone(), tls.as_ref(), ca_file, timeouts.connect, stall);
        let breaker = Mutex::new(Breaker::new());
        Ok(Self { inner: Arc::new(Inner { endpoint, tcp, quic, fallback, breaker }) })
    }

    /// Sends one request and waits for the head of its answer; the body streams.
    ///
    /// If HTTP/3 fails before the server can have seen the request, TCP takes it over and HTTP/3
    /// is left alone for a while.
    ///
    /// # Errors
    /// If there is no answer; what the answer says is for the caller to judge.
    pub async fn send(&self, mut request: HttpRequest) -> Result<HttpResponse, TransportError> {
        let inner = &*self.inner;
        if !inner.endpoint.serves(request.uri()) {
            let other = request.uri().authority().map_or_else(String::new, ToString::to_string);
            return Err(TransportError::ForeignOrigin { endpoint: inner.endpoint.clone(), other });
        }
        let headers = request.headers_mut();
        headers.entry(USER_AGENT).or_insert(AGENT);
        for name in [AUTHORIZATION.as_str(), "x-amz-security-token"] {
            if let Some(value) = headers.get_mut(name) {
                // Kept out of debug output and of compression tables.
                value.set_sensitive(true);
            }
        }
        if let Some(quic) = &inner.quic
            && (!inner.fallback || inner.breaker().allows(Instant::now()))
        {
            match quic.send(request.clone()).await {
                Ok(response) => {
                    inner.breaker().worked();
                    return Ok(response);
                }
                Err(error) => {
                    inner.breaker().failed(Instant::now());
                    if !inner.fallback || !error.never_sent() {
                        return Err(error);
                    }
                    tracing::debug!("falling back to TCP: {error}");
                }
            }
        }
        inner.tcp.send(request).await
    }

    /// Says goodbye to the gateway. Requests after that connect anew.
    pub async fn close(&self) {
        if let Some(quic) = &self.inner.quic {
            quic.close().await;
        }
    }
}

impl Inner {
    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Transport({})", self.inner.endpoint)
    }
}

#[async_trait]
impl HttpService for Transport {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        Ok(self.send(request).await?)
    }
}

impl HttpConnector for Transport {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}
