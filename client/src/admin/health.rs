//! How the cluster is, and what has happened.

use super::call;
use crate::client::Client;
use crate::error::Error;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How something is, for those who must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing to do.
    Healthy,
    /// Something is not as it should be, and the cluster sees to it; or it is an early warning.
    Watch,
    /// An operator is needed.
    Failing,
}

/// How the cluster is, as one gateway sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HealthReport {
    /// The number of the gateway that says so.
    pub gateway: u64,
    /// What people call it.
    pub gateway_name: String,
    /// When it has last looked, in Unix milliseconds.
    pub at_ms: u64,
    /// How it is on the whole: failing if something needs an operator.
    pub overall: Verdict,
    /// What is not as it should be, the worst first.
    pub problems: Vec<Problem>,
    /// The storage nodes.
    pub nodes: Vec<NodeHealth>,
    /// The gateways.
    pub gateways: Vec<GatewayHealth>,
    /// Whether no gateway leads.
    pub leaderless: bool,
    /// What is missing of the redundancy.
    pub redundancy: Redundancy,
    /// The journal, at the gateway that writes it.
    pub journal: Option<JournalHealth>,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Whether it needs an operator.
    pub needs_operator: bool,
    /// What it is, and what to do.
    pub text: String,
}

/// A storage node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeHealth {
    /// What people call it.
    pub name: String,
    /// What is wanted of it: `active`, `draining`.
    pub state: String,
    /// How the gateway finds it: `up`, `slow`, `full`, `away`, `lost`.
    pub standing: String,
    /// How it is.
    pub verdict: Verdict,
    /// 100 is without fault, 0 is lost.
    pub score: u8,
    /// Why it is not 100; the worst first.
    pub reasons: Vec<String>,
    /// How full it is: `room`, `nearly-full`, `full`.
    pub space: String,
    /// What it last said of itself.
    pub figures: Option<NodeFigures>,
}

/// What a node says of itself. Counters begin at 0 when it is started; sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeFigures {
    /// Shards that it holds.
    pub shards: u64,
    /// Bytes in them.
    pub live_bytes: u64,
    /// Bytes that it can still take.
    pub free_bytes: u64,
    /// Bytes of its file system.
    pub total_bytes: u64,
    /// Operations on its disk, by kind.
    pub operations: Vec<Operations>,
    /// Shards that it has found damaged, not mended yet.
    pub findings: u64,
    /// Shards that it has found damaged.
    pub corrupt: u64,
    /// How far its scrub is.
    pub scrub: Scrub,
    /// The space that dead shards take, and what was got back of it.
    pub compaction: Compaction,
    /// Its disks, where they say something.
    pub disks: Vec<DiskHealth>,
}

/// One kind of operation on a node's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operations {
    /// `read`, `scrub`, `write` or `sync`.
    pub operation: String,
    /// How many there were.
    pub count: u64,
    /// How many failed.
    pub errors: u64,
    /// How long they take of late: the mean in microseconds.
    pub mean_us: Option<u64>,
    /// The median of the same on the other nodes.
    pub peers_us: Option<u64>,
}

/// How far a scrub is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scrub {
    /// Bytes verified in this round.
    pub verified_bytes: u64,
    /// Bytes that the round is over.
    pub total_bytes: u64,
    /// Rounds that were completed.
    pub rounds: u64,
    /// The pace in bytes a second; 0 when it is off.
    pub bytes_per_second: u64,
}

/// The space that dead shards take on a node, and what compaction has got back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compaction {
    /// Bytes that the volumes take on disk beyond the records of live shards.
    pub dead_bytes: u64,
    /// Volumes that were removed.
    pub volumes: u64,
    /// Bytes that were copied out of them.
    pub copied_bytes: u64,
    /// Bytes that they took on disk.
    pub freed_bytes: u64,
    /// The volume that is being compacted.
    pub current: Option<u32>,
    /// Volumes that are left alone for now: they hold damaged records, or could not be read.
    pub held_back: u32,
    /// Whether volumes wait because there is no space for the copies.
    pub short_of_space: bool,
    /// The pace in bytes a second; 0 when it is off.
    pub bytes_per_second: u64,
}

