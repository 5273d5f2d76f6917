//! Who leads the catalog.

use super::network::PeerLink;
use super::types::{GatewayId, Metrics, Peer};
use coffer_core::catalog::CatalogError;
use openraft::ServerState;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// A leader that has not heard from a quorum for this long may lead no more.
const FRESH: Duration = Duration::from_secs(2);

/// Where the leader is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// It is this gateway.
    Here,
    /// It is another one.
    There(GatewayId, Peer),
}

/// Finds the leader; clones share it.
#[derive(Clone)]
pub struct Leader {
    metrics: watch::Receiver<Metrics>,
    link: Arc<dyn PeerLink>,
}

impl Leader {
    /// From what a member of the raft reports, and the way to the others.
    pub fn new(metrics: watch::Receiver<Metrics>, link: Arc<dyn PeerLink>) -> Self {
        Self { metrics, link }
    }

    /// The way to the others.
    pub fn link(&self) -> &dyn PeerLink {
        &*self.link
    }

    /// Waits until it is known who leads.
    ///
    /// # Errors
    /// [`CatalogError::Unavailable`] when that is not known by `deadline`;
    /// [`CatalogError::Stopped`] when this gateway's catalog has stopped.
    pub async fn find(&self, deadline: Instant) -> Result<Place, CatalogError> {
        let mut metrics = self.metrics.clone();
        loop {
            if let Some(place) = place(&metrics.borrow_and_update())? {
                return Ok(place);
            }
            match timeout_at(deadline, metrics.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(CatalogError::Stopped("the gateway is stopping".into())),
                Err(_) => {
                    let why = "no gateway leads it; a majority of them must be up and connected";
                    return Err(CatalogError::Unavailable(why.into()));
                }
            }
        }
    }
}

/// Whether this member leads, as far as it knows.
pub fn leads(metrics: &Metrics) -> bool {
    let silence = Duration::from_millis(metrics.millis_since_quorum_ack.unwrap_or(0));
    metrics.running_state.is_ok() && metrics.state == ServerState::Leader && silence < FRESH
}

fn place(metrics: &Metrics) -> Result<Option<Place>, CatalogError> {
    if let Err(fatal) = &metrics.running_state {
        return Err(CatalogError::Stopped(fatal.to_string()));
    }
    if leads(metrics) {
        return Ok(Some(Place::Here));
    }
    let leader = metrics.current_leader.filter(|leader| *leader != metrics.id);
    let members = metrics.membership_config.membership();
    Ok(leader.and_then(|id| members.get_node(&id).map(|peer| Place::There(id, peer.clone()))))
}
