//! How the cluster is now, as one gateway sees it.

use super::Monitor;
use super::cluster::{GatewaySeen, JournalSeen, Redundancy};
use super::node::NodeWatch;
use super::problems::{self, Problem};
use crate::catalog::raft::types::GatewayId;
use coffer_core::health::{Health, MeanLatency, Space, Verdict, assess_disk};
use coffer_core::placement::{NodeEntry, NodeState};
use coffer_core::repair::Standing;
use coffer_core::shard::{CompactionStat, DiskReport, NodeStat, ScrubStat};
use serde::Serialize;

/// All of it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The gateway that says so, and its name.
    pub gateway: GatewayId,
    /// What people call it.
    pub gateway_name: String,
    /// When it has last looked, in Unix milliseconds.
    pub at_ms: u64,
    /// How it is on the whole: failing if something needs an operator.
    pub overall: Verdict,
    /// What is not as it should be, the worst first.
    pub problems: Vec<Problem>,
    /// The storage nodes.
    pub nodes: Vec<NodeReport>,
    /// The gateways.
    pub gateways: Vec<GatewaySeen>,
    /// Whether no gateway leads.
    pub leaderless: bool,
    /// What is missing of the redundancy.
    pub redundancy: Redundancy,
    /// The journal, at the gateway that writes it.
    pub journal: Option<JournalSeen>,
}

/// A storage node.
#[derive(Debug, Clone, Serialize)]
pub struct NodeReport {
    /// What people call it.
    pub name: String,
    /// What is wanted of it.
    pub state: NodeState,
    /// How this gateway finds it.
    pub standing: Standing,
    /// How it is, as it was told last.
    pub verdict: Verdict,
    /// 100 is without fault, 0 is lost.
    pub score: u8,
    /// Why it is not 100; the worst first.
    pub reasons: Vec<String>,
    /// How full it is.
    pub space: Space,
    /// What it last said of itself; `None` if it has said nothing yet.
    pub figures: Option<Figures>,
}

/// What a node says of itself. Counters begin at 0 when it is started.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// Shards that it holds.
    pub shards: u64,
    /// Bytes in them.
    pub live_bytes: u64,
    /// Bytes that it can still take.
    pub free_bytes: u64,
    /// Bytes of its file system.
    pub total_bytes: u64,
    /// Operations on its disk, by kind.
    pub operations: [OperationReport; 4],
    /// Shards that it has found damaged, not mended yet.
    pub findings: u64,
    /// Shards that it has found damaged.
    pub corrupt: u64,
    /// How far its scrub is.
    pub scrub: ScrubStat,
    /// The space that dead shards take, and what was got back of it.
    pub compaction: CompactionStat,
    /// Its disks, where they say something.
    pub disks: Vec<DiskView>,
}

/// One kind of operation on a node's disk.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct OperationReport {
    /// `read`, `scrub`, `write` or `sync`.
    pub operation: &'static str,
    /// How many there were.
    pub count: u64,
    /// How many failed.
    pub errors: u64,
    /// How long they take of late: the mean in microseconds, if there were enough.
    pub mean_us: Option<u64>,
    /// The median of the same on the other nodes.
    pub peers_us: Option<u64>,
}

/// One disk of a node.
#[derive(Debug, Clone, Serialize)]
pub struct DiskView {
    /// 100 is without fault.
    pub score: u8,
    /// How it is by that.
    pub verdict: Verdict,
    /// Why.
    pub reasons: Vec<String>,
    /// What it says of itself.
    #[serde(flatten)]
    pub figures: DiskReport,
}

impl Monitor {
    /// How the cluster is; `None` before the first look.
    pub fn report(&self) -> Option<Report> {
        let map = self.watched.engine.nodes().map();
        let here = map.members();
        let state = self.state();
        if state.looks == 0 {
            return None;
        }
        let latency = |node: &NodeEntry| state.nodes.get(&node.id).map(NodeWatch::latency);
        let nodes: Vec<NodeReport> = here
            .clone()
            .map(|node| {
                let peers: Vec<MeanLatency> =
                    here.clone().filter(|other| other.id != node.id).filter_map(latency).collect();
                let standing = self.watched.repairer.standing(node.id);
                describe(node, standing, state.nodes.get(&node.id), &peers)
            })
            .collect();
        let seen = state.cluster.last();
        let mut report = Report {
            gateway: self.watched.id,
            gateway_name: self.watched.name.clone(),
            at_ms: state.at_ms,
            overall: Verdict::Healthy,
            problems: Vec::new(),
            nodes,
            gateways: seen.gateways.clone(),
            leaderless: state.cluster.is_leaderless(),
            redundancy: seen.redundancy.clone(),
            journal: seen.journal.clone(),
        };
        report.problems = problems::of(&report, state.cluster.is_journal_behind());
        report.overall = problems::overall(&report.problems);
        Some(report)
    }
}

fn describe(
    node: &NodeEntry,
    standing: Standing,
    watch: Option<&NodeWatch>,
    peers: &[MeanLatency],
) -> NodeReport {
    let health = watch.map(NodeWatch::health);
    NodeReport {
        name: node.name.clone(),
        state: node.state,
        standing,
        verdict: watch.map_or(Verdict::Healthy, NodeWatch::verdict),
        score: health.map_or(100, |health| health.score),
        reasons: health.map_or_else(Vec::new, texts),
        space: watch.map_or(Space::Room, NodeWatch::space),
        figures: watch.and_then(|w| w.last().map(|stat| figures(stat, w.latency(), peers))),
    }
}

fn texts(health: &Health) -> Vec<String> {
    health.reasons.iter().map(ToString::to_string).collect()
}

fn figures(stat: &NodeStat, mean: MeanLatency, peers: &[MeanLatency]) -> Figures {
    let median = |of: fn(&MeanLatency) -> Option<u64>| {
        let mut others: Vec<u64> = peers.iter().filter_map(of).collect();
        others.sort_unstable();
        others.get(others.len() / 2).copied()
    };
    let report =
        |operation, stat: &coffer_core::shard::OpStat, of: fn(&MeanLatency) -> Option<u64>| {
            let (count, errors) = (stat.latencies.count(), stat.errors);
            OperationReport { operation, count, errors, mean_us: of(&mean), peers_us: median(of) }
        };
    let disks = stat.disks.iter().map(|disk| {
        let health = assess_disk(disk);
        DiskView {
            score: health.score,
            verdict: health.verdict,
            reasons: texts(&health),
            figures: disk.clone(),
        }
    });
    Figures {
        shards: stat.shards,
        live_bytes: stat.live_bytes,
        free_bytes: stat.free_bytes,
        total_bytes: stat.total_bytes,
        operations: [
            report("read", &stat.io.reads, |m| m.read_us),
            report("scrub", &stat.io.scrub_reads, |m| m.scrub_us),
            report("write", &stat.io.writes, |m| m.write_us),
            report("sync", &stat.io.syncs, |m| m.sync_us),
        ],
        findings: stat.findings,
        corrupt: stat.corrupt,
        scrub: stat.scrub.clone(),
        compaction: stat.compaction,
        disks: disks.collect(),
    }
}
