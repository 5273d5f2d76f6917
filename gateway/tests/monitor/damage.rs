//! Bytes that rot on a real node's disk: its scrub finds them, the monitor tells, repair mends them.

use crate::support::Cluster;
use crate::world::World;
use crate::{Watching, often};
use coffer_core::health::Verdict;
use coffer_core::ids::NodeId;
use coffer_core::shard::ShardStore;
use coffer_node::index::MemoryIndex;
use coffer_node::testing::{FakeClock, FaultyDisk};
use coffer_node::{NodeEngine, NodeOptions, ScrubOptions};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_scrub_finds_rotten_bytes_and_that_is_told_and_mended() {
    let cluster = Cluster::new(6);
    let clock = Arc::new(FakeClock::default());
    let mut disks = Vec::new();
    let mut stores: HashMap<NodeId, Arc<dyn ShardStore>> = HashMap::new();
    for (n, node) in cluster.nodes.iter().enumerate() {
        let disk = FaultyDisk::new();
        let round = if n == 2 { Duration::from_secs(100) } else { Duration::ZERO };
        let options = NodeOptions {
            reserve_bytes: 0,
            scrub: ScrubOptions { round, max_bytes_per_second: u64::MAX },
            clock: clock.clone(),
            ..NodeOptions::default()
        };
        let index = Arc::new(MemoryIndex::default());
        let engine = NodeEngine::open_on(node.id, Arc::new(disk.clone()), index, options);
        stores.insert(node.id, Arc::new(engine.unwrap()));
        disks.push(disk);
    }
    let world = World::over(cluster, 6, stores).await;
    world.put("a", 1_000_000).await;
    let watching = Watching::new(&world, often());
    let volume = "vol-00000001.cfv";
    let middle = disks[2].content(volume).len() / 2;
    assert!(disks[2].flip(volume, middle, 4));
    world
        .until("the scrub finds it", async || {
            clock.advance(Duration::from_secs(20));
            watching.count("damage_found") > 0
        })
        .await;
    watching.until(&world, "damage_mended").await;
    assert_eq!((watching.count("damage_found"), watching.count("damage_mended")), (1, 1));
    assert!(world.reads_back().await);
    // That it happened at all stays a reason.
    let report = watching.monitor.report().unwrap();
    assert_eq!((report.overall, report.nodes[2].score), (Verdict::Healthy, 80));
    assert_eq!(report.nodes[2].reasons, ["1 shards were found damaged"]);
}
