//! A catalog is made from the journal on the storage nodes.

use super::nodes::{Nodes, View};
use super::replay::{Progress, Replay};
use super::{JournalConfig, JournalError, snapshot};
use crate::catalog::raft::types::{GatewayId, Peer};
use crate::catalog::store::seed::log_id;
use crate::catalog::store::{Seed, Trees, Work};
use coffer_core::catalog::{CatalogError, KvError};
use coffer_core::journal::{self, Gap, LINEAGE, Position};
use coffer_core::seal::Key;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Why a catalog could not be rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// There is no journal.
    #[error(
        "no journal was found on the {answered} storage nodes that answer; is it the right cluster.json, and is the journal on (journal in gateway.toml)?"
    )]
    Nothing {
        /// How many nodes have answered.
        answered: usize,
    },
    /// Too many nodes are away.
    #[error(
        "{} storage nodes do not answer ({}); the newest records may be on those {copies} alone. Start them, or give --accept-loss",
        .away.len(), .away.join(", ")
    )]
    Away {
        /// Which nodes, and what they say.
        away: Vec<String>,
        /// On how many nodes each record was stored.
        copies: usize,
    },
    /// Something is missing.
    #[error(
        "{gap}{}{reasons}. Start all storage nodes that there were; or give --accept-loss to rebuild the catalog as it was before",
        if .reasons.is_empty() { "" } else { ": " }
    )]
    Gap {
        /// What is missing.
        gap: Gap,
        /// What is wrong with records that are there.
        reasons: String,
    },
    /// Records of different catalogs are mixed.
    #[error(
        "the journal has entry {} of term {} after entry {} of term {}: two catalogs were written to it",
        .next.index, .next.term, .last.index, .last.term
    )]
    Contradiction {
        /// The entry before.
        last: Position,
        /// The one that can't come after it.
        next: Position,
    },
    /// The new catalog can't be written.
    #[error(transparent)]
    Store(#[from] KvError),
    /// The new catalog can't be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// What was found, and what was made of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// The entry of the log that the snapshot is of; none if there was none.
    pub snapshot: Option<u64>,
    /// Groups of commands that were applied after it.
    pub groups: u64,
    /// Bytes of the journal that were read.
    pub journal_bytes: u64,
    /// The last entry of the lost catalog's log that was applied.
    pub last: u64,
    /// Where the new catalog's log begins.
    pub begins: u64,
    /// Buckets in it.
    pub buckets: usize,
    /// Object versions in it, without delete markers.
    pub versions: u64,
    /// Bytes of plaintext of the objects.
    pub bytes: u64,
    /// What is missing, if that was accepted.
    pub gap: Option<String>,
    /// Nodes that have not answered.
    pub away: Vec<String>,
    /// Nodes of the catalog's cluster map that were not asked.
    pub not_asked: Vec<String>,
    /// Why the journal does not yet have a snapshot of the new catalog; the gateway makes one when
    /// it is started.
    pub not_renewed: Option<String>,
}

/// What is to be made.
pub struct Rebuild<'a> {
    /// The nodes that are asked.
    pub view: View,
    /// The key of all keys.
    pub master: &'a Key,
    /// The gateway that is to have the catalog, alone.
    pub member: (GatewayId, Peer),
    /// Whether what can't be found may be left out.
    pub accept_loss: bool,
    /// How the journal is to be written.
    pub config: JournalConfig,
}

impl Rebuild<'_> {
    /// Makes the catalog in `trees`, which are empty. After an error they are of no use.
    ///
    /// # Errors
    /// [`RebuildError`].
    pub async fn run(
        self,
        trees: Arc<dyn Trees>,
        work: Work,
        tell: &(dyn Fn(Progress) + Sync),
    ) -> Result<Report, RebuildError> {
        let envelope = journal::envelope(self.master);
        let listing = self.view.list().await;
        let away: Vec<String> =
            listing.away.iter().map(|(name, why)| format!("{name}: {why}")).collect();
        let copies = listing.names.copies().unwrap_or(self.config.copies);
        if away.len() >= copies && !self.accept_loss {
            return Err(RebuildError::Away { away, copies });
        }
        if listing.names.is_empty() {
            return Err(RebuildError::Nothing { answered: listing.answered() });
        }

        let seed = Seed::open(trees, self.master, work)?;
        let replay = Replay::new(&listing, &envelope, &seed);
        let (progress, last, gap) = replay.run(self.accept_loss, tell).await?;
        // Beyond all that may have been written, and in a term that nobody was in.
        let beyond = listing.names.newest().unwrap_or(0).max(last.map_or(0, |last| last.index));
        let term = last.map_or(0, |last| last.term).saturating_add(1);
        let begins = log_id(term, self.member.0, beyond.saturating_add(LINEAGE));

        let catalog = seed.catalog();
        let mut report = Report {
            snapshot: progress.snapshot,
            groups: progress.groups,
            journal_bytes: progress.bytes,
            last: last.map_or(0, |last| last.index),
            begins: begins.index,
            gap,
            away,
            ..Report::default()
        };
        for (bucket, _) in catalog.buckets()? {
            let usage = catalog.usage(&bucket)?;
            report.buckets += 1;
            report.versions += usage.versions;
            report.bytes += usage.bytes;
        }
        if let Some(map) = catalog.cluster()? {
            let asked: BTreeSet<_> = self.view.map.nodes.iter().map(|node| node.id).collect();
            let others = map.nodes.iter().filter(|node| !asked.contains(&node.id));
            report.not_asked = others.map(|node| format!("{} ({})", node.name, node.id)).collect();
        }

        // The journal begins anew with it: from here on, what is left of the lost catalog's is
        // passed over.
        let export = seed.found(self.member.0, self.member.1, begins).await?;
        let view = self.view;
        let nodes: Nodes = Arc::new(move || view.clone());
        let renewed = async {
            let written = snapshot::write(begins, export, &nodes, &envelope, &self.config).await?;
            snapshot::delete_older(written.record, &nodes).await;
            Ok::<(), JournalError>(())
        };
        report.not_renewed = renewed.await.err().map(|error| error.to_string());
        Ok(report)
    }
}
