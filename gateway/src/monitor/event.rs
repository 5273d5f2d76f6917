//! What the monitor tells.

use crate::catalog::raft::types::GatewayId;
use coffer_core::health::{Reason, Space, Verdict};
use serde::{Serialize, Serializer};
use std::fmt;

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Something is not as it should be.
    Warning,
    /// It needs an operator.
    Critical,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        })
    }
}

/// Something that has changed. Nodes and gateways go by their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[allow(missing_docs)] // the fields are what their names say; sizes are in bytes, scores from 0 to 100
pub enum News {
    /// A node is judged otherwise than before.
    NodeHealth {
        node: String,
        from: Verdict,
        to: Verdict,
        score: u8,
        #[serde(serialize_with = "as_text")]
        reasons: Vec<Reason>,
    },
    /// A node does not answer.
    NodeSilent { node: String },
    /// It answers again.
    NodeBack { node: String },
    /// A node answers much later than the others.
    NodeSlow { node: String },
    /// It does not any more.
    NodeNormal { node: String },
    /// A node fills up, or has room again.
    NodeSpace { node: String, from: Space, to: Space, free_bytes: u64, total_bytes: u64 },
    /// A node has found shards damaged: the first of an episode, or twice as many as told before.
    DamageFound { node: String, shards: u64 },
    /// They are sound again.
    DamageMended { node: String, shards: u64 },
    /// A disk says worse of itself than before.
    DiskWarning {
        node: String,
        device: String,
        score: u8,
        #[serde(serialize_with = "as_text")]
        reasons: Vec<Reason>,
    },
    /// It says better of itself.
    DiskBetter { node: String, device: String, score: u8 },
    /// Shards are missing.
    RedundancyDegraded { owed_blobs: u64, damaged_shards: u64, waiting_blobs: u64 },
    /// None is any more.
    RedundancyWhole,
    /// The catalog could not be rebuilt from the journal as it is.
    JournalBehind { entries: u64, error: Option<String> },
    /// It could again.
    JournalCaughtUp,
    /// A gateway does not answer.
    GatewaySilent { gateway: String, gateway_id: GatewayId },
    /// It answers again.
    GatewayBack { gateway: String, gateway_id: GatewayId },
    /// Another gateway leads the catalog.
    LeaderChanged { from: Option<GatewayId>, to: GatewayId },
    /// None leads it: nothing can be written.
    NoLeader,
    /// A failing node is drained, as the settings want.
    DrainBegun {
        node: String,
        score: u8,
        #[serde(serialize_with = "as_text")]
        reasons: Vec<Reason>,
    },
    /// A failing node would be drained, but can't be now.
    DrainHeldBack { node: String, why: String },
}

fn as_text<S: Serializer>(reasons: &[Reason], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(reasons.iter().map(ToString::to_string))
}

impl News {
    /// Its name, as in JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NodeHealth { .. } => "node_health",
            Self::NodeSilent { .. } => "node_silent",
            Self::NodeBack { .. } => "node_back",
            Self::NodeSlow { .. } => "node_slow",
            Self::NodeNormal { .. } => "node_normal",
            Self::NodeSpace { .. } => "node_space",
            Self::DamageFound { .. } => "damage_found",
            Self::DamageMended { .. } => "damage_mended",
            Self::DiskWarning { .. } => "disk_warning",
            Self::DiskBetter { .. } => "disk_better",
            Self::RedundancyDegraded { .. } => "redundancy_degraded",
            Self::RedundancyWhole => "redundancy_whole",
            Self::JournalBehind { .. } => "journal_behind",
            Self::JournalCaughtUp => "journal_caught_up",
            Self::GatewaySilent { .. } => "gateway_silent",
            Self::GatewayBack { .. } => "gateway_back",
            Self::LeaderChanged { .. } => "leader_changed",
            Self::NoLeader => "no_leader",
            Self::DrainBegun { .. } => "drain_begun",
            Self::DrainHeldBack { .. } => "drain_held_back",
        }
    }

    /// How much it matters.
    pub fn severity(&self) -> Severity {
        match self {
            Self::NodeHealth { from, to, .. } if to < from => Severity::Info,
            Self::NodeHealth { to: Verdict::Failing, .. } | Self::NoLeader => Severity::Critical,
            Self::NodeSpace { from, to, .. } if to < from => Severity::Info,
            Self::NodeSpace { to: Space::Full, .. } | Self::DrainHeldBack { .. } => {
                Severity::Critical
            }
            Self::NodeHealth { .. }
            | Self::NodeSpace { .. }
            | Self::NodeSilent { .. }
            | Self::NodeSlow { .. }
            | Self::DamageFound { .. }
            | Self::DiskWarning { .. }
            | Self::RedundancyDegraded { .. }
            | Self::JournalBehind { .. }
            | Self::GatewaySilent { .. }
            | Self::DrainBegun { .. } => Severity::Warning,
            Self::NodeBack { .. }
            | Self::NodeNormal { .. }
            | Self::DamageMended { .. }
            | Self::DiskBetter { .. }
            | Self::RedundancyWhole
            | Self::JournalCaughtUp
            | Self::GatewayBack { .. }
            | Self::LeaderChanged { .. } => Severity::Info,
        }
    }
}

