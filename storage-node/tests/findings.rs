//! What a node says of shards that are damaged, and how it counts trouble.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

use bytes::Bytes;
use coffer_core::erasure::Code;
use coffer_core::ids::{BlobId, NodeId};
use coffer_core::shard::{BlockRange, Damage, ShardError, ShardInfo, ShardKey, ShardStore};
use coffer_node::index::MemoryIndex;
use coffer_node::testing::FaultyDisk;
use coffer_node::{CompactOptions, NodeEngine, NodeOptions, ScrubOptions};
use std::sync::Arc;

const NODE: NodeId = NodeId::from_bytes([9; 16]);
const VOLUME: &str = "vol-00000001.cfv";
const INFO: ShardInfo = ShardInfo { code: Code::DEFAULT, block_size: 1000, len: 2500 };
const ALL: BlockRange = BlockRange { first: 0, count: 3 };
/// A volume's header, and a record's with its table.
const HEADER: usize = 64;
const HEAD: usize = 96 + 3 * 32;
const RECORD: usize = (HEAD + 2500).next_multiple_of(8);

fn open(disk: &FaultyDisk, index: &Arc<MemoryIndex>) -> NodeEngine {
    let options = NodeOptions {
        reserve_bytes: 0,
        scrub: ScrubOptions::OFF,
        compact: CompactOptions::OFF,
        ..NodeOptions::default()
    };
    NodeEngine::open_on(NODE, Arc::new(disk.clone()), index.clone(), options).unwrap()
}

fn key(n: u8) -> ShardKey {
    ShardKey { blob: BlobId::from_bytes([n; 16]), chunk: 0, index: 0, generation: 0 }
}

async fn put(node: &NodeEngine, n: u8) {
    node.put(key(n), INFO, Bytes::from(vec![n; 2500])).await.unwrap();
}

/// The keys of what is open, with the damage.
async fn found(node: &NodeEngine) -> Vec<(ShardKey, Damage)> {
    let page = node.findings(None, 100).await.unwrap();
    page.into_iter().map(|f| (f.key, f.damage)).collect()
}

#[tokio::test]
async fn damaged_shards_are_found_once_and_kept_over_a_restart_until_they_are_settled() {
    let (disk, index) = (FaultyDisk::new(), Arc::new(MemoryIndex::default()));
    let node = open(&disk, &index);
    for n in 0..4 {
        put(&node, n).await;
    }
    // The second block of shard 1, and the header of shard 2.
    disk.flip(VOLUME, HEADER + RECORD + HEAD + 1500, 4);
    disk.flip(VOLUME, HEADER + 2 * RECORD + 20, 4);
    for _ in 0..3 {
        assert_eq!(node.get(key(1), ALL).await, Err(ShardError::Corrupt { block: 1 }));
        assert_eq!(node.get(key(2), ALL).await, Err(ShardError::Corrupt { block: 0 }));
        assert!(node.get(key(3), ALL).await.is_ok());
    }
    let both = [(key(1), Damage::BadBlock { block: 1 }), (key(2), Damage::BadRecord)];
    assert_eq!(found(&node).await, both);
    let stat = node.stat().await.unwrap();
    assert_eq!((stat.corrupt, stat.findings, stat.shards), (2, 2, 4));
    let first = node.findings(None, 1).await.unwrap();
    let second = node.findings(Some(first[0].id), 9).await.unwrap();
    assert_eq!((first[0].key, second[0].key, second.len()), (key(1), key(2), 1));

    drop(node);
    let node = open(&disk, &index);
    assert_eq!(found(&node).await, both);
    put(&node, 1).await;
    assert_eq!(found(&node).await, both[1..]);
    assert!(node.get(key(1), ALL).await.is_ok());
    node.delete(vec![key(2)]).await.unwrap();
    assert_eq!(found(&node).await, []);

    // Ids are not used again.
    disk.flip(VOLUME, HEADER + HEAD, 4);
    assert!(node.get(key(0), ALL).await.is_err());
    assert!(node.findings(None, 1).await.unwrap()[0].id > second[0].id);
}

