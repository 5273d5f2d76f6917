//! A check names what is wrong as what it is, and accuses nobody.

use crate::support::Mood;
use crate::world::{World, quick};
use bytes::Bytes;
use coffer_core::ids::{BlobId, BucketName, NodeId};
use coffer_core::manifest::Part;
use coffer_core::placement::NodeState;
use coffer_core::repair::{Risk, ShardState};
use coffer_core::shard::{ShardInfo, ShardKey};
use coffer_gateway::engine::fsck::report::{Ailing, Leftovers, Orphan, Record, Silent, Summary};
use coffer_gateway::engine::fsck::{self, FsckOptions};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::mpsc;

/// What a check has told.
#[derive(Debug, Default)]
struct Report {
    parts: Vec<Ailing>,
    orphans: Vec<Orphan>,
    silent: Vec<Silent>,
    summary: Summary,
}

impl Report {
    /// How many parts are how.
    fn parts(&self) -> BTreeMap<Risk, u64> {
        self.summary.parts.iter().filter(|(_, n)| **n > 0).map(|(r, n)| (*r, *n)).collect()
    }

    fn ailing(&self, state: ShardState) -> u64 {
        self.summary.ailing.get(&state).copied().unwrap_or(0)
    }

    fn leftovers(&self) -> Leftovers {
        self.summary.leftovers.unwrap()
    }
}

async fn check(world: &World, options: FsckOptions) -> Report {
    let (out, mut records) = mpsc::channel(4);
    let run = fsck::run(world.engine.clone(), world.catalog.clone(), options, out);
    let running = tokio::spawn(run);
    let mut report = Report::default();
    let mut progress = 0.0;
    while let Some(record) = records.recv().await {
        match record {
            Record::Progress(now) => {
                assert!(now.done >= progress, "{} after {progress}", now.done);
                progress = now.done;
            }
            Record::Part(part) => report.parts.push(*part),
            Record::Orphan(orphan) => report.orphans.push(orphan),
            Record::Node(silent) => report.silent.push(silent),
            Record::Summary(summary) => report.summary = *summary,
            Record::Failed { why } => panic!("{why}"),
        }
    }
    running.await.unwrap();
    report
}

async fn all(world: &World) -> Report {
    check(world, FsckOptions::default()).await
}

