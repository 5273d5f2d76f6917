//! Sending requests to other gateways.

use super::{ALPN, LIMIT, name};
use crate::catalog::raft::network::{PeerError, PeerLink, PeerRequest, PeerResponse};
use crate::catalog::raft::types::{GatewayId, Peer};
use async_trait::async_trait;
use coffer_node::rpc::{CallError, Dialer, Limits, Link, MutualTls, TlsError, frame};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The most that a gateway may answer.
const ANSWER: Limits = Limits { header: LIMIT, payload: 0 };

/// A client for all gateways of a cluster, which shows one certificate.
#[derive(Debug)]
pub struct PeerClient {
    dialer: Dialer,
    links: Mutex<HashMap<GatewayId, Arc<Link>>>,
}

impl PeerClient {
    /// A client that shows the certificate of `tls`.
    ///
    /// # Errors
    /// [`TlsError`] when the certificate can't be used.
    pub fn new(tls: &MutualTls) -> Result<Self, TlsError> {
        Ok(Self { dialer: Dialer::new(tls.client(ALPN)?), links: Mutex::default() })
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
        let who = || format!("{} ({id}) at {}", peer.name, peer.address);
        let not_sent = |why| PeerError::NotSent { peer: who(), why };
        let message = frame::encode(&request, 0, LIMIT).map_err(|e| not_sent(e.to_string()))?;
        let link = self.link(id, &peer.address);
        // A request that was not taken in full is none to the other side. One that was may have been
        // done, and most must not be done twice.
        match link.call(vec![message.into()], ANSWER, false, within).await {
            Ok((response, _)) => Ok(response),
            Err(error @ (CallError::NotSent(_) | CallError::Late { sent: false, .. })) => {
                Err(not_sent(error.to_string()))
            }
            Err(error) => Err(PeerError::NoAnswer { peer: who(), why: error.to_string() }),
        }
    }
}
