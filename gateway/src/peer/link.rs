//! Sending requests to other gateways.

use super::{ALPN, LIMIT, name};
use crate::catalog::raft::network::{PeerError, PeerLink, PeerRequest, PeerResponse};
use crate::catalog::raft::types::{GatewayId, Peer};
use async_trait::async_trait;
use coffer_core::wire;
use coffer_node::quic::{Dialer, Link, MutualTls, TlsError, header};
use quinn::RecvStream;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A client for all gateways of a cluster: one UDP socket, one certificate, one connection to each.
#[derive(Debug)]
pub struct PeerClient {
    dialer: Dialer,
    links: Mutex<HashMap<GatewayId, Arc<Link>>>,
}

impl PeerClient {
    /// A client that shows the certificate of `tls`.
    ///
    /// # Errors
    /// [`TlsError`] when the certificate can't be used, or no socket can be had.
    pub fn new(tls: &MutualTls) -> Result<Self, TlsError> {
        let dialer = Dialer::new(tls.client(ALPN)?)
            .map_err(|e| TlsError { path: "a UDP socket".into(), why: e.to_string() })?;
        Ok(Self { dialer, links: Mutex::default() })
    }

    /// The link to a gateway; a new one when it is said to be elsewhere now.
    fn link(&self, id: GatewayId, address: &str) -> Arc<Link> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        match links.get(&id) {
            Some(link) if link.address() == address => link.clone(),
            _ => {
                let link = Arc::new(self.dialer.link(name(id), address.to_owned()));
                links.insert(id, link.clone());
                link
            }
        }
    }
}

#[async_trait]
impl PeerLink for PeerClient {
    async fn call(
        &self,
        id: GatewayId,
        peer: &Peer,
        request: PeerRequest,
        within: Duration,
    ) -> Result<PeerResponse, PeerError> {
        let deadline = Instant::now() + within;
        let late = format!("not within {} ms", within.as_millis());
        let who = || format!("{} ({id}) at {}", peer.name, peer.address);
        let sending = tokio::time::timeout_at(deadline, self.send(id, peer, &request)).await;
        let mut answer = sending
            .unwrap_or_else(|_| Err(late.clone()))
            .map_err(|why| PeerError::NotSent { peer: who(), why })?;
        let reading = header::read(&mut answer, LIMIT);
        match tokio::time::timeout_at(deadline, reading).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(PeerError::NoAnswer { peer: who(), why: error.to_string() }),
            Err(_) => Err(PeerError::NoAnswer { peer: who(), why: late }),
        }
    }
}

impl PeerClient {
    /// Sends a request; its answer will come on the stream that is returned. A request that was not
    /// taken in full is none to the other side: whatever fails here has had no effect.
    async fn send(
        &self,
        id: GatewayId,
        peer: &Peer,
        request: &PeerRequest,
    ) -> Result<RecvStream, String> {
        let message = wire::encode_within(request, LIMIT).map_err(|e| e.to_string())?;
        let link = self.link(id, &peer.address);
        let connection = link.connection().await.map_err(|e| e.to_string())?;
        let (mut send, receive) = connection.open_bi().await.map_err(|e| e.to_string())?;
        send.write_all(&message).await.map_err(|e| e.to_string())?;
        // The stream is there, since it has just been written to.
        let _ = send.finish();
        Ok(receive)
    }
}