fn holder(world: &World, part: &Part, index: u8) -> (usize, ShardKey) {
    let chunk = part.chunk(0).unwrap();
    let id = chunk.node_of(index.into()).unwrap();
    (world.cluster.nodes.iter().position(|n| n.id == id).unwrap(), chunk.key(index))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_cluster_is_whole() {
    let world = World::new(7, 7).await;
    for n in 0..150 {
        world.put(&format!("a{n}"), 2000 + 100 * n).await;
    }
    world.put("large", 9_000_000).await;
    // This one is kept in the catalog: no node has a shard of it.
    world.put("inline", 100).await;
    let report = all(&world).await;
    assert_eq!(report.parts(), BTreeMap::from([(Risk::Whole, 151)]));
    assert_eq!(report.summary.shards, world.cluster.shard_count() as u64);
    assert!(report.summary.ailing.is_empty() && report.orphans.is_empty());
    assert_eq!(report.leftovers(), Leftovers::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_ailment_is_told_apart() {
    let world = World::new(8, 8).await;
    let [missing, damaged, cut, lost] = [
        world.put("missing", 300_000).await,
        world.put("damaged", 300_000).await,
        world.put("cut", 300_000).await,
        world.put("lost", 300_000).await,
    ];
    world.put("whole", 300_000).await;
    let (node, key) = holder(&world, &missing, 1);
    world.cluster.nodes[node].forget(key);
    // It has another generation instead.
    let info = missing.chunk(0).unwrap().chunk.shape.shard_info();
    let payload = Bytes::from(vec![0; info.len as usize]);
    world.cluster.nodes[node].keep(ShardKey { generation: 3, ..key }, info, payload);
    let missing_from = world.cluster.map().nodes[node].name.clone();
    let (node, key) = holder(&world, &damaged, 2);
    world.cluster.nodes[node].damage(key);
    let (node, key) = holder(&world, &cut, 0);
    let short = ShardInfo { len: info.len - 1, ..info };
    world.cluster.nodes[node].keep(key, short, vec![0; short.len as usize].into());
    for index in 0..3 {
        let (node, key) = holder(&world, &lost, index);
        world.cluster.nodes[node].forget(key);
    }
    let report = all(&world).await;
    let expected = [(Risk::Whole, 1), (Risk::Degraded, 3), (Risk::Lost, 1)];
    assert_eq!(report.parts(), BTreeMap::from(expected));
    assert_eq!((report.ailing(ShardState::Missing), report.ailing(ShardState::Damaged)), (4, 2));
    assert_eq!((report.summary.findings, report.leftovers().ahead), (1, 1));
    let of = |key: &str| report.parts.iter().find(|p| p.key == key).unwrap();
    let shard = &of("missing").shards[0];
    assert_eq!((shard.index, shard.state), (1, ShardState::Missing));
    assert_eq!((shard.node.as_ref(), shard.other_generation), (Some(&missing_from), Some(3)));
    let part = of("missing");
    assert_eq!((part.bucket.as_str(), part.version.as_deref()), ("bucket", Some("null")));
    assert_eq!((part.worst.sound, part.worst.needed, part.worst.shards), (5, 4, 6));
    assert_eq!(of("damaged").shards[0].state, ShardState::Damaged);
    assert_eq!(of("cut").shards[0].state, ShardState::Damaged);
    assert_eq!((of("lost").risk, of("lost").worst.sound), (Risk::Lost, 3));

    // What is checked is not changed; but with `repair` it is mended.
    let _repair = world.repair(quick());
    world.delete("lost").await;
    let repair = FsckOptions { repair: true, ..FsckOptions::default() };
    let report = check(&world, repair).await;
    assert!(report.summary.queued <= 3 && report.summary.not_queued == 0, "{report:?}");
    let whole = BTreeMap::from([(Risk::Whole, 4)]);
    world.until("a check finds nothing", async || all(&world).await.parts() == whole).await;
    world.until_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_silent_node_holds_is_not_called_lost() {
    let world = World::new(6, 6).await;
    let part = world.put("a", 300_000).await;
    for n in 0..3 {
        world.put(&format!("b{n}"), 300_000).await;
    }
    let silent: Vec<usize> = (0..2).map(|index| holder(&world, &part, index).0).collect();
    world.cluster.nodes[silent[0]].set(Mood::Down);
    world.cluster.nodes[silent[1]].set(Mood::Hangs);
    let report = all(&world).await;
    assert_eq!(report.parts(), BTreeMap::from([(Risk::AtRisk, 4)]));
    assert_eq!(report.summary.ailing, BTreeMap::from([(ShardState::Unreachable, 8)]));
    assert_eq!((report.silent.len(), report.summary.silent_nodes), (2, 2));
    // One more is lost for good: that one is told apart.
    let (node, key) = holder(&world, &part, 2);
    world.cluster.nodes[node].forget(key);
    let report = all(&world).await;
    let unavailable = report.parts.iter().find(|p| p.risk == Risk::Unavailable).unwrap();
    assert_eq!(unavailable.key, "a");
    assert_eq!((unavailable.worst.unreachable, unavailable.worst.missing), (2, 1));
    // A node that is gone does not come back.
    let gone = world.cluster.nodes[silent[0]].id;
    world
        .change(|map| map.nodes.iter_mut().find(|n| n.id == gone).unwrap().state = NodeState::Gone)
        .await;
    let (node, key) = holder(&world, &part, 3);
    world.cluster.nodes[node].forget(key);
    let report = all(&world).await;
    let lost = report.parts.iter().find(|p| p.risk == Risk::Lost).unwrap();
    assert_eq!((lost.key.as_str(), lost.worst.unreachable, lost.worst.missing), ("a", 1, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_node_has_lost_all_that_it_should_have() {
    let world = World::new(6, 6).await;
    for n in 0..40 {
        world.put(&format!("a{n}"), 20_000).await;
    }
    let held = world.cluster.nodes[3].shards().len() as u64;
    world.cluster.nodes[3].wipe();
    let report = all(&world).await;
    assert_eq!(report.summary.ailing, BTreeMap::from([(ShardState::Missing, held)]));
    let _repair = world.repair(quick());
    check(&world, FsckOptions { repair: true, ..FsckOptions::default() }).await;
    world.until_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_object_needs_is_told_by_kind() {
    let world = World::new(7, 7).await;
    let part = world.put("a", 100_000).await;
    world.put("deleted", 100_000).await;
    world.delete("deleted").await;
    let orphan = world.write_only(100_000).await;
    let chunk = part.chunk(0).unwrap();
    let holders: Vec<NodeId> = chunk.placed().map(|(node, _)| node).collect();
    let other = world.cluster.nodes.iter().find(|n| !holders.contains(&n.id)).unwrap();
    let (key, info) = (chunk.key(0), chunk.chunk.shape.shard_info());
    let reserved = ShardKey { blob: BlobId::from_bytes([0xFF; 16]), ..key };
    for key in [key, ShardKey { generation: 1, ..key }, reserved] {
        other.keep(key, info, vec![0; info.len as usize].into());
    }
    let report = all(&world).await;
    let expected =
        Leftovers { garbage: 6, dead: 1, condemned: 0, ahead: 1, unclaimed: 6, reserved: 1 };
    assert_eq!(report.leftovers(), expected);
    assert_eq!(report.parts(), BTreeMap::from([(Risk::Whole, 1)]), "{report:?}");
    let orphans: Vec<_> = report.orphans.iter().map(|o| (o.blob.clone(), o.shards)).collect();
    assert_eq!(orphans, [(orphan.blob.to_string(), 6)]);
    // Of one bucket only its objects are looked at.
    let bucket = |name| FsckOptions { bucket: Some(BucketName::new(name).unwrap()), repair: false };
    let report = check(&world, bucket("bucket")).await;
    assert_eq!((report.parts(), report.orphans.len()), (BTreeMap::from([(Risk::Whole, 1)]), 0));
    assert!(report.summary.leftovers.is_none());
    assert!(check(&world, bucket("elsewhere")).await.parts().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_called_lost_while_objects_come_go_and_move() {
    let world = World::new(8, 8).await;
    for n in 0..60 {
        world.put(&format!("kept{n}"), 30_000).await;
    }
    let _repair = world.repair(quick());
    let churn = async {
        for round in 0..12 {
            let node = round % 4;
            world.change(|map| map.nodes[node].state = NodeState::Draining).await;
            for n in 0..6 {
                world.put(&format!("passing{n}"), 30_000).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
                world.delete(&format!("passing{n}")).await;
                world.collect_garbage().await;
            }
            world.change(|map| map.nodes[node].state = NodeState::Active).await;
        }
    };
    let (mut checks, mut moved) = (0, 0);
    let checking = async {
        loop {
            let report = all(&world).await;
            assert!(report.parts.is_empty(), "{report:?}");
            moved +=
                report.leftovers().dead + report.leftovers().ahead + report.leftovers().garbage;
            checks += 1;
        }
    };
    tokio::select! {
        () = churn => {}
        () = checking => {}
    }
    println!("{checks} checks met {moved} shards on their way");
    assert!(checks > 3 && moved > 0);
    world.until_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_ends_when_nobody_listens_any_more() {
    let world = World::new(6, 6).await;
    for n in 0..300 {
        world.put(&format!("a{n}"), 2_000).await;
    }
    for node in 0..3 {
        world.cluster.nodes[node].wipe();
    }
    let (out, mut records) = mpsc::channel(1);
    let options = FsckOptions::default();
    let run = fsck::run(world.engine.clone(), world.catalog.clone(), options, out);
    let running = tokio::spawn(run);
    assert!(records.recv().await.is_some());
    drop(records);
    tokio::time::timeout(Duration::from_secs(30), running).await.unwrap().unwrap();
}
