//! Repair and membership on nodes that fail: redundancy comes back, at a bounded cost, and nothing
//! that an object needs is ever lost.

#![allow(clippy::unwrap_used, clippy::panic, clippy::cast_possible_truncation)]

mod fsck;
mod several;
mod special;
#[path = "../support/mod.rs"]
mod support;
mod sweep;
mod world;

use coffer_core::placement::NodeState;
use std::time::{Duration, Instant};
use support::Mood;
use world::{World, quick};

#[tokio::test(flavor = "multi_thread")]
async fn owed_shards_are_written_when_their_nodes_are_back() {
    let world = World::new(6, 6).await;
    world.cluster.set(0..1, Mood::Hangs);
    for n in 0..4 {
        world.put(&format!("a{n}"), 300_000).await;
    }
    let owed = world.catalog_owed().await;
    assert!(owed > 0, "a write that met its quorum owes the shard of the node that hangs");
    world.cluster.set(0..6, Mood::Fine);
    let _repair = world.repair(quick());
    world.until("nothing is owed", async || world.catalog_owed().await == 0).await;
    world.until_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_node_is_rebuilt_from_k_bytes_for_each() {
    let world = World::new(7, 7).await;
    for n in 0..6 {
        world.put(&format!("a{n}"), 3_000_000).await;
    }
    let lost: u64 = world.cluster.nodes[2].shards().values().map(|(i, _)| u64::from(i.len)).sum();
    assert!(lost > 0);
    world.cluster.set(2..3, Mood::Down);
    world.cluster.nodes[2].wipe();
    let before = world.bytes_read();
    let began = Instant::now();
    let mut config = quick();
    config.patience = Duration::ZERO;
    let repair = world.repair(config);
    let gone = world.cluster.nodes[2].id;
    world
        .until("nothing is on the lost node", async || !world.holders().await.contains(&gone))
        .await;
    let (read, took) = (world.bytes_read() - before, began.elapsed());
    let status = repair.status();
    assert_eq!(status.bytes_written, lost, "what was lost is rebuilt, and nothing else");
    assert_eq!(status.bytes_read, read);
    assert!(read <= 4 * lost, "{read} bytes were read for {lost}");
    world.until_whole().await;
    println!("rebuilt {lost} bytes from {read} in {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_ends_up_empty_and_each_byte_is_read_once() {
    let world = World::new(7, 7).await;
    for n in 0..6 {
        world.put(&format!("a{n}"), 500_000).await;
    }
    let held: u64 = world.cluster.nodes[0].shards().values().map(|(i, _)| u64::from(i.len)).sum();
    let before = world.bytes_read();
    let repair = world.repair(quick());
    world.change(|map| map.nodes[0].state = NodeState::Draining).await;
    world
        .until("the drained node is empty", async || {
            world.collect_garbage().await;
            world.cluster.nodes[0].shards().is_empty()
        })
        .await;
    assert_eq!(world.bytes_read() - before, held, "shards are copied, not rebuilt");
    assert_eq!(repair.status().shards_rebuilt, 0);
    world.until_whole().await;
    // Now it can go.
    world.change(|map| map.nodes[0].state = NodeState::Gone).await;
    world.until_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_node_gets_what_it_wins_and_nothing_else_moves() {
    let world = World::new(8, 7).await;
    for n in 0..12 {
        world.put(&format!("a{n}"), 100_000).await;
    }
    let before = world.places().await;
    let repair = world.repair(quick());
    let full = world.cluster.map();
    world.change(|map| map.nodes = full.nodes.clone()).await;
    let new = world.cluster.nodes[7].id;
    world.until("passes have ended", async || repair.status().pass.completed > 2).await;
    world.until_whole().await;
    let after = world.places().await;
    let moved = before.iter().zip(&after).filter(|(b, a)| b != a).count();
    assert!(moved > 0);
    assert!(before.iter().zip(&after).all(|(b, a)| b == a || a.1 == Some(new)), "only to it");
    assert_eq!(repair.status().shards_moved, moved as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_found_by_scrubs_and_reads_and_mended_in_place() {
    let world = World::new(6, 6).await;
    let part = world.put("a", 5_000_000).await;
    let chunk = part.chunk(0).unwrap();
    let node_of = |index: u8| {
        let id = chunk.node_of(index.into()).unwrap();
        world.cluster.nodes.iter().find(|n| n.id == id).unwrap()
    };
    let before = world.places().await;
    node_of(1).damage(chunk.key(1));
    // This one is lost without anybody knowing; a read that wants it finds out.
    node_of(2).forget(chunk.key(2));
    assert!(world.reads_back().await);
    let _repair = world.repair(quick());
    world.until_whole().await;
    assert!(node_of(1).findings_open() == 0);
    assert_eq!(world.places().await, before, "nothing has moved");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_of_a_node_that_lies_are_not_spread() {
    let world = World::new(7, 7).await;
    for n in 0..6 {
        world.put(&format!("a{n}"), 200_000).await;
    }
    let truth = world.payloads();
    world.cluster.set(1..2, Mood::Lies);
    world.cluster.set(0..1, Mood::Down);
    let mut config = quick();
    config.patience = Duration::ZERO;
    let _repair = world.repair(config);
    let gone = world.cluster.nodes[0].id;
    world
        .until("nothing is on the lost node", async || !world.holders().await.contains(&gone))
        .await;
    for (key, payload) in world.payloads() {
        let same = truth
            .iter()
            .find(|(k, _)| (k.blob, k.chunk, k.index) == (key.blob, key.chunk, key.index));
        assert!(same.is_some_and(|(_, t)| *t == payload), "{key} is not what was stored");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_repairers_at_once_and_deletes_between_lose_nothing() {
    let world = World::new(8, 8).await;
    for n in 0..16 {
        world.put(&format!("a{n}"), 150_000).await;
    }
    let (_one, _two) = (world.repair(quick()), world.repair(quick()));
    for round in 0..6 {
        let lost = round % 3;
        world.change(|map| map.nodes[lost].state = NodeState::Draining).await;
        world.delete(&format!("a{round}")).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        world.collect_garbage().await;
        world.change(|map| map.nodes[lost].state = NodeState::Active).await;
    }
    world.until_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_answers_late_is_read_around() {
    let world = World::new(6, 6).await;
    // Of some of these the node has a data shard.
    for n in 0..12 {
        world.put(&format!("a{n}"), 300_000).await;
    }
    world.cluster.set(3..4, Mood::Slow(Duration::from_millis(150)));
    let id = world.cluster.nodes[3].id;
    assert!(world.reads_back().await);
    assert!(world.engine.nodes().is_slow(id));
    assert!(!world.engine.nodes().reads_well(id) && world.engine.nodes().is_up(id));
    world.cluster.set(3..4, Mood::Fine);
    world
        .until("it is forgiven", async || {
            world.reads_back().await;
            !world.engine.nodes().is_slow(id)
        })
        .await;
}
