//! The raft's members: who they are, how far they are, and how they change while it serves.

use super::leader::{Leader, Place};
use super::network::{PeerError, PeerRequest, PeerResponse};
use super::types::{GatewayId, Metrics, Peer, Types};
use coffer_core::catalog::CatalogError;
use openraft::error::{ClientWriteError, RaftError};
use openraft::{ChangeMembers, LogIdOptionExt, Raft};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long it may take until a change of members is done. A new member is sent the whole catalog
/// first.
const CHANGE: Duration = Duration::from_secs(600);

/// A change of the members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberChange {
    /// Take one in: it is sent the catalog, and votes when it has caught up.
    Add(GatewayId, Peer),
    /// Leave one out.
    Remove(GatewayId),
    /// One has moved to another address.
    Move(GatewayId, Peer),
}

/// What a member does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// It leads.
    Leader,
    /// It votes.
    Voter,
    /// It is sent the log but does not vote.
    Learner,
}

impl Role {
    /// What people and programs are told.
    pub fn name(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Voter => "voter",
            Self::Learner => "learner",
        }
    }
}

/// A member and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its id.
    pub id: GatewayId,
    /// Where it is.
    pub peer: Peer,
    /// What it does.
    pub role: Role,
    /// The last entry that it has, as far as the leader knows.
    pub matched: Option<u64>,
    /// How many entries it lacks.
    pub lag: Option<u64>,
}

/// What a member knows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// The term that it is in.
    pub term: u64,
    /// The last entry that it has applied.
    pub applied: Option<u64>,
}

/// What this member knows of itself.
pub fn status(metrics: &Metrics) -> MemberStatus {
    MemberStatus { term: metrics.current_term, applied: metrics.last_applied.index() }
}

/// The members as the leader knows them. Other members do not know how far the others are.
pub fn members(metrics: &Metrics) -> Vec<Member> {
    let config = &metrics.membership_config;
    let voters: BTreeSet<GatewayId> = config.voter_ids().collect();
    let last = metrics.last_log_index;
    config
        .nodes()
        .map(|(id, peer)| {
            let matched = match &metrics.replication {
                Some(_) if *id == metrics.id => last,
                Some(replication) => replication.get(id).and_then(|m| m.index()),
                None => None,
            };
            let role = match metrics.current_leader {
                Some(leader) if leader == *id => Role::Leader,
                _ if voters.contains(id) => Role::Voter,
                _ => Role::Learner,
            };
            let lag = metrics.replication.as_ref().and(last).map(|last| {
                last.saturating_add(1).saturating_sub(matched.map_or(0, |m| m.saturating_add(1)))
            });
            Member { id: *id, peer: peer.clone(), role, matched, lag }
        })
        .collect()
}

/// Changes the members, if this gateway leads.
///
/// # Errors
/// [`PeerResponse::NotLeader`], [`PeerResponse::Refused`] or [`PeerResponse::Unknown`].
pub(super) async fn change(raft: &Raft<Types>, change: MemberChange) -> Result<(), PeerResponse> {
    let failed = |error: RaftError<GatewayId, ClientWriteError<GatewayId, Peer>>| match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(to)) => {
            PeerResponse::NotLeader { leader: to.leader_id }
        }
        RaftError::APIError(error) => PeerResponse::Refused(error.to_string()),
        RaftError::Fatal(fatal) => PeerResponse::Unknown(fatal.to_string()),
    };
    match change {
        MemberChange::Add(id, peer) => {
            raft.add_learner(id, peer, true).await.map_err(failed)?;
            let voters = ChangeMembers::AddVoterIds(BTreeSet::from([id]));
            raft.change_membership(voters, true).await.map_err(failed)?;
        }
        MemberChange::Remove(id) => {
            let voter = ChangeMembers::RemoveVoters(BTreeSet::from([id]));
            if raft.metrics().borrow().membership_config.voter_ids().any(|voter| voter == id) {
                raft.change_membership(voter, false).await.map_err(failed)?;
            } else {
                let learner = ChangeMembers::RemoveNodes(BTreeSet::from([id]));
                raft.change_membership(learner, false).await.map_err(failed)?;
            }
        }
        MemberChange::Move(id, peer) => {
            let nodes = ChangeMembers::SetNodes(BTreeMap::from([(id, peer)]));
            raft.change_membership(nodes, true).await.map_err(failed)?;
        }
    }
    Ok(())
}

/// Changes the members through whichever gateway leads.
pub(crate) async fn change_anywhere(
    raft: &Raft<Types>,
    leader: &Leader,
    wanted: MemberChange,
    deadline: Instant,
) -> Result<(), CatalogError> {
    loop {
        let answer = match leader.find(deadline).await? {
            Place::Here => match timeout(CHANGE, change(raft, wanted.clone())).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(response)) => response,
                Err(_) => PeerResponse::Unknown(format!("it was not done within {CHANGE:?}")),
            },
            Place::There(id, peer) => {
                let request = PeerRequest::Members(wanted.clone());
                match leader.link().call(id, &peer, request, CHANGE).await {
                    Ok(answer) => answer,
                    Err(PeerError::NotSent { .. }) => PeerResponse::NotLeader { leader: None },
                    Err(error) => PeerResponse::Unknown(error.to_string()),
                }
            }
        };
        match answer {
            PeerResponse::Changed => return Ok(()),
            PeerResponse::NotLeader { .. } if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            PeerResponse::Refused(why) => return Err(CatalogError::Unavailable(why)),
            PeerResponse::Unknown(why) => return Err(CatalogError::Stopped(why)),
            _ => return Err(CatalogError::Unavailable("no gateway leads it".into())),
        }
    }
}
