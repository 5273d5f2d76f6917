//! Failing nodes are drained, if the settings want that.

use super::Monitor;
use super::event::News;
use coffer_core::catalog::{CatalogError, Command, Scope};
use coffer_core::health::{Capacity, HeldBack, Space, Verdict, drained};
use coffer_core::ids::NodeId;
use coffer_core::placement::ClusterMap;
use std::collections::HashSet;

/// What has been done about failing nodes. An operator who undrains a node is not overruled while it
/// goes on failing.
#[derive(Debug, Default)]
pub(super) struct Drains {
    begun: HashSet<NodeId>,
    held_back: HashSet<NodeId>,
}

impl Monitor {
    /// Drains one node that has been failing for a while, if this gateway leads and is told to. A
    /// node that does not answer is left to repair.
    pub(super) async fn drain_failing(&self) {
        if !self.config.drain_failing || !self.watched.catalog.leads() {
            return;
        }
        let candidates = {
            let mut state = self.state();
            let failing: HashSet<NodeId> = state
                .nodes
                .iter()
                .filter(|(_, watch)| watch.verdict() == Verdict::Failing)
                .map(|(id, _)| *id)
                .collect();
            state.drains.begun.retain(|id| failing.contains(id));
            state.drains.held_back.retain(|id| failing.contains(id));
            let state = &*state;
            let mut long: Vec<(u8, NodeId)> = state
                .nodes
                .iter()
                .filter(|(_, watch)| watch.failing_polls() >= self.config.drain_after)
                .filter(|(id, _)| !state.drains.begun.contains(id))
                .map(|(id, watch)| (watch.health().score, *id))
                .collect();
            long.sort_unstable();
            long
        };
        // The worst first, and only one: the next look sees a map with a node that is drained.
        for (_, node) in candidates {
            match self.drain(node).await {
                Ok(Ok(())) => break,
                Ok(Err(held_back)) => self.hold_back(node, &held_back),
                Err(error) => {
                    tracing::warn!(%node, %error, "a failing node could not be drained; it will be tried again");
                    break;
                }
            }
        }
    }

    async fn drain(&self, node: NodeId) -> Result<Result<(), HeldBack>, CatalogError> {
        let catalog = &self.watched.catalog;
        let map = catalog.read(Scope::Cluster, coffer_core::catalog::Machine::cluster).await?;
        let Some(map) = map else { return Ok(Err(HeldBack::NotActive)) };
        let next = match self.without(&map, node) {
            Ok(next) => next,
            Err(held_back) => return Ok(Err(held_back)),
        };
        catalog.submit(Command::ChangeCluster { expected: map.version, map: next }).await?;
        let news = {
            let mut state = self.state();
            state.drains.begun.insert(node);
            state.drains.held_back.remove(&node);
            let health = state.nodes.get(&node).map(|watch| watch.health().clone());
            let (score, reasons) = health.map_or((0, Vec::new()), |h| (h.score, h.reasons));
            News::DrainBegun { node: map.name_of(node), score, reasons }
        };
        self.events.tell((self.now_ms)(), news);
        Ok(Ok(()))
    }

    /// The next map, with the node drained, if the others can take what it holds.
    fn without(&self, map: &ClusterMap, node: NodeId) -> Result<ClusterMap, HeldBack> {
        let state = self.state();
        let capacity = |id: NodeId| {
            let Some(watch) = state.nodes.get(&id) else { return Capacity::default() };
            let Some(stat) = watch.last() else { return Capacity::default() };
            let usable = !watch.is_silent()
                && watch.verdict() != Verdict::Failing
                && watch.space() == Space::Room
                && self.watched.repairer.standing(id).takes_shards();
            Capacity { usable, held: stat.live_bytes, free: stat.free_bytes }
        };
        drained(map, node, self.config.code, capacity)
    }

    /// Tells once why a node is not drained, unless that is plain.
    fn hold_back(&self, node: NodeId, why: &HeldBack) {
        if *why == HeldBack::NotActive {
            return;
        }
        let map = self.watched.engine.nodes().map();
        if self.state().drains.held_back.insert(node) {
            let news = News::DrainHeldBack { node: map.name_of(node), why: why.to_string() };
            self.events.tell((self.now_ms)(), news);
        }
    }
}