/// Reasons in one sentence's part.
pub(super) fn because(reasons: &[Reason]) -> String {
    let texts: Vec<String> = reasons.iter().map(ToString::to_string).collect();
    if texts.is_empty() { "no reason is left".to_owned() } else { texts.join("; ") }
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NodeHealth { node, from, to, score, reasons } => {
                let because = because(reasons);
                write!(f, "node {node} was {from} and is {to}, score {score}: {because}")
            }
            Self::NodeSilent { node } => write!(f, "node {node} does not answer"),
            Self::NodeBack { node } => write!(f, "node {node} answers again"),
            Self::NodeSlow { node } => write!(f, "node {node} answers much later than the others"),
            Self::NodeNormal { node } => {
                write!(f, "node {node} answers about as soon as the others again")
            }
            Self::NodeSpace { node, to, free_bytes, total_bytes, .. } => {
                let state = if *to == Space::Room { "has room again" } else { "fills up" };
                write!(
                    f,
                    "node {node} {state} ({to}): {free_bytes} of {total_bytes} bytes are free"
                )
            }
            Self::DamageFound { node, shards } => {
                write!(f, "node {node} has found {shards} damaged shards")
            }
            Self::DamageMended { node, shards } => {
                write!(f, "node {node} has no damaged shard any more; there were {shards}")
            }
            Self::DiskWarning { node, device, score, reasons } => {
                write!(f, "disk {device} of node {node} has score {score}: {}", because(reasons))
            }
            Self::DiskBetter { node, device, score } => {
                write!(f, "disk {device} of node {node} has score {score} again")
            }
            Self::RedundancyDegraded { owed_blobs, damaged_shards, waiting_blobs } => write!(
                f,
                "redundancy is not whole: {owed_blobs} blobs owe shards, {damaged_shards} shards are damaged, {waiting_blobs} blobs wait for repair"
            ),
            Self::RedundancyWhole => f.write_str("redundancy is whole again"),
            Self::JournalBehind { entries, error } => {
                write!(f, "the journal lacks {entries} entries of the catalog's log")?;
                error.as_ref().map_or(Ok(()), |error| write!(f, ": {error}"))
            }
            Self::JournalCaughtUp => f.write_str("the journal has caught up with the catalog"),
            Self::GatewaySilent { gateway, gateway_id } => {
                write!(f, "gateway {gateway} ({gateway_id}) does not answer")
            }
            Self::GatewayBack { gateway, gateway_id } => {
                write!(f, "gateway {gateway} ({gateway_id}) answers again")
            }
            Self::LeaderChanged { to, .. } => write!(f, "gateway {to} leads the catalog now"),
            Self::NoLeader => f.write_str("no gateway leads the catalog: nothing can be written"),
            Self::DrainBegun { node, score, reasons } => {
                write!(
                    f,
                    "node {node} is failing and is drained, score {score}: {}",
                    because(reasons)
                )
            }
            Self::DrainHeldBack { node, why } => {
                write!(f, "node {node} is failing and can't be drained now: {why}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_core::health::Operation;

    #[test]
    fn names_and_texts_in_json_are_those_for_people() {
        let slow = Reason::SlowerThanPeers { operation: Operation::Sync, times: 12 };
        let (node, from, to) = ("node-1".to_owned(), Verdict::Healthy, Verdict::Watch);
        let all = [
            News::NodeHealth { node: node.clone(), from, to, score: 50, reasons: vec![slow] },
            News::DamageFound { node, shards: 3 },
            News::RedundancyWhole,
            News::JournalBehind { entries: 4, error: None },
            News::LeaderChanged { from: None, to: GatewayId(2) },
        ];
        for news in &all {
            assert_eq!(serde_json::to_value(news).unwrap()["kind"], news.kind());
        }
        let json = serde_json::to_value(&all[0]).unwrap();
        assert_eq!(json["to"], "watch");
        assert_eq!(json["reasons"][0], "fsyncs take 12 times as long as on other nodes");
        assert!(all[0].to_string().contains("was healthy and is watch, score 50: fsyncs take"));
    }

    #[test]
    fn worse_is_a_warning_and_better_is_not() {
        let judged = |from, to| {
            let node = String::new();
            News::NodeHealth { node, from, to, score: 0, reasons: vec![] }.severity()
        };
        assert_eq!(judged(Verdict::Healthy, Verdict::Watch), Severity::Warning);
        assert_eq!(judged(Verdict::Watch, Verdict::Failing), Severity::Critical);
        assert_eq!(judged(Verdict::Failing, Verdict::Watch), Severity::Info);
    }
}
