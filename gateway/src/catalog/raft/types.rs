//! What the replicated log is made of: who its members are, what its entries hold, and what
//! applying them gives.

use super::snapshot::SnapshotData;
use bytes::Bytes;
use coffer_core::catalog::{CatalogError, Command, KvError, Outcome, Table};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A gateway, for life, as a member of the catalog's raft.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct GatewayId(pub u64);

impl From<u64> for GatewayId {
    fn from(id: u64) -> Self {
        Self(id)
    }
}

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

/// A command as the log holds it.
#[derive(Clone, PartialEq, Eq)]
pub struct Encoded(Bytes);

/// The version of the encoding of commands.
const VERSION: u8 = 1;

impl Encoded {
    /// The longest that is taken, in bytes.
    pub const MAX: usize = 8 << 20;

    /// Encodes a command.
    ///
    /// # Errors
    /// When it is too long.
    pub fn new(command: &Command) -> Result<Self, CatalogError> {
        let bytes = postcard::to_extend(command, vec![VERSION])
            .map_err(|e| CatalogError::Unavailable(format!("a command can't be encoded: {e}")))?;
        if bytes.len() > Self::MAX {
            let len = bytes.len();
            return Err(CatalogError::Unavailable(format!("a command of {len} bytes is too long")));
        }
        Ok(Self(bytes.into()))
    }

    /// The command.
    ///
    /// # Errors
    /// [`KvError::Corrupt`] when it is of a version that is not known here, or damaged.
    pub fn decode(&self) -> Result<Command, KvError> {
        let corrupt = |why: String| KvError::Corrupt { table: Table::Log, why };
        match self.0.split_first() {
            Some((&VERSION, body)) => {
                postcard::from_bytes(body).map_err(|e| corrupt(format!("a command: {e}")))
            }
            Some((v, _)) => Err(corrupt(format!(
                "a command of version {v}, from a newer gateway: bring this one up to date"
            ))),
            None => Err(corrupt("an empty command".into())),
        }
    }

    /// Its length in bytes.
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// As the log holds it.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Encoded {
    /// A command as the log held it; whether it is one, decoding tells.
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl Serialize for Encoded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Encoded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes: &[u8] = Deserialize::deserialize(deserializer)?;
        Ok(Self(Bytes::copy_from_slice(bytes)))
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Encoded({} bytes)", self.0.len())
    }
}

/// An entry of the log: commands that are made durable together and applied one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group(pub Vec<Encoded>);

impl Group {
    /// The length of its commands in bytes.
    pub fn size(&self) -> usize {
        self.0.iter().map(Encoded::size).sum()
    }
}

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
        SnapshotData = SnapshotData,
);

/// A position in the log: its term, leader and index.
pub type LogId = openraft::LogId<GatewayId>;
/// An entry of the log with its position.
pub type Entry = openraft::Entry<Types>;
/// A vote, as it is stored and sent.
pub type Vote = openraft::Vote<GatewayId>;
/// Who votes and who only learns, as of a position in the log.
pub type Membership = openraft::StoredMembership<GatewayId, Peer>;
/// The state of a raft, as its member sees it.
pub type Metrics = openraft::RaftMetrics<GatewayId, Peer>;
/// What a snapshot is of.
pub type SnapshotMeta = openraft::SnapshotMeta<GatewayId, Peer>;
