//! The cluster as a whole, as it was seen poll after poll: its gateways, its redundancy, the journal.

use super::event::News;
use crate::catalog::raft::types::GatewayId;
use crate::engine::repair::RepairStatus;
use crate::journal::writer::JournalStatus;
use coffer_core::health::{Patience, Steady};
use coffer_core::repair::Urgency;
use serde::Serialize;
use std::collections::BTreeMap;

/// Entries of the log that the journal may lack while it keeps up.
const JOURNAL_LAG: u64 = 1024;

/// A gateway, as it was last seen.
#[derive(Debug, Clone, Serialize)]
pub struct GatewaySeen {
    /// Its number.
    pub id: GatewayId,
    /// What people call it.
    pub name: String,
    /// `leader`, `voter` or `learner`.
    pub role: &'static str,
    /// Whether it answers.
    pub reachable: bool,
    /// The last entry of the log that it has applied.
    pub applied: Option<u64>,
    /// Entries of the log that it lacks, as the leader knows it.
    pub behind: Option<u64>,
}

/// What is missing of the redundancy. What waits for repair is what the gateway says that leads;
/// `None` if it can't be asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Redundancy {
    /// Whether no shard is known to be missing.
    pub whole: bool,
    /// Blobs of which shards are still to be written.
    pub owed_blobs: u64,
    /// Whether there are more of them than were counted.
    pub owed_more: bool,
    /// Shards that nodes have found damaged, until they are stored anew or deleted: one that was
    /// rebuilt elsewhere counts until it is collected as garbage.
    pub damaged_shards: u64,
    /// Nodes that have been silent for so long that their shards are rebuilt on others.
    pub lost_nodes: Vec<String>,
    /// Blobs that miss shards and wait for repair.
    pub missing_blobs: Option<u64>,
    /// Blobs with shards that are not where they belong, in the queue of repair.
    pub misplaced_blobs: Option<u64>,
}

impl Redundancy {
    /// Puts together what is known.
    pub(super) fn new(
        owed: (u64, bool),
        damaged_shards: u64,
        lost_nodes: Vec<String>,
        repair: Option<&RepairStatus>,
    ) -> Self {
        let waiting = |missing: bool| {
            let queue = repair.map(|repair| &repair.queue);
            queue.map(|queue| {
                let is = |urgency: Urgency| matches!(urgency, Urgency::Missing { .. });
                let some = queue.iter().filter(|queued| is(queued.urgency) == missing);
                some.map(|queued| u64::try_from(queued.blobs).unwrap_or(u64::MAX)).sum()
            })
        };
        let missing_blobs = waiting(true);
        // A lost node's shards are missing until a pass over all blobs has found none of them.
        let passed = repair.is_some_and(|repair| !repair.pass.hurries);
        let whole = owed.0 == 0
            && damaged_shards == 0
            && (lost_nodes.is_empty() || passed)
            && missing_blobs.unwrap_or(0) == 0;
        Self {
            whole,
            owed_blobs: owed.0,
            owed_more: owed.1,
            damaged_shards,
            lost_nodes,
            missing_blobs,
            misplaced_blobs: waiting(false),
        }
    }
}

/// The journal, as the gateway that writes it last saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JournalSeen {
    /// Whether the catalog could not be rebuilt as it is.
    pub is_behind: bool,
    /// Entries of the log that it lacks.
    pub lag: u64,
    /// The entry that its newest snapshot is of.
    pub snapshot: Option<u64>,
    /// What went wrong last, if it has not been done since.
    pub error: Option<String>,
}

impl JournalSeen {
    /// `None` where this gateway does not write it.
    pub(super) fn of(status: &JournalStatus) -> Option<Self> {
        let (lag, error) = (status.lag(), status.error.clone());
        let is_behind = error.is_some() || !status.whole || lag > JOURNAL_LAG;
        status.writes.then_some(Self { is_behind, lag, snapshot: status.snapshot, error })
    }
}

/// What one poll gave.
#[derive(Debug, Clone, Default)]
pub(super) struct ClusterSeen {
    pub(super) gateways: Vec<GatewaySeen>,
    pub(super) leader: Option<GatewayId>,
    pub(super) redundancy: Redundancy,
    pub(super) journal: Option<JournalSeen>,
}

/// What is remembered.
#[derive(Debug)]
pub(super) struct ClusterWatch {
    soon: Patience,
    gateways: BTreeMap<GatewayId, Steady<bool>>,
    /// Whether nobody leads.
    leaderless: Steady<bool>,
    leader: Option<GatewayId>,
    degraded: Steady<bool>,
    behind: Steady<bool>,
    last: ClusterSeen,
}

impl ClusterWatch {
    pub(super) fn new(patience: Patience) -> Self {
        let soon = Patience { better: 1, ..patience };
        Self {
            soon,
            gateways: BTreeMap::new(),
            leaderless: Steady::new(false, soon),
            leader: None,
            degraded: Steady::new(false, soon),
            behind: Steady::new(false, soon),
            last: ClusterSeen::default(),
        }
    }

    pub(super) fn last(&self) -> &ClusterSeen {
        &self.last
    }

    pub(super) fn is_leaderless(&self) -> bool {
        self.leaderless.get()
    }

    pub(super) fn is_journal_behind(&self) -> bool {
        self.behind.get()
    }