#[tokio::test]
async fn a_finding_whose_shard_was_replaced_before_a_crash_is_dropped_at_the_start() {
    let (disk, index) = (FaultyDisk::new(), Arc::new(MemoryIndex::default()));
    let node = open(&disk, &index);
    put(&node, 1).await;
    disk.flip(VOLUME, HEADER + HEAD, 4);
    assert!(node.get(key(1), ALL).await.is_err());
    // The index as of now lacks what follows, as after a crash; the volume has it.
    let stale = Arc::new(MemoryIndex::default());
    copy(&index, &stale);
    put(&node, 1).await;
    drop(node);
    let node = open(&disk, &stale);
    assert_eq!(found(&node).await, []);
    assert!(node.get(key(1), ALL).await.is_ok());
}

fn copy(from: &MemoryIndex, to: &MemoryIndex) {
    use coffer_node::index::Index;
    let entries = from.scan(None, 100).unwrap().into_iter().map(|(k, v)| (k, Some(v)));
    let usage = from.usage().unwrap();
    to.apply(&entries.collect::<Vec<_>>(), from.watermark().unwrap().unwrap(), &usage).unwrap();
    for (name, value) in from.notes(b"").unwrap() {
        to.set_note(&name, Some(&value)).unwrap();
    }
}

#[tokio::test]
async fn a_volume_that_the_disk_does_not_give_is_told_and_counted() {
    let (disk, index) = (FaultyDisk::new(), Arc::new(MemoryIndex::default()));
    let node = open(&disk, &index);
    put(&node, 1).await;
    disk.fail_reads(VOLUME, true);
    assert!(matches!(node.get(key(1), ALL).await, Err(ShardError::Disk(_))));
    let open = found(&node).await;
    assert!(matches!(&open[..], [(k, Damage::Unreadable(_))] if *k == key(1)), "{open:?}");
    // A request that makes no sense is no damage.
    let beyond = node.get(key(1), BlockRange { first: 3, count: 1 }).await;
    assert!(matches!(beyond, Err(ShardError::BadRequest(_))));
    disk.fail_syncs(1, 0);
    assert!(node.put(key(2), INFO, Bytes::from(vec![2; 2500])).await.is_err());
    let stat = node.stat().await.unwrap();
    assert_eq!((stat.corrupt, stat.findings), (1, 1));
    assert_eq!((stat.io.reads.errors, stat.io.syncs.errors, stat.io.writes.errors), (1, 1, 0));
    assert!(stat.io.writes.latencies.count() >= 2 && stat.io.syncs.latencies.count() >= 2);
}

#[tokio::test]
async fn opening_without_an_index_reads_each_header_once() {
    let disk = FaultyDisk::new();
    let node = open(&disk, &Arc::new(MemoryIndex::default()));
    for n in 0..200 {
        put(&node, n).await;
    }
    drop(node);
    let volume = disk.content(VOLUME).len() as u64;
    let before = disk.bytes_read();
    let node = open(&disk, &Arc::new(MemoryIndex::default()));
    let read = disk.bytes_read() - before;
    assert_eq!(node.stat().await.unwrap().shards, 200);
    assert!(read <= volume + 200_000, "{read} bytes of a volume of {volume}");
}

#[tokio::test]
async fn who_checks_what_it_reads_is_given_damaged_blocks_but_never_another_record() {
    let (disk, index) = (FaultyDisk::new(), Arc::new(MemoryIndex::default()));
    let node = open(&disk, &index);
    for n in 0..3 {
        put(&node, n).await;
    }
    disk.flip(VOLUME, HEADER + RECORD + HEAD + 1500, 4);
    disk.flip(VOLUME, HEADER + 2 * RECORD + 30, 4);
    let mut damaged = vec![1; 2500];
    damaged[1500] ^= 4;
    assert_eq!(node.get_unverified(key(0), ALL).await, node.get(key(0), ALL).await);
    assert_eq!(node.get_unverified(key(1), ALL).await, Ok(damaged.into()));
    assert_eq!(found(&node).await, []);
    assert_eq!(node.get_unverified(key(2), ALL).await, Err(ShardError::Corrupt { block: 0 }));
    // Read again to be checked, it is found.
    assert_eq!(node.get(key(1), ALL).await, Err(ShardError::Corrupt { block: 1 }));
    let both = [(key(2), Damage::BadRecord), (key(1), Damage::BadBlock { block: 1 })];
    assert_eq!(found(&node).await, both);
    let outside = BlockRange { first: 2, count: 2 };
    assert!(matches!(node.get_unverified(key(1), outside).await, Err(ShardError::BadRequest(_))));
}
