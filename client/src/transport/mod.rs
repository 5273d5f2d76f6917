//! Requests to the gateways of one cluster: HTTP/3 where it can be reached, HTTP/2 or 1.1 else.
//!
//! [`Transport`] plugs into `object_store` as its HTTP connector and service. It sends to the
//! profile's endpoints only, so that neither a redirect nor a bug carries credentials elsewhere.
//!
//! Requests are made and signed for the first endpoint, and keep its name when another gateway gets
//! them: any gateway of a cluster answers for all, and a signature is good for one name only.

mod breaker;
mod dial;
mod error;
mod exchange;
mod quic;
mod route;
mod stall;
mod tcp;
mod tls;

pub use error::{Carrier, TransportError};
pub use quic::{quic_config, quic_socket};
pub use tls::client_config;

use crate::endpoint::Endpoint;
use crate::profile::Profile;
use async_trait::async_trait;
use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderValue, USER_AGENT};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService,
};
use route::Route;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

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

/// Connection pools to the gateways of one cluster. Clones share them.
#[derive(Clone)]
pub struct Transport {
    inner: Arc<Inner>,
}

struct Inner {
    /// What requests are addressed to.
    endpoint: Endpoint,
    /// At least one.
    routes: Vec<Route>,
    /// The route that worked last.
    current: AtomicUsize,
}

impl Transport {
    /// A transport for the profile's endpoints. Connects on the first request, not here.
    ///
    /// # Errors
    /// If the trusted authorities can't be loaded.
    pub fn new(profile: &Profile, timeouts: &Timeouts) -> Result<Self, TransportError> {
        let secure = profile.endpoint.is_secure();
        let tls = secure.then(|| client_config(profile.ca_file.as_deref())).transpose()?;
        Self::build(profile, timeouts, tls)
    }

    /// As [`Transport::new`], with TLS as the caller has set it up, in place of the profile's trust.
    /// The application protocols that it names, if any, are the ones to be spoken over TCP.
    ///
    /// # Errors
    /// If QUIC can't be spoken with these settings.
    pub fn with_tls(
        profile: &Profile,
        timeouts: &Timeouts,
        tls: rustls::ClientConfig,
    ) -> Result<Self, TransportError> {
        Self::build(profile, timeouts, profile.endpoint.is_secure().then_some(tls))
    }

    fn build(
        profile: &Profile,
        timeouts: &Timeouts,
        tls: Option<rustls::ClientConfig>,
    ) -> Result<Self, TransportError> {
        let endpoint = profile.endpoint.clone();
        let routes = std::iter::once(&endpoint)
            .chain(&profile.others)
            .map(|endpoint| Route::new(endpoint.clone(), profile, timeouts, tls.as_ref()))
            .collect::<Result<_, _>>()?;
        Ok(Self { inner: Arc::new(Inner { endpoint, routes, current: AtomicUsize::new(0) }) })
    }

    /// Sends one request and waits for the head of its answer; the body streams.
    ///
    /// If a gateway can't have seen the request, the next one gets it. If it may have, or says that
    /// it is unavailable, that is the answer, and the next request goes to the next gateway.
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
        let mut left = inner.routes.len();
        let mut number = inner.current.load(Ordering::Relaxed);
        loop {
            left -= 1;
            let answer = inner.routes[number].send(request.clone()).await;
            let unavailable = match &answer {
                Ok(response) => response.status() == StatusCode::SERVICE_UNAVAILABLE,
                Err(_) => true,
            };
            if unavailable {
                number = inner.leave(number);
            }
            match answer {
                Err(error) if left > 0 && error.never_sent() => {
                    tracing::debug!("trying the next gateway: {error}");
                }
                answer => return answer,
            }
        }
    }

    /// Says goodbye to the gateways. Requests after that connect anew.
    pub async fn close(&self) {
        futures::future::join_all(self.inner.routes.iter().map(Route::close)).await;
    }
}

impl Inner {
    /// The gateway after this one; requests start with it from now on, unless another has made
    /// them start elsewhere.
    fn leave(&self, number: usize) -> usize {
        let next = (number + 1) % self.routes.len();
        let (relaxed, current) = (Ordering::Relaxed, &self.current);
        let _ = current.compare_exchange(number, next, relaxed, relaxed);
        next
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
