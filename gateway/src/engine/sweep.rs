//! The sweep: what nodes hold is compared with what the catalog wants, both ways.
//!
//! A shard under a name that was left for good is deleted. A blob that the catalog does not know
//! may be a write in progress: only when it was met in two rounds, long enough apart, is it
//! condemned, so that no commit can claim it any more, and only then deleted. No clock is trusted
//! for that: a commit that comes later is refused. A shard that the catalog wants and its node lacks
//! is repair's business, and so is one that a repair has left ahead of the catalog, if it is met in
//! two rounds: its name must die before it can be deleted.

use super::Engine;
use super::compare;
use super::store::ShardsByNode;
use crate::catalog::CatalogHandle;
use crate::catalog::handle::Catalog;
use coffer_core::catalog::records::BlobOwner;
use coffer_core::catalog::{CatalogError, Command, Scope};
use coffer_core::ids::{BlobId, NodeId};
use coffer_core::repair::{ShardState, Verdict};
use coffer_core::shard::{MAX_BATCH, ShardError, ShardInfo, ShardKey};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// The most unclaimed blobs that are remembered from one round to the next.
const UNCLAIMED: usize = 256 * 1024;
/// The most shards ahead of the catalog that are remembered from one round to the next.
const AHEAD: usize = 64 * 1024;
/// The most blobs that are condemned at once.
const CONDEMNED: usize = 256;

/// When and how the sweep acts.
#[derive(Debug, Clone, Copy)]
pub struct SweepConfig {
    /// The pause between two rounds.
    pub interval: Duration,
    /// The pause between two pages of a node's list.
    pub page_pause: Duration,
    /// How long a blob must have been unclaimed before it is condemned.
    pub orphan_grace: Duration,
}

impl Default for SweepConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(3600),
            page_pause: Duration::from_millis(200),
            orphan_grace: Duration::from_secs(24 * 3600),
        }
    }
}

/// What a round has found and done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Shards that were compared.
    pub shards: u64,
    /// Shards deleted: under names left for good, or of condemned blobs.
    pub deleted: u64,
    /// Blobs condemned.
    pub condemned: u64,
    /// Shards of blobs that no commit has claimed, or not yet.
    pub unclaimed: u64,
    /// Shards that a repair has written and not, or not yet, committed.
    pub ahead: u64,
    /// How many of those were met in the round before, and are repair's business now.
    pub left_ahead: u64,
    /// Shards that the catalog wants and their nodes lack.
    pub missing: u64,
    /// Nodes that could not be listed to their end.
    pub unreachable: u64,
}

/// Sweeps round after round.
#[derive(Debug)]
pub struct Sweep {
    engine: Arc<Engine>,
    catalog: CatalogHandle,
    config: SweepConfig,
    /// When each unclaimed blob was first met, as of the last round.
    first_met: HashMap<BlobId, Instant>,
    /// The shards ahead of the catalog, as of the last round.
    ahead: HashSet<(NodeId, ShardKey)>,
}

/// What a round has met so far, for the next one.
#[derive(Default)]
struct Met {
    unclaimed: HashMap<BlobId, Instant>,
    ahead: HashSet<(NodeId, ShardKey)>,
}

impl Sweep {
    /// A sweep that has met nothing yet.
    pub fn new(engine: Arc<Engine>, catalog: CatalogHandle, config: SweepConfig) -> Self {
        let (first_met, ahead) = (HashMap::new(), HashSet::new());
        Self { engine, catalog, config, first_met, ahead }
    }

