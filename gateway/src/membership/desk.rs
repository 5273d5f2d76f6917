//! Where requests of other gateways go.

use super::rejoin::Gate;
use crate::catalog::raft::network::{PeerRequest, PeerResponse, PeerService};
use crate::engine::repair::Repairer;
use async_trait::async_trait;
use std::sync::{Arc, OnceLock};

/// Hands what is for repair to repair, once that is there, and the rest to the raft.
pub(super) struct Desk {
    raft: Arc<Gate>,
    repairer: OnceLock<Arc<Repairer>>,
}

impl Desk {
    pub(super) fn new(raft: Arc<Gate>) -> Self {
        Self { raft, repairer: OnceLock::new() }
    }

    pub(super) fn serve_repair(&self, repairer: Arc<Repairer>) {
        // There is only one.
        let _ = self.repairer.set(repairer);
    }
}

#[async_trait]
impl PeerService for Desk {
    async fn handle(&self, request: PeerRequest) -> PeerResponse {
        match (request, self.repairer.get()) {
            (PeerRequest::Repair(request), Some(repairer)) => repairer.answer(request),
            (PeerRequest::Repair(_), None) => {
                PeerResponse::Refused("this gateway has just been started".into())
            }
            (request, _) => self.raft.handle(request).await,
        }
    }
}
