//! Raft's messages over a [`PeerLink`].

use super::network::{PeerError, PeerLink, PeerRequest, PeerResponse, SnapshotPiece};
use super::snapshot::SnapshotData;
use super::types::{GatewayId, Peer, SnapshotMeta, Types, Vote};
use async_trait::async_trait;
use openraft::Snapshot;
use openraft::error::{
    Fatal, NetworkError, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable,
};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use std::sync::Arc;
use std::time::Duration;

/// The pause before a gateway that can't be reached is tried again.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a piece of a snapshot may take, and installing it.
const PIECE: Duration = Duration::from_secs(10);
const INSTALL: Duration = Duration::from_secs(60);

type Failure = RPCError<GatewayId, Peer, RaftError<GatewayId>>;

/// Makes the ways to the other members.
pub struct Links(pub Arc<dyn PeerLink>);

/// The way to one member.
pub struct Link {
    link: Arc<dyn PeerLink>,
    id: GatewayId,
    peer: Peer,
}

impl RaftNetworkFactory<Types> for Links {
    type Network = Link;

    async fn new_client(&mut self, target: GatewayId, node: &Peer) -> Link {
        Link { link: self.0.clone(), id: target, peer: node.clone() }
    }
}

impl Link {
    async fn call(
        &self,
        request: PeerRequest,
        within: Duration,
    ) -> Result<PeerResponse, PeerError> {
        self.link.call(self.id, &self.peer, request, within).await
    }

    /// Sends a snapshot page by page. Returns the receiver's vote.
    async fn send(
        &self,
        vote: Vote,
        meta: SnapshotMeta,
        data: SnapshotData,
    ) -> Result<Vote, StreamingError<Types, Fatal<GatewayId>>> {
        let unreadable = |why: String| {
            let error =
                NetworkError::new(&PeerError::NotSent { peer: self.peer.name.clone(), why });
            StreamingError::Network(error)
        };
        let SnapshotData::Source(mut export) = data else {
            return Err(unreadable("a snapshot that has arrived can't be sent on".into()));
        };
        let mut number = 0;
        loop {
            let page;
            (page, export) = tokio::task::spawn_blocking(move || (export.next_page(), export))
                .await
                .map_err(|e| unreadable(e.to_string()))?;
            // The peer starts anew when this is tried again.
            let page = page.map_err(|e| unreadable(e.to_string()))?;
            let (piece, within) = match page {
                Some(page) => (SnapshotPiece::Page(number, page), PIECE),
                None => (SnapshotPiece::End(number), INSTALL),
            };
            let end = matches!(piece, SnapshotPiece::End(_));
            let request = PeerRequest::Snapshot { vote, meta: meta.clone(), piece };
            match self.call(request, within).await {
                Ok(PeerResponse::Snapshot(theirs)) if end || theirs > vote => return Ok(theirs),
                Ok(PeerResponse::Snapshot(_)) => number += 1,
                Ok(other) => return Err(StreamingError::Network(unexpected(&self.peer, other))),
                Err(error @ PeerError::NotSent { .. }) => {
                    return Err(StreamingError::Unreachable(Unreachable::new(&error)));
                }
                Err(error) => return Err(StreamingError::Network(NetworkError::new(&error))),
            }
        }
    }
}

fn unexpected(peer: &Peer, response: PeerResponse) -> NetworkError {
    let why = match response {
        PeerResponse::Refused(why) | PeerResponse::Unknown(why) => why,
        _ => "it answers out of turn".into(),
    };
    NetworkError::new(&PeerError::NoAnswer { peer: peer.name.clone(), why })
}

fn failure(error: &PeerError) -> Failure {
    match error {
        PeerError::NotSent { .. } => RPCError::Unreachable(Unreachable::new(error)),
        PeerError::NoAnswer { .. } => RPCError::Network(NetworkError::new(error)),
    }
}

impl RaftNetwork<Types> for Link {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<GatewayId>, Failure> {
        match self.call(PeerRequest::Append(rpc), option.hard_ttl()).await {
            Ok(PeerResponse::Append(response)) => Ok(response),
            Ok(other) => Err(unexpected(&self.peer, other).into()),
            Err(error) => Err(failure(&error)),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<GatewayId>,
        option: RPCOption,
    ) -> Result<VoteResponse<GatewayId>, Failure> {
        match self.call(PeerRequest::Vote(rpc), option.hard_ttl()).await {
            Ok(PeerResponse::Vote(response)) => Ok(response),
            Ok(other) => Err(unexpected(&self.peer, other).into()),
            Err(error) => Err(failure(&error)),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<Types>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<GatewayId>, StreamingError<Types, Fatal<GatewayId>>> {
        tokio::select! {
            closed = cancel => Err(closed.into()),
            sent = self.send(vote, snapshot.meta, *snapshot.snapshot) => {
                sent.map(SnapshotResponse::new)
            }
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(PAUSE))
    }
}

/// For a gateway that is alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPeers;

#[async_trait]
impl PeerLink for NoPeers {
    async fn call(
        &self,
        _id: GatewayId,
        peer: &Peer,
        _request: PeerRequest,
        _within: Duration,
    ) -> Result<PeerResponse, PeerError> {
        let why = "this gateway has no certificate for others".into();
        Err(PeerError::NotSent { peer: peer.name.clone(), why })
    }
}
