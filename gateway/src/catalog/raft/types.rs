//! What the replicated log is made of: who its members are, what its entries hold, and what
//! applying them gives.

use super::snapshot::Pages;
use coffer_core::catalog::{CatalogError, Command, Outcome};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A gateway, for life, as a member of the catalog's raft.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct GatewayId(pub u64);

impl fmt::Display for GatewayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Where a gateway is to be found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// What people call it.
    pub name: String,
    /// Where its service for other gateways listens: `host:port`.
    pub address: String,
    /// Where it serves S3: a URL.
    pub endpoint: String,
}

/// An entry of the log: commands that are made durable together and applied one after the other.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Group(pub Vec<Command>);

/// What the commands of a group did, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers(pub Vec<Result<Outcome, CatalogError>>);

openraft::declare_raft_types!(
    /// The types of the catalog's raft.
    #[allow(missing_docs)]
    pub Types:
        D = Group,
        R = Answers,
        NodeId = GatewayId,
        Node = Peer,
        SnapshotData = Box<dyn Pages>,
);

/// A position in the log: its term, leader and index.
pub type LogId = openraft::LogId<GatewayId>;
/// An entry of the log with its position.
pub type Entry = openraft::Entry<Types>;
/// A vote, as it is stored and sent.
pub type Vote = openraft::Vote<GatewayId>;
/// Who votes and who only learns, as of a position in the log.
pub type Membership = openraft::StoredMembership<GatewayId, Peer>;
/// What a snapshot is of.
pub type SnapshotMeta = openraft::SnapshotMeta<GatewayId, Peer>;