    /// Sweeps, while this gateway leads the catalog, until the returned task is aborted.
    pub fn spawn(mut self, now_ms: impl Fn() -> u64 + Send + 'static) -> JoinHandle<()> {
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(self.config.interval).await;
                if !self.catalog.leads() {
                    self.first_met.clear();
                    self.ahead.clear();
                    continue;
                }
                match self.round(now_ms()).await {
                    Ok(report) => tracing::info!(?report, "storage nodes swept"),
                    Err(error) => tracing::warn!(%error, "the sweep will be tried again"),
                }
            }
        })
    }

    /// Goes through the lists of all nodes once. `now_ms` is the time since the Unix epoch.
    ///
    /// # Errors
    /// When the catalog fails; what was done by then is sound.
    pub async fn round(&mut self, now_ms: u64) -> Result<SweepReport, CatalogError> {
        let mut report = SweepReport::default();
        let mut met = Met::default();
        let map = self.engine.nodes().map();
        for node in map.members() {
            if let Err(error) = self.sweep_node(node.id, now_ms, &mut met, &mut report).await? {
                tracing::debug!(node = %node.id, %error, "the node can't be swept now");
                report.unreachable += 1;
            }
        }
        // On a node that could not be listed there may be more of what was met before.
        if report.unreachable > 0 {
            met.unclaimed.extend(self.first_met.drain());
        }
        (self.first_met, self.ahead) = (met.unclaimed, met.ahead);
        Ok(report)
    }

    async fn sweep_node(
        &self,
        node: NodeId,
        now_ms: u64,
        met: &mut Met,
        report: &mut SweepReport,
    ) -> Result<Result<(), ShardError>, CatalogError> {
        let mut after = None;
        loop {
            let page = match self.engine.list(node, after, MAX_BATCH).await {
                Ok(page) => page,
                Err(error) => return Ok(Err(error)),
            };
            let page: Vec<ShardKey> = page.into_iter().map(|(key, _)| key).collect();
            let until = page.last().copied().filter(|_| page.len() == MAX_BATCH);
            report.shards += page.len() as u64;
            // The catalog is asked after the node: what it says by then is final for what is dead.
            let (mut dead, mut unclaimed) = (Vec::new(), Vec::new());
            for (key, verdict) in compare::verdicts(&self.catalog, node, &page).await? {
                match verdict {
                    Verdict::Dead | Verdict::Condemned => dead.push(key),
                    Verdict::Unclaimed => unclaimed.push(key),
                    Verdict::Ahead => {
                        report.ahead += 1;
                        report.left_ahead += u64::from(self.is_left_ahead(node, key, met));
                    }
                    Verdict::Needed | Verdict::Garbage | Verdict::Reserved => {}
                }
            }
            report.unclaimed += unclaimed.len() as u64;
            let blobs: BTreeSet<BlobId> = unclaimed.iter().map(|key| key.blob).collect();
            let condemned = self.condemn(&blobs, now_ms, &mut met.unclaimed).await?;
            report.condemned += condemned.len() as u64;
            dead.extend(unclaimed.into_iter().filter(|key| condemned.contains(&key.blob)));
            report.deleted += self.delete(node, dead).await;
            let missing = compare::missing(&self.catalog, node, after, until, &page).await?;
            for (key, info) in missing {
                report.missing += u64::from(self.is_missing(node, key, info).await);
            }
            match until {
                Some(last) => after = Some(last),
                None => return Ok(Ok(())),
            }
            tokio::time::sleep(self.config.page_pause).await;
        }
    }

    /// Condemns those blobs that have been unclaimed for long enough. Returns those that were not
    /// claimed before the catalog did so.
    async fn condemn(
        &self,
        blobs: &BTreeSet<BlobId>,
        now_ms: u64,
        met: &mut HashMap<BlobId, Instant>,
    ) -> Result<BTreeSet<BlobId>, CatalogError> {
        let mut due = Vec::new();
        for blob in blobs {
            match self.first_met.get(blob) {
                Some(first) if first.elapsed() >= self.config.orphan_grace => due.push(*blob),
                first if met.len() < UNCLAIMED => {
                    met.entry(*blob).or_insert_with(|| first.copied().unwrap_or_else(Instant::now));
                }
                _ => {}
            }
        }
        let mut condemned = BTreeSet::new();
        for blobs in due.chunks(CONDEMNED) {
            let command = Command::Condemn { blobs: blobs.to_vec(), at_ms: now_ms };
            self.catalog.submit(command).await?;
            condemned.extend(self.condemned(blobs).await?);
        }
        Ok(condemned)
    }

    /// Deletes shards of a node. Returns how many; what it does not confirm is met again.
    async fn delete(&self, node: NodeId, keys: Vec<ShardKey>) -> u64 {
        let count = keys.len() as u64;
        if count == 0 {
            return 0;
        }
        let failed = self.engine.delete_from_nodes(ShardsByNode::from([(node, keys)])).await;
        if failed.is_empty() { count } else { 0 }
    }

    /// Remembers a shard that is ahead of the catalog. Returns whether it was so in the round before;
    /// repair is told then.
    fn is_left_ahead(&self, node: NodeId, key: ShardKey, met: &mut Met) -> bool {
        if met.ahead.len() < AHEAD {
            met.ahead.insert((node, key));
        }
        let again = self.ahead.contains(&(node, key));
        if again {
            self.engine.leftovers.note(node, key);
        }
        again
    }

    /// Makes sure that a node lacks a shard, which may have been written since the node was listed,
    /// and tells repair.
    async fn is_missing(&self, node: NodeId, key: ShardKey, info: ShardInfo) -> bool {
        let missing = self.engine.examine(node, key, info, false).await == ShardState::Missing;
        if missing {
            tracing::warn!(shard = %key, %node, "shard is lost");
            self.engine.suspects.note(node, key);
        }
        missing
    }

    /// Those of `blobs` that are condemned.
    async fn condemned(&self, blobs: &[BlobId]) -> Result<Vec<BlobId>, CatalogError> {
        let query = |c: &Catalog| {
            let mut condemned = Vec::new();
            for blob in blobs {
                if matches!(c.blob(*blob)?, Some(BlobOwner::Condemned { .. })) {
                    condemned.push(*blob);
                }
            }
            Ok(condemned)
        };
        self.catalog.read(Scope::Hidden, query).await
    }
}
