//! Repair where more than a node is at stake: racks, keys that are not at hand, deletes in between,
//! the rate.

use crate::support::{Cluster, Mood};
use crate::world::{World, engine, master, quick};
use coffer_core::ids::NodeId;
use coffer_core::placement::NodeState;
use coffer_core::seal::Key;
use coffer_gateway::catalog::CatalogHandle;
use coffer_gateway::catalog::raft::options::Options;
use coffer_gateway::catalog::store::{MemoryTrees, Work};
use coffer_gateway::engine::keys::SecondLock;
use coffer_gateway::engine::repair::{Clock, RepairConfig};
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Nodes in racks of three, each rack in a zone of its own.
async fn racks(racks: u8) -> World {
    let cluster = Cluster::new(3 * racks);
    let mut map = cluster.map();
    for (n, node) in map.nodes.iter_mut().enumerate() {
        node.domain = format!("zone-{0}/rack-{0}/host-{n}", n / 3);
    }
    let engine = engine(map, cluster.stores());
    let options = Options { work: Work::Inline, ..Options::alone() };
    let trees = Arc::new(MemoryTrees::default());
    let catalog = CatalogHandle::start(trees, &master(), options).await.unwrap();
    World::through(cluster, engine, catalog).await
}

/// How many shards of each chunk are in each rack.
async fn spread(world: &World) -> Vec<BTreeMap<usize, usize>> {
    let rack = |id: NodeId| world.cluster.nodes.iter().position(|n| n.id == id).unwrap() / 3;
    let mut chunks = BTreeMap::<_, BTreeMap<usize, usize>>::new();
    for ((key, _), node) in world.places().await {
        let racks = chunks.entry((key.blob, key.chunk)).or_default();
        *racks.entry(rack(node.unwrap())).or_default() += 1;
    }
    chunks.into_values().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rack_that_is_lost_is_made_up_for_in_the_others_and_filled_again() {
    let world = racks(3).await;
    for n in 0..10 {
        world.put(&format!("a{n}"), 300_000).await;
    }
    let even = BTreeMap::from([(0, 2), (1, 2), (2, 2)]);
    assert!(spread(&world).await.iter().all(|racks| *racks == even), "no rack has more than m");
    world.cluster.set(3..6, Mood::Down);
    assert!(world.reads_back().await, "a rack may be lost");
    let patience = Duration::ZERO;
    let _repair = world.repair(RepairConfig { patience, ..quick() });
    let others = BTreeMap::from([(0, 3), (2, 3)]);
    world
        .until("the rack is made up for", async || {
            spread(&world).await.iter().all(|racks| *racks == others)
        })
        .await;
    assert!(world.reads_back().await);
    // New disks in it: all that belongs there comes back.
    world.cluster.nodes[3..6].iter().for_each(|node| node.wipe());
    world.cluster.set(3..6, Mood::Fine);
    world
        .until("the rack is filled again", async || {
            spread(&world).await.iter().all(|racks| *racks == even)
        })
        .await;
    world.until_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_clients_or_named_keys_open_is_repaired_all_the_same() {
    let world = World::new(7, 7).await;
    let customer = SecondLock::of_customer(&Key::from_bytes([9; 32]));
    let (named, unknown) = (world.master().named("team"), world.master().named("not listed"));
    for n in 0..4 {
        world.put_locked(&format!("customer{n}"), 300_000, &customer).await;
        world.put_locked(&format!("named{n}"), 300_000, &named).await;
        world.put_locked(&format!("unknown{n}"), 300_000, &unknown).await;
    }
    let truth = world.payloads();
    let lost = world.cluster.nodes[2].id;
    world.cluster.set(2..3, Mood::Down);
    world.cluster.nodes[2].wipe();
    let config =
        RepairConfig { patience: Duration::ZERO, named_keys: vec!["team".into()], ..quick() };
    let repair = world.repair(config);
    world
        .until("nothing is on the lost node", async || !world.holders().await.contains(&lost))
        .await;
    // Byte for byte what it was, and each opens under its own key.
    for (key, payload) in world.payloads() {
        let was = truth
            .iter()
            .find(|(k, _)| (k.blob, k.chunk, k.index) == (key.blob, key.chunk, key.index));
        assert!(was.is_some_and(|(_, t)| *t == payload), "{key} is not what was stored");
    }
    world.until_whole().await;
    assert_eq!(repair.status().failures, 0, "{:?}", repair.status());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_while_it_is_repaired_leaves_nothing_behind() {
    let world = World::new(7, 7).await;
    for n in 0..8 {
        world.put(&format!("a{n}"), 100_000).await;
    }
    world.put("kept", 100_000).await;
    // Who takes shards takes them late, so that deletes come between reading and commit.
    world.cluster.set(0..7, Mood::Slow(Duration::from_millis(60)));
    let repair = world.repair(quick());
    world.change(|map| map.nodes[0].state = NodeState::Draining).await;
    for n in 0..8 {
        tokio::time::sleep(Duration::from_millis(40)).await;
        world.delete(&format!("a{n}")).await;
        world.collect_garbage().await;
    }
    world.cluster.set(0..7, Mood::Fine);
    world
        .until("only what is kept is there", async || {
            world.collect_garbage().await;
            world.cluster.shard_count() == 6
        })
        .await;
    world.until_whole().await;
    assert_eq!(repair.status().failures, 0, "to lose that race is no failure");
    assert!(world.cluster.nodes[0].shards().is_empty());
}

/// A clock that goes on only while somebody waits by it, and at once.
#[derive(Debug, Default, Clone)]
struct PatientClock(Arc<Mutex<Duration>>);

impl Clock for PatientClock {
    fn elapsed(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        *self.0.lock().unwrap() += time;
        Box::pin(tokio::task::yield_now())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rate_is_kept_to_the_byte_and_made_use_of() {
    const RATE: u64 = 100_000;
    let world = World::new(7, 7).await;
    for n in 0..12 {
        world.put(&format!("a{n}"), 200_000 + 10_000 * n).await;
    }
    world.cluster.set(5..6, Mood::Down);
    let lost = world.cluster.nodes[5].id;
    let clock = PatientClock::default();
    let config = RepairConfig {
        bytes_per_second: RATE,
        patience: Duration::ZERO,
        // One at a time: each waits for its turn alone.
        concurrency: 1,
        clock: Arc::new(clock.clone()),
        ..quick()
    };
    let repair = world.repair(config);
    world
        .until("nothing is on the lost node", async || !world.holders().await.contains(&lost))
        .await;
    let status = repair.status();
    let moved = (status.bytes_read + status.bytes_written) as f64;
    // When the last chunk begins, all before it have had their time, and not a moment more.
    let (k, largest) = (4.0, 90_000.0);
    let allowed = clock.elapsed().as_secs_f64() * RATE as f64;
    assert!(status.bytes_written > 0 && moved > 10.0 * largest);
    assert!(moved - (k + 1.0) * largest <= allowed, "{moved} bytes in the time of {allowed}");
    assert!(allowed < moved, "{moved} bytes took the time of {allowed}");
}