    pub(super) fn see(&mut self, seen: ClusterSeen) -> Vec<News> {
        let mut news = self.see_gateways(&seen);
        let Redundancy { whole, owed_blobs, damaged_shards, missing_blobs, .. } = seen.redundancy;
        if self.degraded.see(!whole).is_some() {
            let waiting_blobs = missing_blobs.unwrap_or(0);
            news.push(match self.degraded.get() {
                true => News::RedundancyDegraded { owed_blobs, damaged_shards, waiting_blobs },
                false => News::RedundancyWhole,
            });
        }
        match &seen.journal {
            Some(journal) if self.behind.see(journal.is_behind).is_some() => {
                let (entries, error) = (journal.lag, journal.error.clone());
                news.push(match self.behind.get() {
                    true => News::JournalBehind { entries, error },
                    false => News::JournalCaughtUp,
                });
            }
            Some(_) => {}
            // Another gateway writes it now, and tells of it.
            None => self.behind = Steady::new(false, self.soon),
        }
        self.last = seen;
        news
    }

    fn see_gateways(&mut self, seen: &ClusterSeen) -> Vec<News> {
        let mut news = Vec::new();
        self.gateways.retain(|id, _| seen.gateways.iter().any(|gateway| gateway.id == *id));
        for gateway in &seen.gateways {
            let first = || Steady::new(false, self.soon);
            let silent = self.gateways.entry(gateway.id).or_insert_with(first);
            if silent.see(!gateway.reachable).is_some() {
                let (gateway_id, name) = (gateway.id, gateway.name.clone());
                news.push(match silent.get() {
                    true => News::GatewaySilent { gateway: name, gateway_id },
                    false => News::GatewayBack { gateway: name, gateway_id },
                });
            }
        }
        let before = self.leaderless.see(seen.leader.is_none());
        if before == Some(false) {
            news.push(News::NoLeader);
        }
        if let Some(to) = seen.leader {
            let from = self.leader.replace(to);
            let returned = before == Some(true);
            // The first one that is seen is no change.
            if from.is_some_and(|from| from != to) || returned {
                news.push(News::LeaderChanged { from, to });
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(leader: Option<u64>, third: bool) -> ClusterSeen {
        let gateway = |id, reachable| GatewaySeen {
            id: GatewayId(id),
            name: format!("gateway-{id}"),
            role: "voter",
            reachable,
            applied: Some(1),
            behind: None,
        };
        ClusterSeen {
            gateways: vec![gateway(1, true), gateway(2, true), gateway(3, third)],
            leader: leader.map(GatewayId),
            redundancy: Redundancy { whole: true, ..Redundancy::default() },
            journal: None,
        }
    }

    fn polls(watch: &mut ClusterWatch, times: usize, seen: &ClusterSeen) -> Vec<News> {
        (0..times).flat_map(|_| watch.see(seen.clone())).collect()
    }

    fn watch() -> ClusterWatch {
        ClusterWatch::new(Patience { worse: 2, better: 5 })
    }

    #[test]
    fn leaders_and_gateways_come_and_go() {
        let mut watch = watch();
        assert_eq!(polls(&mut watch, 5, &seen(Some(1), true)), []);
        let (from, to, gateway_id) = (Some(GatewayId(1)), GatewayId(2), GatewayId(3));
        let gateway = "gateway-3".to_owned();
        let told = polls(&mut watch, 5, &seen(Some(2), false));
        let silent = News::GatewaySilent { gateway: gateway.clone(), gateway_id };
        assert_eq!(told, [News::LeaderChanged { from, to }, silent]);
        assert_eq!(polls(&mut watch, 1, &seen(None, false)), [], "an election is soon over");
        assert_eq!(polls(&mut watch, 5, &seen(Some(2), false)), []);
        assert_eq!(polls(&mut watch, 5, &seen(None, false)), [News::NoLeader]);
        assert!(watch.is_leaderless());
        let told = polls(&mut watch, 5, &seen(Some(1), true));
        let leads = News::LeaderChanged { from: Some(to), to: GatewayId(1) };
        assert_eq!(told, [News::GatewayBack { gateway, gateway_id }, leads]);
        // One that was removed is no loss.
        let mut two = seen(Some(1), true);
        two.gateways.pop();
        assert_eq!(polls(&mut watch, 5, &two), []);
    }

    #[test]
    fn redundancy_and_the_journal_are_told_once_each_way() {
        let mut watch = watch();
        let mut worse = seen(Some(1), true);
        worse.redundancy = Redundancy::new((3, false), 1, vec![], None);
        let error = Some("two nodes are away".to_owned());
        worse.journal = Some(JournalSeen { is_behind: true, lag: 9, snapshot: None, error });
        let told = polls(&mut watch, 9, &worse);
        assert_eq!(
            told.iter().map(News::kind).collect::<Vec<_>>(),
            ["redundancy_degraded", "journal_behind"]
        );
        assert!(watch.is_journal_behind());
        let mut better = seen(Some(1), true);
        better.journal =
            Some(JournalSeen { is_behind: false, lag: 0, snapshot: None, error: None });
        let told = polls(&mut watch, 9, &better);
        assert_eq!(told, [News::RedundancyWhole, News::JournalCaughtUp]);
        polls(&mut watch, 9, &worse);
        let told = polls(&mut watch, 9, &seen(Some(2), true));
        let kinds = told.iter().map(News::kind).collect::<Vec<_>>();
        assert_eq!(kinds, ["leader_changed", "redundancy_whole"], "the next leader tells the rest");
    }

    #[test]
    fn a_lost_node_is_made_up_for_when_the_leader_has_looked_at_all_blobs() {
        let lost = vec!["node-1".to_owned()];
        assert!(!Redundancy::new((0, false), 0, lost, None).whole, "it can't be known");
        assert!(Redundancy::new((0, false), 0, vec![], None).whole);
        assert!(!Redundancy::new((1, false), 0, vec![], None).whole);
    }
}
