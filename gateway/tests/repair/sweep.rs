//! The sweep deletes what nobody can need, and nothing that anybody may.

use crate::world::{World, quick};
use coffer_core::ids::{BlobId, NodeId};
use coffer_core::shard::ShardKey;
use coffer_gateway::engine::sweep::{Sweep, SweepConfig};
use std::time::Duration;

fn config(orphan_grace: Duration) -> SweepConfig {
    SweepConfig { page_pause: Duration::ZERO, orphan_grace, ..SweepConfig::default() }
}

fn sweep(world: &World, orphan_grace: Duration) -> Sweep {
    Sweep::new(world.engine.clone(), world.catalog.clone(), config(orphan_grace))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_broken_write_left_is_condemned_in_the_second_round_and_deleted() {
    let world = World::new(6, 6).await;
    world.put("a", 200_000).await;
    let kept = world.cluster.shard_count();
    let orphan = world.write_only(100_000).await;
    let mut sweep = sweep(&world, Duration::ZERO);
    let first = sweep.round(1).await.unwrap();
    assert_eq!((first.deleted, first.condemned, first.unclaimed), (0, 0, 6));
    assert_eq!((first.missing, first.shards), (0, kept as u64 + 6));
    let second = sweep.round(2).await.unwrap();
    assert_eq!((second.deleted, second.condemned), (6, 1));
    assert_eq!(world.cluster.shard_count(), kept);
    assert!(world.commit("late", orphan, vec![]).await.is_err(), "it was given up");
    assert!(world.reads_back().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_in_progress_is_left_alone() {
    let world = World::new(6, 6).await;
    let part = world.write_only(100_000).await;
    let mut sweep = sweep(&world, Duration::from_secs(3600));
    for now_ms in 1..4 {
        let report = sweep.round(now_ms).await.unwrap();
        assert_eq!((report.deleted, report.condemned, report.unclaimed), (0, 0, 6));
    }
    let data = World::content("b", 100_000);
    world.commit("b", part, data).await.unwrap();
    assert_eq!(sweep.round(4).await.unwrap().unclaimed, 0);
    assert!(world.reads_back().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_names_go_names_ahead_of_the_catalog_and_reserved_ones_stay() {
    let world = World::new(7, 7).await;
    let part = world.put("a", 100_000).await;
    let chunk = part.chunk(0).unwrap();
    let holders: Vec<NodeId> = chunk.placed().map(|(node, _)| node).collect();
    let other = world.cluster.nodes.iter().find(|n| !holders.contains(&n.id)).unwrap();
    let (key, info) = (chunk.key(0), chunk.chunk.shape.shard_info());
    let payload = vec![0; info.len as usize];
    let reserved = ShardKey { blob: BlobId::from_bytes([0xFF; 16]), ..key };
    let ahead = ShardKey { generation: 1, ..key };
    for key in [key, ahead, reserved] {
        other.keep(key, info, payload.clone().into());
    }
    let report = sweep(&world, Duration::ZERO).round(1).await.unwrap();
    assert_eq!((report.deleted, report.ahead, report.unclaimed), (1, 1, 0));
    assert_eq!(other.shards().into_keys().collect::<Vec<_>>(), vec![ahead, reserved]);
    assert!(world.reads_back().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_repair_left_ahead_of_the_catalog_is_overtaken_and_then_deleted() {
    let world = World::new(7, 7).await;
    let part = world.put("a", 100_000).await;
    let truth = world.payloads();
    let chunk = part.chunk(0).unwrap();
    let holders: Vec<NodeId> = chunk.placed().map(|(node, _)| node).collect();
    let other = world.cluster.nodes.iter().find(|n| !holders.contains(&n.id)).unwrap();
    let info = chunk.chunk.shape.shard_info();
    let payload = |index| truth.iter().find(|(k, _)| *k == chunk.key(index)).unwrap().1.clone();
    // A data shard and parity; of one there is a second, two generations ahead.
    for (index, generation) in [(1, 1), (4, 1), (1, 2)] {
        other.keep(ShardKey { generation, ..chunk.key(index) }, info, payload(index));
    }
    let repair = world.repair(quick());
    let mut sweep = sweep(&world, Duration::ZERO);
    let first = sweep.round(1).await.unwrap();
    assert_eq!((first.ahead, first.left_ahead, first.deleted), (3, 0, 0), "it may be under way");
    let mut now_ms = 1;
    while !other.shards().is_empty() {
        now_ms += 1;
        assert!(now_ms < 500, "{:?}", other.shards());
        sweep.round(now_ms).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.collect_garbage().await;
    world.until_whole().await;
    assert_eq!(world.cluster.shard_count(), 6, "nothing is left of it");
    let left = sweep.round(now_ms + 1).await.unwrap();
    assert_eq!((left.ahead, left.deleted, left.missing), (0, 0, 0));
    let status = repair.status();
    assert_eq!((status.shards_moved, status.shards_rebuilt), (0, 0), "none went elsewhere");
    assert_eq!(status.bytes_read, 3 * u64::from(info.len), "one shard is read for each");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_lost_unnoticed_is_found_and_repaired() {
    let world = World::new(6, 6).await;
    for n in 0..20 {
        world.put(&format!("a{n}"), 50_000).await;
    }
    let held: Vec<ShardKey> = world.cluster.nodes[4].shards().into_keys().collect();
    world.cluster.nodes[4].wipe();
    let report = sweep(&world, Duration::ZERO).round(1).await.unwrap();
    assert_eq!((report.missing, report.deleted), (held.len() as u64, 0));
    let _repair = world.repair(quick());
    world.until_whole().await;
    assert!(world.cluster.nodes[4].shards().into_keys().eq(held), "under the names that they had");
}