/// A disk of a node, by what it says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiskHealth {
    /// The device's name on the node.
    pub device: String,
    /// The maker's name for it.
    pub model: String,
    /// 100 is without fault.
    pub score: u8,
    /// How it is.
    pub verdict: Verdict,
    /// Why.
    pub reasons: Vec<String>,
    /// Temperature in degrees Celsius.
    pub temperature_celsius: Option<u64>,
    /// Its other SMART figures, by name.
    #[serde(flatten)]
    pub figures: serde_json::Map<String, Value>,
}

/// A gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayHealth {
    /// Its number.
    pub id: u64,
    /// What people call it.
    pub name: String,
    /// `leader`, `voter` or `learner`.
    pub role: String,
    /// Whether it answers the gateway that was asked.
    pub reachable: bool,
    /// The last entry of the log that it has applied.
    pub applied: Option<u64>,
    /// Entries of the log that it lacks.
    pub behind: Option<u64>,
}

/// What is missing of the redundancy. What waits for repair is known only while some gateway leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redundancy {
    /// Whether no shard is known to be missing.
    pub whole: bool,
    /// Blobs of which shards are still to be written.
    pub owed_blobs: u64,
    /// Whether there are more of them than were counted.
    pub owed_more: bool,
    /// Shards that nodes have found damaged.
    pub damaged_shards: u64,
    /// Nodes that have been silent for so long that their shards are rebuilt on others.
    pub lost_nodes: Vec<String>,
    /// Blobs that miss shards and wait for repair.
    pub missing_blobs: Option<u64>,
    /// Blobs with shards that are not where they belong.
    pub misplaced_blobs: Option<u64>,
}

/// The journal of the catalog on the storage nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalHealth {
    /// Whether the catalog could not be rebuilt from it as it is.
    pub is_behind: bool,
    /// Entries of the log that it lacks.
    pub lag: u64,
    /// The entry that its newest snapshot is of.
    pub snapshot: Option<u64>,
    /// What went wrong last.
    pub error: Option<String>,
}

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its number, from 1 on in each run of the gateway.
    pub id: u64,
    /// When, in Unix milliseconds.
    pub at_ms: u64,
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// What kind of event it is, such as `node_health`.
    pub kind: String,
    /// For people.
    pub message: String,
    /// What else belongs to it: the node, the score and so on.
    #[serde(flatten)]
    pub details: serde_json::Map<String, Value>,
}

/// Events that one gateway remembers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Events {
    /// The gateway's number. Each remembers its own.
    pub gateway: u64,
    /// What people call it.
    pub gateway_name: String,
    /// When it was started: the numbers begin anew then.
    pub run: u64,
    /// The number of the last event that has happened.
    pub last: u64,
    /// Whether some of those that were asked for are forgotten.
    pub forgotten: bool,
    /// Some of them, in order; the next ones are those after the last of them.
    pub events: Vec<Event>,
}

impl Client {
    /// How the cluster is, as the gateway that answers sees it.
    ///
    /// # Errors
    /// Of kind [`crate::ErrorKind::AccessDenied`], or as for any request.
    pub async fn health(&self) -> Result<HealthReport, Error> {
        let answer = call(Method::GET, "health").send(self).await?;
        serde_json::from_slice(&answer.body).map_err(|error| answer.nonsense(error))
    }

    /// What has happened, as far as the gateway that answers remembers it: events with numbers over
    /// `after`.
    ///
    /// # Errors
    /// As [`Client::health`].
    pub async fn events(&self, after: u64) -> Result<Events, Error> {
        let request = call(Method::GET, "events").query("since", after.to_string());
        let answer = request.send(self).await?;
        serde_json::from_slice(&answer.body).map_err(|error| answer.nonsense(error))
    }
}
