//! Word of shards that are lost or damaged goes from the gateway that noticed it to the one that
//! repairs, and word of how repair is goes back.

use super::{RepairStatus, Repairer};
use crate::catalog::CatalogHandle;
use crate::catalog::raft::network::{PeerRequest, PeerResponse};
use crate::engine::Engine;
use crate::engine::suspects::MOST;
use coffer_core::catalog::CatalogError;
use coffer_core::ids::NodeId;
use coffer_core::shard::ShardKey;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// How long an answer is waited for.
const ANSWER: Duration = Duration::from_secs(2);

/// To the gateway that leads, and so repairs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RepairRequest {
    /// These shards, each with the node that should have it, may be lost or damaged.
    Suspects(Vec<(NodeId, ShardKey)>),
    /// How far is repair?
    Status,
}

/// The answer to a [`RepairRequest`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RepairAnswer {
    /// So many of the shards were noted, in their order; there was no room for the others.
    Noted(u64),
    /// How far repair is.
    Status(Box<RepairStatus>),
}

impl Repairer {
    /// Answers another gateway. Shards that it names are looked up before anything is done.
    pub fn answer(&self, request: RepairRequest) -> PeerResponse {
        if !(self.leads)() {
            return PeerResponse::NotLeader { leader: None };
        }
        PeerResponse::Repair(match request {
            RepairRequest::Suspects(shards) => {
                RepairAnswer::Noted(self.engine.suspects.note_all(&shards) as u64)
            }
            RepairRequest::Status => RepairAnswer::Status(Box::new(self.status())),
        })
    }

    /// How far repair is, as the gateway says that leads.
    ///
    /// # Errors
    /// [`CatalogError::Unavailable`] when it can't be asked.
    pub async fn status_of_leader(&self) -> Result<RepairStatus, CatalogError> {
        if (self.leads)() {
            return Ok(self.status());
        }
        match ask(&self.catalog, RepairRequest::Status).await? {
            None => Ok(self.status()),
            Some(RepairAnswer::Status(status)) => Ok(*status),
            Some(RepairAnswer::Noted(_)) => {
                Err(CatalogError::Unavailable("the gateway that leads answers out of turn".into()))
            }
        }
    }

    /// Hands what reads here have noticed to the gateway that leads. What can't be handed over
    /// waits for the next time.
    pub(super) async fn report_suspects(&self) {
        let shards: Vec<_> = self.engine.suspects.take().into_iter().collect();
        let left = pass_on(&self.engine, &self.catalog, shards).await;
        self.engine.suspects.note_all(&left);
    }
}

/// Tells the gateway that repairs of shards. Returns those that it did not take.
pub(in crate::engine) async fn pass_on(
    engine: &Arc<Engine>,
    catalog: &CatalogHandle,
    mut shards: Vec<(NodeId, ShardKey)>,
) -> Vec<(NodeId, ShardKey)> {
    while !shards.is_empty() {
        let batch = &shards[..shards.len().min(MOST)];
        let noted = match ask(catalog, RepairRequest::Suspects(batch.to_vec())).await {
            Ok(None) => engine.suspects.note_all(batch),
            Ok(Some(RepairAnswer::Noted(noted))) => {
                usize::try_from(noted).unwrap_or(usize::MAX).min(batch.len())
            }
            Ok(Some(RepairAnswer::Status(_))) => 0,
            Err(error) => {
                tracing::debug!(%error, "repair could not be told of shards");
                0
            }
        };
        let all = noted == batch.len();
        shards.drain(..noted);
        if !all {
            break;
        }
    }
    shards
}

/// Asks the gateway that leads; `None`: that is this one.
async fn ask(
    catalog: &CatalogHandle,
    request: RepairRequest,
) -> Result<Option<RepairAnswer>, CatalogError> {
    let unavailable = |why: String| Err(CatalogError::Unavailable(why));
    match catalog.ask_leader(PeerRequest::Repair(request), ANSWER).await? {
        None => Ok(None),
        Some(PeerResponse::Repair(answer)) => Ok(Some(answer)),
        Some(PeerResponse::NotLeader { .. }) => unavailable("the leader has just changed".into()),
        Some(PeerResponse::Refused(why)) => unavailable(why),
        Some(_) => unavailable("the gateway that leads answers out of turn".into()),
    }
}
