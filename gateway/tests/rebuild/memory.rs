//! Random commands, crashes and losses, on nodes in memory.

use crate::commands::Commands;
use crate::dice::Dice;
use crate::support::{Cluster, Mood};
use coffer_core::catalog::{CatalogError, Kv, SealedKv, Table};
use coffer_core::random::OsRandom;
use coffer_core::seal::Key;
use coffer_gateway::catalog::CatalogHandle;
use coffer_gateway::catalog::handle::envelope;
use coffer_gateway::catalog::raft::options::Options;
use coffer_gateway::catalog::raft::types::{GatewayId, Peer};
use coffer_gateway::catalog::store::{MemoryTrees, Trees, Work};
use coffer_gateway::journal::rebuild::{Rebuild, RebuildError, Report};
use coffer_gateway::journal::{self, Journal, JournalConfig, Nodes, View};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

type Rows = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

pub(crate) fn master() -> Key {
    Key::from_bytes([7; 32])
}

/// A journal whose answers are waited for, however busy the machine, with snapshots often.
pub(crate) fn config() -> JournalConfig {
    JournalConfig {
        patience: Duration::from_secs(60),
        snapshot_entries: 25,
        snapshot_rate: u64::MAX,
        ..JournalConfig::surviving(2)
    }
}

pub(crate) fn view(cluster: &Cluster) -> View {
    View::of(cluster.map(), cluster.stores())
}

/// A gateway.
pub(crate) struct Gateway {
    pub(crate) catalog: CatalogHandle,
    pub(crate) journal: Journal,
    nodes: Nodes,
}

impl Gateway {
    pub(crate) async fn start(
        trees: &MemoryTrees,
        cluster: &Cluster,
        config: JournalConfig,
    ) -> Self {
        let options = Options { work: Work::Inline, keep_entries: 30, ..Options::alone() };
        let trees = Arc::new(trees.clone());
        let catalog = CatalogHandle::start(trees, &master(), options).await.unwrap();
        let view = view(cluster);
        let nodes: Nodes = Arc::new(move || view.clone());
        let journal = journal::spawn(catalog.clone(), nodes.clone(), &master(), config);
        Self { catalog, journal, nodes }
    }

    /// As `kill -9`: nothing of it may run on.
    pub(crate) async fn kill(self) {
        self.journal.task.abort();
        let _ = self.journal.task.await;
        self.catalog.stop().await;
        // A snapshot that is being written is told to stop, and does so where it next waits. Until then
        // it stores and deletes records beside whoever comes after this gateway.
        while Arc::strong_count(&self.nodes) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Some commands, several at a time. What can't be done is refused, which changes nothing.
    pub(crate) async fn submit(&self, commands: &mut Commands, count: u64) {
        let mut running = Vec::new();
        for _ in 0..count {
            running.push(self.catalog.submit(commands.draw()));
            if running.len() == 5 {
                check(futures::future::join_all(running.drain(..)).await);
            }
        }
        check(futures::future::join_all(running).await);
    }
}

fn check<T>(outcomes: Vec<Result<T, CatalogError>>) {
    for error in outcomes.into_iter().filter_map(Result::err) {
        let vain = matches!(error, CatalogError::Stopped(_) | CatalogError::Unavailable(_));
        assert!(!vain, "{error}");
    }
}

/// All that the catalog in `trees` knows, opened.
pub(crate) fn rows(trees: &MemoryTrees) -> Rows {
    let number = |name: &String| name.strip_prefix("state-").and_then(|n| n.parse::<u64>().ok());
    let state = trees.names().unwrap().iter().filter_map(number).max().unwrap();
    let tree = trees.open(&format!("state-{state}")).unwrap();
    let kv = SealedKv::new(tree, envelope(&master()), Arc::new(OsRandom));
    let tables = Table::ALL.into_iter().filter(|table| *table != Table::Applied);
    let rows_of = |table| {
        let rows = kv.scan(table, &[], &[0xFF; 64], usize::MAX).unwrap();
        rows.into_iter().map(move |(key, value)| ((table, key), value))
    };
    tables.flat_map(rows_of).collect()
}

pub(crate) async fn rebuild(
    cluster: &Cluster,
    accept_loss: bool,
) -> Result<(MemoryTrees, Report), RebuildError> {
    let trees = MemoryTrees::default();
    let peer = Peer { name: "gateway".into(), ..Peer::default() };
    let (member, key) = ((GatewayId(1), peer), master());
    let rebuild =
        Rebuild { view: view(cluster), master: &key, member, accept_loss, config: config() };
    let report = rebuild.run(Arc::new(trees.clone()), Work::Inline, &|_| {}).await?;
    Ok((trees, report))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_is_rebuilt_whatever_two_nodes_are_away() {
    let rounds = std::env::var("COFFER_REBUILD_ROUNDS").ok().and_then(|r| r.parse().ok());
    let mut dice = Dice::new();
    let mut commands = Commands::new(dice.fork());
    let cluster = Cluster::new(6);
    let mut trees = MemoryTrees::default();
    let mut rebuilds = 0;
    for round in 0..rounds.unwrap_or(16) {
        let gateway = Gateway::start(&trees, &cluster, config()).await;
        let count = 1 + dice.below(60);
        gateway.submit(&mut commands, count).await;
        let before = rows(&trees);
        gateway.kill().await;
        if dice.below(3) == 0 {
            // The gateway is only killed; what was not synced is lost.
            trees = trees.crashed(dice.below(5) as usize);
            continue;
        }
        let (a, b) = (dice.below(6) as usize, dice.below(6) as usize);
        cluster.nodes[a].set(Mood::Down);
        cluster.nodes[b].set(Mood::Lies);
        let (first, report) = rebuild(&cluster, false).await.unwrap();
        assert!(rows(&first) == before, "round {round}: {report:?}");
        assert_eq!((report.gap, report.not_renewed), (None, None));
        // Nothing is lost twice: from what the journal has now, the same catalog comes.
        let (second, again) = rebuild(&cluster, false).await.unwrap();
        assert!(rows(&second) == before, "round {round}: {again:?}");
        assert!(again.begins > report.begins && again.groups == 0);
        cluster.set(0..6, Mood::Fine);
        trees = second;
        rebuilds += 1;
    }
    println!("{rebuilds} catalogs were rebuilt; the last had {} rows", rows(&trees).len());
    assert!(rebuilds > 0);
}
