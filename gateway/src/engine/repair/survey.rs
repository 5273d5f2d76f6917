//! Finding blobs that need something.

use super::status::PassStatus;
use super::{Repairer, Scene};
use crate::engine::nodes::follow;
use crate::engine::suspects::MOST;
use coffer_core::catalog::{CatalogError, Scope};
use coffer_core::ids::{BlobId, NodeId};
use coffer_core::repair::{Standing, Urgency, overtake};
use coffer_core::shard::ShardKey;
use futures::StreamExt;
use std::collections::HashSet;
use std::pin::pin;
use std::time::Duration;
use tokio::time::Instant;

/// Blobs that are looked up at a time.
const PAGE: usize = 64;
/// How long a node may take to say how it is.
const NODE_PATIENCE: Duration = Duration::from_secs(5);

/// How far the pass over all blobs is.
#[derive(Debug, Default)]
pub(super) struct Pass {
    after: Option<BlobId>,
    checked: u64,
    completed: u64,
    hurries: bool,
    /// Whether something happened that another pass has to look for.
    again: bool,
    /// The map's version and the lost nodes that the pass began with.
    began_with: Option<(u64, HashSet<NodeId>)>,
    /// The nodes that did not answer when that was last looked at.
    absent: HashSet<NodeId>,
}

impl Pass {
    /// Has another pass follow this one soon.
    pub(super) fn again(&mut self) {
        self.again = true;
    }

    /// Begins anew, and hurries, if the cluster has changed. What was written while a node was
    /// absent for a short time belongs on it again: that is looked for as well.
    fn notice(&mut self, scene: &Scene) {
        let (lost, absent) = (scene.with(Standing::Lost), scene.with(Standing::Away));
        let returned = self.absent.iter().any(|id| !absent.contains(id) && !lost.contains(id));
        self.absent = absent;
        let now = Some((scene.map.version, lost));
        if self.began_with != now {
            self.began_with = now;
            (self.after, self.checked, self.hurries) = (None, 0, true);
        } else if returned {
            (self.hurries, self.again) = (true, true);
        }
    }

    fn advance(&mut self, blobs: &[BlobId]) {
        self.checked += blobs.len() as u64;
        if blobs.len() == PAGE {
            self.after = blobs.last().copied();
            return;
        }
        self.completed += 1;
        self.hurries = std::mem::take(&mut self.again);
        (self.after, self.checked) = (None, 0);
    }

    pub(super) fn status(&self) -> PassStatus {
        let (hurries, checked, completed) = (self.hurries, self.checked, self.completed);
        let first =
            |id: BlobId| f64::from(u16::from_be_bytes([id.as_bytes()[0], id.as_bytes()[1]]));
        let progress = self.after.map_or(0.0, |id| first(id) / f64::from(u16::MAX));
        PassStatus { hurries, checked, progress, completed }
    }
}

impl Repairer {
    /// Looks at the nodes, at what is owed, and at a page of all blobs, again and again.
    pub(super) async fn survey(&self) {
        loop {
            if (self.leads)() {
                if let Err(error) = self.look().await {
                    tracing::warn!(%error, "the catalog can't be surveyed for repair");
                }
            } else {
                // The leader finds all of it by itself, but for what reads here have met.
                self.report_suspects().await;
                self.engine.leftovers.take();
                self.queue().clear();
                *self.pass() = Pass::default();
            }
            tokio::time::sleep(self.config.interval).await;
        }
    }

