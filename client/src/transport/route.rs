//! The way to one gateway: HTTP/3 where it can be reached, HTTP/2 or 1.1 else.

use super::Timeouts;
use super::breaker::Breaker;
use super::error::TransportError;
use super::quic::QuicClient;
use super::stall::StallLimit;
use super::tcp::TcpClient;
use crate::endpoint::Endpoint;
use crate::profile::{Http3, Profile};
use object_store::client::{HttpRequest, HttpResponse};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Connections to one gateway.
pub(super) struct Route {
    tcp: TcpClient,
    quic: Option<QuicClient>,
    /// Whether HTTP/3 may give way to TCP.
    fallback: bool,
    breaker: Mutex<Breaker>,
}

impl Route {
    /// A route to `endpoint`, over `tls` if it is secure. Connects on the first request, not here.
    pub(super) fn new(
        endpoint: Endpoint,
        profile: &Profile,
        timeouts: &Timeouts,
        tls: Option<&rustls::ClientConfig>,
    ) -> Result<Self, TransportError> {
        let stall = StallLimit { endpoint: endpoint.clone(), limit: timeouts.stall };
        let ca_file = profile.ca_file.clone();
        let fallback = profile.http3 != Http3::Always;
        let quic_limit = if fallback { timeouts.try_http3 } else { timeouts.connect };
        let quic = match tls {
            Some(tls) if profile.http3 != Http3::Never => Some(QuicClient::new(
                endpoint.clone(),
                tls,
                ca_file.clone(),
                quic_limit,
                stall.clone(),
            )?),
            _ => None,
        };
        let tcp = TcpClient::new(endpoint, tls, ca_file, timeouts.connect, stall);
        Ok(Self { tcp, quic, fallback, breaker: Mutex::new(Breaker::new()) })
    }

    /// Sends one request. If HTTP/3 fails before the server can have seen it, TCP takes it over and
    /// HTTP/3 is left alone for a while.
    pub(super) async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        if let Some(quic) = &self.quic
            && (!self.fallback || self.breaker().allows(Instant::now()))
        {
            match quic.send(request.clone()).await {
                Ok(response) => {
                    self.breaker().worked();
                    return Ok(response);
                }
                Err(error) => {
                    self.breaker().failed(Instant::now());
                    if !self.fallback || !error.never_sent() {
                        return Err(error);
                    }
                    tracing::debug!("falling back to TCP: {error}");
                }
            }
        }
        self.tcp.send(request).await
    }

    /// Says goodbye to the gateway.
    pub(super) async fn close(&self) {
        if let Some(quic) = &self.quic {
            quic.close().await;
        }
    }

    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
