//! What a gateway answers to the others.

use super::commit::Committer;
use super::leader::leads;
use super::members::{change, members, status};
use super::network::{PeerRequest, PeerResponse, PeerService, SnapshotPiece};
use super::snapshot::SnapshotData;
use super::types::{SnapshotMeta, Types, Vote};
use async_trait::async_trait;
use openraft::error::{CheckIsLeaderError, RaftError};
use openraft::{Raft, Snapshot};
use tokio::sync::Mutex;

/// Answers for this gateway's member of the raft.
pub struct RaftService {
    raft: Raft<Types>,
    committer: Committer,
    arriving: Mutex<Option<Arriving>>,
}

/// A snapshot that is arriving.
struct Arriving {
    vote: Vote,
    meta: SnapshotMeta,
    /// Pages that have been taken.
    pages: u64,
    data: Box<SnapshotData>,
}

impl RaftService {
    /// Answers for `raft`; what is proposed goes to `committer`.
    pub fn new(raft: Raft<Types>, committer: Committer) -> Self {
        Self { raft, committer, arriving: Mutex::default() }
    }

    async fn snapshot(&self, vote: Vote, meta: SnapshotMeta, piece: SnapshotPiece) -> PeerResponse {
        let mut arriving = self.arriving.lock().await;
        let own = match self.raft.with_raft_state(|state| *state.vote_ref()).await {
            Ok(own) => own,
            Err(fatal) => return PeerResponse::Refused(fatal.to_string()),
        };
        if own > vote {
            *arriving = None;
            return PeerResponse::Snapshot(own);
        }
        match piece {
            SnapshotPiece::Page(number, page) => {
                if number == 0 {
                    *arriving = None;
                    let data = match self.raft.begin_receiving_snapshot().await {
                        Ok(data) => data,
                        Err(error) => return PeerResponse::Refused(error.to_string()),
                    };
                    *arriving = Some(Arriving { vote, meta: meta.clone(), pages: 0, data });
                }
                match arriving.as_mut() {
                    Some(a) if a.vote == vote && a.meta == meta && a.pages == number => {
                        let taken = match &*a.data {
                            SnapshotData::Arrived(staged) => staged.take(page).await,
                            SnapshotData::Source(_) => Ok(()),
                        };
                        match taken {
                            Ok(()) => a.pages += 1,
                            Err(error) => {
                                *arriving = None;
                                return PeerResponse::Refused(error.to_string());
                            }
                        }
                        PeerResponse::Snapshot(vote)
                    }
                    _ => PeerResponse::Refused(format!("page {number} comes out of turn")),
                }
            }
            SnapshotPiece::End(pages) => match arriving.take() {
                Some(a) if a.vote == vote && a.meta == meta && a.pages == pages => {
                    let snapshot = Snapshot { meta, snapshot: a.data };
                    match self.raft.install_full_snapshot(vote, snapshot).await {
                        Ok(response) => PeerResponse::Snapshot(response.vote),
                        Err(fatal) => PeerResponse::Refused(fatal.to_string()),
                    }
                }
                _ => PeerResponse::Refused(format!("{pages} pages have not arrived")),
            },
        }
    }
}

#[async_trait]
impl PeerService for RaftService {
    async fn handle(&self, request: PeerRequest) -> PeerResponse {
        match request {
            PeerRequest::Append(request) => match self.raft.append_entries(request).await {
                Ok(response) => PeerResponse::Append(response),
                Err(error) => PeerResponse::Refused(error.to_string()),
            },
            PeerRequest::Vote(request) => match self.raft.vote(request).await {
                Ok(response) => PeerResponse::Vote(response),
                Err(error) => PeerResponse::Refused(error.to_string()),
            },
            PeerRequest::Snapshot { vote, meta, piece } => self.snapshot(vote, meta, piece).await,
            PeerRequest::Propose(group) => self.committer.commit(group).await.into(),
            PeerRequest::ReadIndex => match self.raft.get_read_log_id().await {
                Ok((id, _)) => PeerResponse::ReadIndex(id),
                Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(to))) => {
                    PeerResponse::NotLeader { leader: to.leader_id }
                }
                Err(error) => PeerResponse::Refused(error.to_string()),
            },
            PeerRequest::ListMembers => {
                let metrics = self.raft.metrics().borrow().clone();
                match leads(&metrics) {
                    true => PeerResponse::Members(members(&metrics)),
                    false => PeerResponse::NotLeader { leader: metrics.current_leader },
                }
            }
            PeerRequest::Status => PeerResponse::Status(status(&self.raft.metrics().borrow())),
            PeerRequest::Repair(_) => PeerResponse::Refused("no repair is reached here".into()),
            PeerRequest::Members(wanted) => match change(&self.raft, wanted).await {
                Ok(()) => PeerResponse::Changed,
                Err(response) => response,
            },
        }
    }
}
