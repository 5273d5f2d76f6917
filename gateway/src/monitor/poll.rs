//! One look at everything.

use super::Monitor;
use super::cluster::{ClusterSeen, GatewaySeen, JournalSeen, Redundancy};
use super::event::News;
use super::node::NodeWatch;
use crate::catalog::raft::members::{Member, Role};
use crate::engine::repair::RepairStatus;
use coffer_core::catalog::{CatalogError, Scope};
use coffer_core::health::MeanLatency;
use coffer_core::ids::{BlobId, NodeId};
use coffer_core::repair::Standing;
use coffer_core::shard::NodeStat;
use std::collections::HashMap;

/// The most blobs with owed shards that are counted, and how many at a time.
const OWED_COUNTED: u64 = 4096;
const OWED_PAGE: usize = 512;

impl Monitor {
    /// Looks at nodes, gateways, redundancy and journal, tells what has changed, and acts on it.
    pub async fn look(&self) {
        let repair = self.watched.repairer.status_of_leader();
        let (stats, gateways, repair) = tokio::join!(self.ask_nodes(), self.ask_gateways(), repair);
        let owed = self.count_owed().await.unwrap_or_else(|error| {
            tracing::debug!(%error, "what is owed can't be counted now");
            (0, false)
        });
        let repair = repair.ok().filter(|status| status.leads);
        for news in self.learn(stats, gateways, owed, repair) {
            self.events.tell((self.now_ms)(), news);
        }
        self.drain_failing().await;
    }

    async fn ask_nodes(&self) -> Vec<(NodeId, String, Option<NodeStat>)> {
        let nodes = self.watched.engine.nodes();
        let map = nodes.map();
        let ask = map.members().map(|node| async {
            let stat = nodes.ask_stat(node.id, self.config.answer).await;
            (node.id, node.name.clone(), stat.ok())
        });
        futures::future::join_all(ask).await
    }

    async fn ask_gateways(&self) -> Vec<GatewaySeen> {
        let catalog = &self.watched.catalog;
        let members = catalog.members().await.into_iter().map(|member| async move {
            let Member { id, peer, role, lag, .. } = member;
            let status = catalog.status(id, &peer).await.ok();
            GatewaySeen {
                id,
                name: peer.name,
                role: role.name(),
                reachable: status.is_some(),
                applied: status.and_then(|status| status.applied),
                behind: lag,
            }
        });
        futures::future::join_all(members).await
    }

    /// How many blobs owe shards, and whether there are more.
    async fn count_owed(&self) -> Result<(u64, bool), CatalogError> {
        let (mut count, mut after) = (0u64, None);
        while count < OWED_COUNTED {
            let page: Vec<BlobId> =
                self.watched.catalog.read(Scope::Hidden, |c| c.owed(after, OWED_PAGE)).await?;
            count = count.saturating_add(u64::try_from(page.len()).unwrap_or(u64::MAX));
            after = page.last().copied();
            if page.len() < OWED_PAGE {
                return Ok((count, false));
            }
        }
        Ok((count, true))
    }

    /// Takes in what was seen; what is news of it.
    fn learn(
        &self,
        stats: Vec<(NodeId, String, Option<NodeStat>)>,
        gateways: Vec<GatewaySeen>,
        owed: (u64, bool),
        repair: Option<RepairStatus>,
    ) -> Vec<News> {
        let nodes = self.watched.engine.nodes();
        let at_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut state = self.state();
        state.nodes.retain(|id, _| stats.iter().any(|(node, ..)| node == id));
        let mut news = Vec::new();
        for (id, name, stat) in &stats {
            let first = || NodeWatch::new(self.config.patience);
            let watch = state.nodes.entry(*id).or_insert_with(first);
            news.extend(watch.see(name, at_ms, stat.as_ref()));
        }
        let latencies: HashMap<NodeId, MeanLatency> =
            state.nodes.iter().map(|(id, watch)| (*id, watch.latency())).collect();
        for (id, name, stat) in &stats {
            let others = latencies.iter().filter(|(other, _)| *other != id);
            let peers: Vec<MeanLatency> = others.map(|(_, latency)| *latency).collect();
            if let Some(watch) = state.nodes.get_mut(id) {
                let (answered, is_slow) = (stat.is_some(), nodes.is_slow(*id));
                news.extend(watch.judge(name, &peers, answered, is_slow));
            }
        }
        let seen = self.cluster_seen(&stats, gateways, owed, repair.as_ref());
        news.extend(state.cluster.see(seen));
        state.looks += 1;
        state.at_ms = (self.now_ms)();
        news
    }

    fn cluster_seen(
        &self,
        stats: &[(NodeId, String, Option<NodeStat>)],
        gateways: Vec<GatewaySeen>,
        owed: (u64, bool),
        repair: Option<&RepairStatus>,
    ) -> ClusterSeen {
        let repairer = &self.watched.repairer;
        let damaged = stats.iter().filter_map(|(_, _, stat)| stat.as_ref()).map(|s| s.findings);
        let damaged = damaged.fold(0, u64::saturating_add);
        let lost = stats.iter().filter(|(id, ..)| repairer.standing(*id) == Standing::Lost);
        let lost = lost.map(|(_, name, _)| name.clone()).collect();
        let leader = gateways.iter().find(|gateway| gateway.role == Role::Leader.name());
        ClusterSeen {
            leader: leader.map(|leader| leader.id),
            redundancy: Redundancy::new(owed, damaged, lost, repair),
            journal: self.watched.journal.as_ref().and_then(|j| JournalSeen::of(&j.borrow())),
            gateways,
        }
    }
}
