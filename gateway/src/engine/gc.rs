//! Garbage collection: shards that no object needs any more are deleted from their nodes.
//!
//! The catalog moves the manifest of a deleted or replaced version to its garbage table in the same
//! commit. It stays there for a grace period, in which reads that had begun can end. Then its
//! shards are deleted; only when all their nodes have confirmed is the row forgotten. A node that
//! is down delays its rows, not the others.

use super::Engine;
use super::store::ShardsByNode;
use crate::catalog::CatalogHandle;
use coffer_core::catalog::records::{GarbageId, GarbageRecord};
use coffer_core::catalog::{CatalogError, Command, Scope};
use coffer_core::ids::NodeId;
use coffer_core::manifest::{Manifest, Part};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// Rows that are handled at a time.
const PAGE: usize = 64;

/// When garbage is collected.
#[derive(Debug, Clone, Copy)]
pub struct GcConfig {
    /// How long deleted data is kept for reads that have begun.
    pub grace: Duration,
    /// The pause between two rounds.
    pub interval: Duration,
}

impl Default for GcConfig {
    fn default() -> Self {
        Self { grace: Duration::from_secs(900), interval: Duration::from_secs(10) }
    }
}

/// Collects garbage, while this gateway leads the catalog, until the returned task is aborted or
/// dropped by the runtime.
pub fn spawn(
    engine: Arc<Engine>,
    catalog: CatalogHandle,
    config: GcConfig,
    now_ms: impl Fn() -> u64 + Send + 'static,
) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let grace = u64::try_from(config.grace.as_millis()).unwrap_or(u64::MAX);
        loop {
            tokio::time::sleep(config.interval).await;
            if !catalog.leads() {
                continue;
            }
            let before = now_ms().saturating_sub(grace);
            match collect(&engine, &catalog, before).await {
                Ok(0) => {}
                Ok(rows) => tracing::debug!(rows, "garbage collected"),
                Err(error) => tracing::warn!(%error, "garbage collection will be tried again"),
            }
        }
    })
}

/// One round over all garbage from before `before_ms`. Returns how many rows are done with.
///
/// # Errors
/// When the catalog fails; what was deleted by then is found deleted in the next round.
pub async fn collect(
    engine: &Engine,
    catalog: &CatalogHandle,
    before_ms: u64,
) -> Result<usize, CatalogError> {
    let mut after: Option<GarbageId> = None;
    let mut done = 0;
    loop {
        let rows = catalog.read(Scope::Hidden, |c| c.garbage(after, before_ms, PAGE)).await?;
        let Some((last, _)) = rows.last() else { return Ok(done) };
        after = Some(*last);
        let ids = engine.delete_garbage(rows).await;
        if !ids.is_empty() {
            done += ids.len();
            catalog.submit(Command::ForgetGarbage { ids }).await?;
        }
    }
}

impl Engine {
    /// Deletes, in the background, the shards of a part that was stored but that no catalog will
    /// ever name. Must not be called where the commit's outcome is unknown.
    pub fn discard(self: &Arc<Self>, part: Part) {
        let engine = self.clone();
        tokio::spawn(async move {
            let mut shards = ShardsByNode::new();
            for (node, key) in (Manifest { parts: vec![part] }).placed() {
                shards.entry(node).or_default().push(key);
            }
            // Best effort: a node that is down keeps its orphans until the sweep.
            engine.delete_from_nodes(shards).await;
        });
    }

    /// Deletes the shards of these rows, by node. Returns the rows of which nothing is left.
    async fn delete_garbage(&self, rows: Vec<(GarbageId, GarbageRecord)>) -> Vec<GarbageId> {
        let mut by_node = ShardsByNode::new();
        let mut nodes_of: Vec<(GarbageId, HashSet<NodeId>)> = Vec::new();
        for (id, row) in rows {
            let shards = row.shards();
            nodes_of.push((id, shards.iter().map(|(node, _)| *node).collect()));
            for (node, key) in shards {
                by_node.entry(node).or_default().push(key);
            }
        }
        // Nodes that are gone take what they held with them.
        let map = self.nodes().map();
        by_node.retain(|node, _| map.is_member(*node));
        // What is not confirmed stays until its node answers.
        let unreachable = self.delete_from_nodes(by_node).await;
        nodes_of
            .into_iter()
            .filter(|(_, nodes)| nodes.is_disjoint(&unreachable))
            .map(|(id, _)| id)
            .collect()
    }
}
