//! What can't be rebuilt is refused, and named; what lags says so.

use crate::commands::Commands;
use crate::dice::Dice;
use crate::memory::{Gateway, config, rebuild, rows};
use crate::support::{Cluster, Mood};
use coffer_core::journal::Record;
use coffer_core::shard::ShardStore;
use coffer_gateway::catalog::store::MemoryTrees;
use coffer_gateway::journal::JournalConfig;
use coffer_gateway::journal::rebuild::RebuildError;
use std::collections::BTreeSet;
use std::time::Duration;

fn records(cluster: &Cluster) -> BTreeSet<Record> {
    let keys = cluster.nodes.iter().flat_map(|node| node.shards().into_keys());
    keys.filter_map(|key| Record::of(&key)).map(|(record, _)| record).collect()
}

async fn lose(cluster: &Cluster, record: Record) {
    for node in &cluster.nodes {
        let of = |key: &_| Record::of(key).is_some_and(|(r, _)| r == record);
        let keys = node.shards().into_keys().filter(of).collect();
        node.delete(keys).await.unwrap();
    }
}

fn never_a_snapshot() -> JournalConfig {
    JournalConfig { snapshot_entries: u64::MAX, ..config() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_all_nodes_have_lost_is_named_and_not_skipped() {
    let mut commands = Commands::new(Dice::new());
    let (cluster, trees) = (Cluster::new(6), MemoryTrees::default());
    let gateway = Gateway::start(&trees, &cluster, never_a_snapshot()).await;
    for _ in 0..6 {
        gateway.submit(&mut commands, 1).await;
    }
    let before = rows(&trees);
    for _ in 0..6 {
        gateway.submit(&mut commands, 1).await;
    }
    gateway.kill().await;
    let all: Vec<Record> = records(&cluster).into_iter().collect();
    let gone = all[6];
    lose(&cluster, gone).await;
    let Err(RebuildError::Gap { gap, .. }) = rebuild(&cluster, false).await.map(drop) else {
        panic!("a gap was skipped");
    };
    assert_eq!(Record::groups(gap.from, gap.until), Some(gone));
    // If that is accepted, it is the catalog as it was before.
    let (rebuilt, report) = rebuild(&cluster, true).await.unwrap();
    assert!(rows(&rebuilt) == before);
    assert!(report.gap.is_some());
    // What came after the gap belongs to no catalog any more.
    let (again, report) = rebuild(&cluster, false).await.unwrap();
    assert!(rows(&again) == before && report.gap.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn with_too_many_nodes_away_nothing_is_rebuilt() {
    let mut commands = Commands::new(Dice::new());
    let (cluster, trees) = (Cluster::new(6), MemoryTrees::default());
    let gateway = Gateway::start(&trees, &cluster, config()).await;
    gateway.submit(&mut commands, 10).await;
    gateway.kill().await;
    cluster.set(0..3, Mood::Down);
    let refused = rebuild(&cluster, false).await.map(drop);
    assert!(matches!(refused, Err(RebuildError::Away { copies: 3, .. })), "{refused:?}");
    let refused = rebuild(&Cluster::new(6), false).await.map(drop);
    assert!(matches!(refused, Err(RebuildError::Nothing { answered: 6 })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_given_while_nodes_are_down_and_the_journal_catches_up() {
    let mut commands = Commands::new(Dice::new());
    let (cluster, trees) = (Cluster::new(6), MemoryTrees::default());
    let impatient = JournalConfig { patience: Duration::from_millis(200), ..config() };
    let gateway = Gateway::start(&trees, &cluster, impatient).await;
    gateway.submit(&mut commands, 10).await;
    cluster.set(0..4, Mood::Down);
    gateway.submit(&mut commands, 100).await;
    let status = gateway.journal.status.borrow().clone();
    assert!(status.lag() > 0 && status.error.is_some(), "{status:?}");
    cluster.set(0..6, Mood::Fine);
    let mut status = gateway.journal.status.clone();
    // Its log was compacted meanwhile, but not what the journal lacked.
    let caught_up = status.wait_for(|status| status.lag() == 0 && status.error.is_none());
    tokio::time::timeout(Duration::from_secs(60), caught_up).await.unwrap().unwrap();
    let before = rows(&trees);
    gateway.kill().await;
    let (rebuilt, _) = rebuild(&cluster, false).await.unwrap();
    assert!(rows(&rebuilt) == before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_lost_its_place_is_made_whole_by_a_snapshot() {
    let mut commands = Commands::new(Dice::new());
    let (cluster, trees) = (Cluster::new(6), MemoryTrees::default());
    let gateway = Gateway::start(&trees, &cluster, never_a_snapshot()).await;
    gateway.submit(&mut commands, 20).await;
    gateway.kill().await;
    // The nodes have lost all of it, and the log has no beginning any more.
    for record in records(&cluster) {
        lose(&cluster, record).await;
    }
    let gateway = Gateway::start(&trees, &cluster, never_a_snapshot()).await;
    for _ in 0..250 {
        gateway.submit(&mut commands, 1).await;
    }
    assert!(gateway.catalog.log().first() > 0, "the log was compacted");
    gateway.kill().await;
    for record in records(&cluster) {
        lose(&cluster, record).await;
    }
    let gateway = Gateway::start(&trees, &cluster, never_a_snapshot()).await;
    gateway.submit(&mut commands, 10).await;
    let mut status = gateway.journal.status.clone();
    let whole = status.wait_for(|status| status.snapshot.is_some() && status.whole);
    tokio::time::timeout(Duration::from_secs(60), whole).await.unwrap().unwrap();
    let before = rows(&trees);
    gateway.kill().await;
    let (rebuilt, report) = rebuild(&cluster, false).await.unwrap();
    assert!(rows(&rebuilt) == before && report.snapshot.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_catalog_does_not_write_into_the_journal_of_a_newer_one() {
    let mut commands = Commands::new(Dice::new());
    let (cluster, trees) = (Cluster::new(6), MemoryTrees::default());
    let gateway = Gateway::start(&trees, &cluster, config()).await;
    gateway.submit(&mut commands, 5).await;
    let old = trees.crashed(0);
    gateway.submit(&mut commands, 40).await;
    gateway.kill().await;
    let before = records(&cluster);
    let impatient = JournalConfig { patience: Duration::from_millis(10), ..config() };
    let gateway = Gateway::start(&old, &cluster, impatient).await;
    gateway.submit(&mut commands, 3).await;
    let mut status = gateway.journal.status.clone();
    let refused = status.wait_for(|status| status.error.is_some());
    let error = tokio::time::timeout(Duration::from_secs(60), refused).await.unwrap();
    assert!(error.unwrap().error.as_ref().unwrap().contains("rebuild-catalog"));
    gateway.kill().await;
    assert_eq!(records(&cluster), before);
}

/// Waits until no node has a finding.
async fn until_mended(cluster: &Cluster) {
    let mended = async {
        while cluster.nodes.iter().any(|node| node.findings_open() > 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), mended).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_a_node_finds_damaged_is_written_anew_from_one_that_is_sound() {
    let mut commands = Commands::new(Dice::new());
    let (cluster, trees) = (Cluster::new(6), MemoryTrees::default());
    let config = JournalConfig { mend_every: Duration::from_millis(20), ..never_a_snapshot() };
    let gateway = Gateway::start(&trees, &cluster, config).await;
    gateway.submit(&mut commands, 10).await;
    // One node reads something else than was written. Others find their first copy damaged.
    cluster.set(0..1, Mood::Lies);
    let mut before = Vec::new();
    for node in &cluster.nodes[1..] {
        let Some((key, copy)) = node.shards().into_iter().next() else { continue };
        let others = cluster.nodes.iter().filter(|other| other.id != node.id);
        let sound = others.skip(1).filter(|other| {
            let same = |k: &coffer_core::shard::ShardKey| Record::of(k) == Record::of(&key);
            other.shards().keys().any(|k| same(k) && !other.is_damaged(*k))
        });
        if sound.count() > 0 {
            node.damage(key);
            before.push((node.clone(), key, copy));
        }
    }
    assert!(before.len() > 1);
    until_mended(&cluster).await;
    for (node, key, copy) in before {
        assert!(node.shards()[&key] == copy, "{key}");
    }
    gateway.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_takes_the_place_of_a_record_of_which_no_copy_is_sound() {
    let mut commands = Commands::new(Dice::new());
    let (cluster, trees) = (Cluster::new(6), MemoryTrees::default());
    let config = JournalConfig { mend_every: Duration::from_millis(20), ..never_a_snapshot() };
    let gateway = Gateway::start(&trees, &cluster, config).await;
    for _ in 0..4 {
        gateway.submit(&mut commands, 2).await;
    }
    let rotten = records(&cluster).into_iter().nth(1).unwrap();
    for node in &cluster.nodes {
        let keys = node.shards().into_keys();
        let of = |key: &_| Record::of(key).is_some_and(|(record, _)| record == rotten);
        keys.filter(of).for_each(|key| node.damage(key));
    }
    let mut status = gateway.journal.status.clone();
    let replaced = status.wait_for(|status| status.snapshot.is_some());
    tokio::time::timeout(Duration::from_secs(60), replaced).await.unwrap().unwrap();
    until_mended(&cluster).await;
    let before = rows(&trees);
    gateway.kill().await;
    let (rebuilt, report) = rebuild(&cluster, false).await.unwrap();
    assert!(rows(&rebuilt) == before && report.snapshot.is_some());
}
