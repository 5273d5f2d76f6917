//! What gateways say to each other, and the two doors that a transport connects: [`PeerLink`] sends
//! a request, [`PeerService`] answers it on the other side.
//!
//! Requests and responses are encoded with postcard. A request is one message and so is its answer;
//! each is at most [`MAX_MESSAGE`] bytes long.

use super::members::{Member, MemberChange, MemberStatus};
use super::snapshot::Page;
use super::types::{Answers, GatewayId, Group, LogId, Peer, SnapshotMeta, Types, Vote};
use crate::engine::repair::{RepairAnswer, RepairRequest};
use async_trait::async_trait;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The longest encoded message, in bytes.
pub const MAX_MESSAGE: usize = 32 << 20;

/// A request to another gateway.
#[derive(Debug, Serialize, Deserialize)]
pub enum PeerRequest {
    /// Raft: take these entries, or this sign of life.
    Append(AppendEntriesRequest<Types>),
    /// Raft: vote for me.
    Vote(VoteRequest<GatewayId>),
    /// Raft: take a snapshot, piece by piece.
    Snapshot {
        /// The leader that sends it.
        vote: Vote,
        /// What the snapshot is of.
        meta: SnapshotMeta,
        /// The piece.
        piece: SnapshotPiece,
    },
    /// To the leader: commit these commands.
    Propose(Group),
    /// To the leader: up to where must the log be applied to read what is current?
    ReadIndex,
    /// To the leader: who are the members, and how far are they?
    ListMembers,
    /// To the leader: change the members.
    Members(MemberChange),
    /// To any: how is it?
    Status,
    /// To the leader: for repair.
    Repair(RepairRequest),
}

/// A piece of a snapshot. Each is answered before the next is sent.
#[derive(Debug, Serialize, Deserialize)]
pub enum SnapshotPiece {
    /// A page, by its number from 0; page 0 begins anew.
    Page(u64, Page),
    /// There have been this many pages: install them.
    End(u64),
}

/// The answer to a [`PeerRequest`].
#[derive(Debug, Serialize, Deserialize)]
pub enum PeerResponse {
    /// To [`PeerRequest::Append`].
    Append(AppendEntriesResponse<GatewayId>),
    /// To [`PeerRequest::Vote`].
    Vote(VoteResponse<GatewayId>),
    /// To [`PeerRequest::Snapshot`]: the piece was taken. The vote is the one that the receiver
    /// knows; a greater one than the sender's tells it that it leads no more.
    Snapshot(Vote),
    /// To [`PeerRequest::Propose`]: what each command did.
    Proposed(Answers),
    /// To [`PeerRequest::ReadIndex`].
    ReadIndex(Option<LogId>),
    /// To [`PeerRequest::ListMembers`].
    Members(Vec<Member>),
    /// To [`PeerRequest::Members`]: it was done.
    Changed,
    /// To [`PeerRequest::Status`].
    Status(MemberStatus),
    /// To [`PeerRequest::Repair`].
    Repair(RepairAnswer),
    /// This gateway does not lead. Nothing was done.
    NotLeader {
        /// Who does, as far as it knows.
        leader: Option<GatewayId>,
    },
    /// It was tried, and whether it was done is not known.
    Unknown(String),
    /// It was not done.
    Refused(String),
}

/// No answer came from a peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The request did not leave: it has had no effect.
    #[error("gateway {peer} can't be reached: {why}")]
    NotSent {
        /// Who.
        peer: String,
        /// Why.
        why: String,
    },
    /// The request may have arrived: it may have had its effect.
    #[error("gateway {peer} gave no answer: {why}")]
    NoAnswer {
        /// Who.
        peer: String,
        /// Why.
        why: String,
    },
}

/// The way to other gateways.
#[async_trait]
pub trait PeerLink: Send + Sync + 'static {
    /// Sends a request to the gateway `id` at `peer` and waits at most `within` for its answer,
    /// connecting included. May be called any number of times at once; dropping the future gives
    /// the request up.
    ///
    /// # Errors
    /// [`PeerError`].
    async fn call(
        &self,
        id: GatewayId,
        peer: &Peer,
        request: PeerRequest,
        within: Duration,
    ) -> Result<PeerResponse, PeerError>;
}

/// A gateway's answers to the others.
#[async_trait]
pub trait PeerService: Send + Sync + 'static {
    /// Answers a request of another gateway, which the transport has authenticated. The future may
    /// be dropped when the other side has gone.
    async fn handle(&self, request: PeerRequest) -> PeerResponse;
}