    async fn look(&self) -> Result<(), CatalogError> {
        // With an older map, nodes that were added since would pass for lost.
        follow::follow(self.engine.nodes(), &self.catalog).await?;
        self.ask_nodes().await?;
        let scene = self.scene();
        self.pass().notice(&scene);
        // What there is no room for waits, and whoever would tell of more waits with it.
        if self.marks.has_room(MOST) {
            for (node, key) in self.engine.suspects.take() {
                self.suspect(&scene, node, key).await?;
            }
        }
        for (node, key) in self.engine.leftovers.take() {
            self.leftover(node, key).await?;
        }
        self.look_at_owed(&scene).await?;
        // A pass that hurries goes on for as long as the queue has room for what it finds.
        let completed = self.pass().completed;
        while self.queue().has_room(PAGE) {
            let began = Instant::now();
            self.look_at_page(&scene).await?;
            if !self.pass().hurries || self.pass().completed > completed {
                break;
            }
            // Half of a processor at most: millions of blobs keep it busy for minutes.
            tokio::time::sleep(began.elapsed()).await;
        }
        Ok(())
    }

    /// Asks all nodes how they are and what they have found, side by side.
    async fn ask_nodes(&self) -> Result<(), CatalogError> {
        let nodes = self.engine.nodes();
        let map = nodes.map();
        let answers = map.nodes.iter().map(|node| async {
            let stat = nodes.ask_stat(node.id, NODE_PATIENCE).await.ok()?;
            (stat.findings > 0).then_some(node.id)
        });
        let with_findings = futures::future::join_all(answers).await;
        let scene = self.scene();
        for node in with_findings.into_iter().flatten() {
            let mut pages = pin!(self.engine.findings(node));
            while let Some(Ok(page)) = pages.next().await {
                for finding in &page {
                    self.suspect(&scene, node, finding.key).await?;
                }
            }
        }
        Ok(())
    }

    /// A shard that its node may have lost or damaged: if it is needed there, it is written anew.
    async fn suspect(
        &self,
        scene: &Scene,
        node: NodeId,
        key: ShardKey,
    ) -> Result<(), CatalogError> {
        let found = self.catalog.read(Scope::Hidden, |c| c.blob_part(key.blob)).await?;
        let Some((_, part)) = found else { return Ok(()) };
        let is_needed = part.chunk(key.chunk).is_some_and(|chunk| {
            chunk.node_of(key.index.into()) == Some(node) && chunk.key(key.index) == key
        });
        if is_needed {
            self.marks.note(node, key);
            self.consider(scene, &part);
        }
        Ok(())
    }

    /// A shard that a repair has left ahead of the catalog: its name must die.
    async fn leftover(&self, node: NodeId, key: ShardKey) -> Result<(), CatalogError> {
        let found = self.catalog.read(Scope::Hidden, |c| c.blob_part(key.blob)).await?;
        let step = found.as_ref().and_then(|(_, part)| overtake(part.chunk(key.chunk)?, key));
        if step.is_some() {
            self.leftovers.note(node, key);
            self.enqueue(key.blob, Urgency::Misplaced);
        }
        Ok(())
    }

    async fn look_at_owed(&self, scene: &Scene) -> Result<(), CatalogError> {
        let mut after = None;
        while self.queue().has_room(PAGE) {
            let owed = self.catalog.read(Scope::Hidden, |c| c.owed(after, PAGE)).await?;
            after = owed.last().copied();
            for blob in &owed {
                self.look_at(scene, *blob).await?;
            }
            if owed.len() < PAGE {
                break;
            }
        }
        Ok(())
    }

    async fn look_at_page(&self, scene: &Scene) -> Result<(), CatalogError> {
        let after = self.pass().after;
        let page = self.catalog.read(Scope::Hidden, |c| c.blobs(after, PAGE)).await?;
        for (blob, owner) in &page {
            if owner.is_live() {
                self.look_at(scene, *blob).await?;
            }
        }
        let blobs: Vec<BlobId> = page.into_iter().map(|(blob, _)| blob).collect();
        self.pass().advance(&blobs);
        Ok(())
    }

    async fn look_at(&self, scene: &Scene, blob: BlobId) -> Result<(), CatalogError> {
        let found = self.catalog.read(Scope::Hidden, |c| c.blob_part(blob)).await?;
        if let Some((_, part)) = found {
            self.consider(scene, &part);
        }
        Ok(())
    }
}
