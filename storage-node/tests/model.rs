//! The engine against a model, on a disk that crashes: what was acknowledged is there, what was
//! deleted stays deleted, and what was neither is the old or the new, never garbage.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

use bytes::Bytes;
use coffer_core::erasure::Code;
use coffer_core::ids::{BlobId, NodeId};
use coffer_core::shard::{BlockRange, ShardError, ShardInfo, ShardKey, ShardStore};
use coffer_node::index::MemoryIndex;
use coffer_node::testing::{FakeClock, FaultyDisk};
use coffer_node::{NodeEngine, NodeOptions, ScrubOptions};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const NODE: NodeId = NodeId::from_bytes([9; 16]);

fn options() -> NodeOptions {
    // Small volumes, so that the tests cross from one to the next.
    NodeOptions {
        volume_size: 20_000,
        reserve_bytes: 0,
        scrub: ScrubOptions::OFF,
        ..NodeOptions::default()
    }
}

/// The time that a round of scrubbing takes.
const ROUND: Duration = Duration::from_secs(10);

/// With a scrub that goes on when `clock` does.
fn open_scrubbed(disk: &FaultyDisk, index: Arc<MemoryIndex>, clock: &Arc<FakeClock>) -> NodeEngine {
    let scrub = ScrubOptions { round: ROUND, max_bytes_per_second: u64::MAX };
    let options = NodeOptions { scrub, clock: clock.clone(), ..options() };
    NodeEngine::open_on(NODE, Arc::new(disk.clone()), index, options).unwrap()
}

fn open(disk: &FaultyDisk, index: Arc<MemoryIndex>) -> NodeEngine {
    NodeEngine::open_on(NODE, Arc::new(disk.clone()), index, options()).unwrap()
}

fn key(n: u8) -> ShardKey {
    ShardKey { blob: BlobId::from_bytes([n; 16]), chunk: n.into(), index: n, generation: 0 }
}

/// Content that follows from a number, with its shape.
fn shard(n: u64) -> (ShardInfo, Bytes) {
    let len = 1 + (n * 977 % 9000) as u32;
    let mut bytes = vec![0; len as usize];
    blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof().fill(&mut bytes);
    (ShardInfo { code: Code::DEFAULT, block_size: 1040, len }, bytes.into())
}

async fn read(node: &NodeEngine, k: ShardKey, n: u64) -> Result<Bytes, ShardError> {
    let (info, _) = shard(n);
    node.get(k, BlockRange { first: 0, count: info.blocks() }).await
}

#[derive(Debug, Clone)]
enum Op {
    Put(u8),
    Delete(u8),
    /// As `kill -9`: what was written stays.
    Kill {
        lose_index: bool,
    },
    /// As a power cut, with a seed for what is lost.
    Crash {
        seed: u64,
        lose_index: bool,
    },
    Close,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        10 => (0u8..6).prop_map(Op::Put),
        4 => (0u8..6).prop_map(Op::Delete),
        1 => any::<bool>().prop_map(|lose_index| Op::Kill { lose_index }),
        1 => (any::<u64>(), any::<bool>()).prop_map(|(seed, lose_index)| Op::Crash { seed, lose_index }),
        1 => Just(Op::Close),
    ];
    proptest::collection::vec(op, 1..60)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

async fn check(node: &NodeEngine, model: &BTreeMap<u8, u64>) {
    for k in 0..6 {
        match model.get(&k) {
            Some(n) => assert!(read(node, key(k), *n).await.unwrap() == shard(*n).1, "shard {k}"),
            None => {
                let gone = node.get(key(k), BlockRange { first: 0, count: 1 }).await;
                assert_eq!(gone, Err(ShardError::NotFound), "shard {k}");
            }
        }
    }
    let listed = node.list(None, 100).await.unwrap();
    assert_eq!(listed.len(), model.len());
    let stat = node.stat().await.unwrap();
    let live: u64 = model.values().map(|n| u64::from(shard(*n).0.len)).sum();
    assert_eq!((stat.shards, stat.live_bytes), (model.len() as u64, live));
    assert_eq!(node.findings(None, 100).await.unwrap(), []);
    assert_eq!((stat.corrupt, stat.damaged_stretches), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn acknowledged_is_kept_through_crashes(ops in ops()) {
        runtime().block_on(async {
            let mut disk = FaultyDisk::new();
            let mut index = Arc::new(MemoryIndex::default());
            let clock = Arc::new(FakeClock::default());
            let mut node = open_scrubbed(&disk, index.clone(), &clock);
            let mut model: BTreeMap<u8, u64> = BTreeMap::new();
            for (n, op) in (1u64..).zip(ops) {
                match op {
                    Op::Put(k) => {
                        let (info, bytes) = shard(n);
                        node.put(key(k), info, bytes).await.unwrap();
                        model.insert(k, n);
                    }
                    Op::Delete(k) => {
                        node.delete(vec![key(k)]).await.unwrap();
                        model.remove(&k);
                    }
                    Op::Kill { lose_index } | Op::Crash { lose_index, .. } => {
                        let before = disk.clone();
                        disk = match op {
                            Op::Crash { seed, .. } => before.crash(seed),
                            _ => before.kill(),
                        };
                        drop(node);
                        if lose_index {
                            index = Arc::new(MemoryIndex::default());
                        }
                        node = open_scrubbed(&disk, index.clone(), &clock);
                    }
                    Op::Close => {
                        drop(node);
                        node = open_scrubbed(&disk, index.clone(), &clock);
                    }
                }
                // A scrub that sees all of it meanwhile accuses nobody.
                clock.advance(2 * ROUND);
                check(&node, &model).await;
            }
        });
    }

    #[test]
    fn a_crash_in_the_middle_of_writes_leaves_old_or_new(seed: u64, lose_index: bool, puts in 1usize..12) {
        runtime().block_on(async {
            let disk = FaultyDisk::new();
            let index = Arc::new(MemoryIndex::default());
            let node = open(&disk, index.clone());
            for k in 0..6u8 {
                let (info, bytes) = shard(u64::from(k) + 1);
                node.put(key(k), info, bytes).await.unwrap();
            }
            // The fsync of what follows never succeeds, so that nothing of it is acknowledged.
            disk.fail_syncs(u64::MAX, seed);
            for i in 0..puts {
                let k = (i % 6) as u8;
                let (info, bytes) = shard(100 + u64::from(k));
                assert!(node.put(key(k), info, bytes).await.is_err());
            }
            let after = disk.crash(seed);
            drop(node);
            let index = if lose_index { Arc::new(MemoryIndex::default()) } else { index };
            let node = open(&after, index);
            old_or_new(&node).await;
            // What is written later must not vouch for what the crash has torn.
            for k in 6..12u8 {
                let (info, bytes) = shard(u64::from(k));
                node.put(key(k), info, bytes).await.unwrap();
            }
            drop(node);
            old_or_new(&open(&after, Arc::new(MemoryIndex::default()))).await;
        });
    }

    #[test]
    fn a_write_whose_fsync_failed_does_not_harm_what_it_was_to_replace(seed: u64, crash: u64, lose_index: bool) {
        runtime().block_on(async {
            let disk = FaultyDisk::new();
            let index = Arc::new(MemoryIndex::default());
            // One volume, so that the failure meets the write and not the mark at a volume's end.
            let options = NodeOptions { volume_size: 1 << 20, ..options() };
            let node =
                NodeEngine::open_on(NODE, Arc::new(disk.clone()), index.clone(), options).unwrap();
            for k in 0..6u8 {
                let (info, bytes) = shard(u64::from(k) + 1);
                node.put(key(k), info, bytes).await.unwrap();
            }
            disk.fail_syncs(1, seed);
            let (info, bytes) = shard(103);
            assert!(node.put(key(3), info, bytes).await.is_err());
            for k in 6..12u8 {
                let (info, bytes) = shard(u64::from(k));
                node.put(key(k), info, bytes).await.unwrap();
            }
            let after = disk.crash(crash);
            drop(node);
            let index = if lose_index { Arc::new(MemoryIndex::default()) } else { index };
            let node = open(&after, index);
            old_or_new(&node).await;
            for k in 6..12u8 {
                assert!(read(&node, key(k), u64::from(k)).await.unwrap() == shard(u64::from(k)).1);
            }
        });
    }
}

/// Shard `k` of the first six holds the content `k + 1`, or `100 + k`.
async fn old_or_new(node: &NodeEngine) {
    for k in 0..6u8 {
        let old = read(node, key(k), u64::from(k) + 1).await;
        let new = read(node, key(k), 100 + u64::from(k)).await;
        let fits = old.is_ok_and(|b| b == shard(u64::from(k) + 1).1)
            || new.is_ok_and(|b| b == shard(100 + u64::from(k)).1);
        assert!(fits, "shard {k} is neither old nor new");
    }
}

#[test]
fn any_flipped_byte_is_found_or_harmless_and_other_shards_are_not_touched() {
    runtime().block_on(async {
        let disk = FaultyDisk::new();
        let node = open(&disk, Arc::new(MemoryIndex::default()));
        for k in 0..6u8 {
            let (info, bytes) = shard(u64::from(k) + 1);
            node.put(key(k), info, bytes).await.unwrap();
        }
        drop(node);
        let volume = "vol-00000001.cfv";
        let len = disk.content(volume).len();
        assert!(len > 10_000);
        for at in (0..len).step_by(61) {
            let disk = disk.fork();
            assert!(disk.flip(volume, at, 0x40));
            // Without an index, so that every header is read again.
            let node = open(&disk, Arc::new(MemoryIndex::default()));
            let mut lost = 0;
            for k in 0..6u8 {
                let n = u64::from(k) + 1;
                let mut blocks_lost = 0;
                for block in 0..shard(n).0.blocks() {
                    let one = BlockRange { first: block, count: 1 };
                    match node.get(key(k), one).await {
                        Ok(bytes) => {
                            let from = block as usize * 1040;
                            assert!(
                                bytes == shard(n).1.slice(from..from + bytes.len()),
                                "wrong bytes, flipped at {at}"
                            );
                        }
                        Err(ShardError::Corrupt { .. } | ShardError::NotFound) => blocks_lost += 1,
                        Err(other) => panic!("{other}"),
                    }
                }
                lost += u32::from(blocks_lost > 0);
            }
            assert!(lost <= 1, "one flipped byte at {at} cost {lost} shards");
        }
    });
}

#[test]
fn a_full_disk_refuses_writes_and_keeps_reading_and_deletes_make_room() {
    runtime().block_on(async {
        let disk = FaultyDisk::new();
        let node = open(&disk, Arc::new(MemoryIndex::default()));
        let big = |n: u8| {
            let info = ShardInfo { code: Code::DEFAULT, block_size: 65_552, len: 65_552 };
            (info, Bytes::from(vec![n; 65_552]))
        };
        disk.set_capacity(Some(200_000));
        let mut stored = Vec::new();
        for n in 0..6u8 {
            let (info, bytes) = big(n);
            match node.put(key(n), info, bytes).await {
                Ok(()) => stored.push(n),
                Err(error) => assert_eq!(error, ShardError::Full),
            }
        }
        assert!((2..=3).contains(&stored.len()), "{stored:?}");
        assert!(!node.stat().await.unwrap().writable);
        for n in &stored {
            let all = BlockRange { first: 0, count: 1 };
            assert!(node.get(key(*n), all).await.unwrap() == big(*n).1);
        }
        disk.set_capacity(Some(210_000));
        node.delete(vec![key(stored[0])]).await.unwrap();
        let (info, bytes) = big(9);
        node.put(key(9), info, bytes).await.unwrap();
        assert!(node.stat().await.unwrap().writable, "the hole of the deleted shard gave room");
    });
}

#[test]
fn waiting_writes_share_fsyncs_and_a_small_read_is_small() {
    runtime().block_on(async {
        let disk = FaultyDisk::new();
        let mut options = options();
        options.volume_size = 1 << 30;
        let index = Arc::new(MemoryIndex::default());
        let node = NodeEngine::open_on(NODE, Arc::new(disk.clone()), index, options).unwrap();
        let node = Arc::new(node);
        let before = disk.syncs();
        let puts: Vec<_> = (0..64u8)
            .map(|k| {
                let node = node.clone();
                tokio::spawn(async move {
                    let info =
                        ShardInfo { code: Code::DEFAULT, block_size: 65_552, len: 1_048_832 };
                    node.put(key(k), info, vec![k; 1_048_832].into()).await
                })
            })
            .collect();
        for put in puts {
            put.await.unwrap().unwrap();
        }
        let syncs = disk.syncs() - before;
        assert!(syncs < 32, "{syncs} fsyncs for 64 shards");
        let before = disk.bytes_read();
        node.get(key(7), BlockRange { first: 9, count: 1 }).await.unwrap();
        let read = disk.bytes_read() - before;
        assert!(read <= 128 * 1024, "{read} bytes for one block");
    });
}

#[test]
fn a_failed_fsync_is_reported_and_the_node_goes_on_in_a_new_volume() {
    runtime().block_on(async {
        let disk = FaultyDisk::new();
        let node = open(&disk, Arc::new(MemoryIndex::default()));
        let (info, bytes) = shard(1);
        disk.fail_syncs(1, 0);
        let failed = node.put(key(1), info, bytes.clone()).await;
        assert!(matches!(failed, Err(ShardError::Disk(_))), "{failed:?}");
        assert_eq!(read(&node, key(1), 1).await, Err(ShardError::NotFound));
        node.put(key(1), info, bytes.clone()).await.unwrap();
        let after = disk.crash(5);
        drop(node);
        let node = open(&after, Arc::new(MemoryIndex::default()));
        assert!(read(&node, key(1), 1).await.unwrap() == bytes);
    });
}

#[test]
fn a_volume_that_could_not_be_begun_for_lack_of_space_is_begun_when_there_is_some() {
    runtime().block_on(async {
        let disk = FaultyDisk::new();
        let node = open(&disk, Arc::new(MemoryIndex::default()));
        let info = ShardInfo { code: Code::DEFAULT, block_size: 1040, len: 30_000 };
        let bytes = Bytes::from(vec![1; 30_000]);
        node.put(key(1), info, bytes.clone()).await.unwrap();
        // The volume is past its size: the next write begins another.
        disk.set_capacity(Some(disk.content("vol-00000001.cfv").len() as u64 + 100));
        for _ in 0..3 {
            assert_eq!(node.put(key(2), info, bytes.clone()).await, Err(ShardError::Full));
        }
        disk.set_capacity(None);
        node.put(key(2), info, bytes.clone()).await.unwrap();
        let after = disk.crash(7);
        drop(node);
        let node = open(&after, Arc::new(MemoryIndex::default()));
        for k in [1, 2] {
            let all = BlockRange { first: 0, count: info.blocks() };
            assert!(node.get(key(k), all).await.unwrap() == bytes);
        }
    });
}

#[test]
fn deletes_go_through_on_a_full_disk_among_puts_that_do_not() {
    runtime().block_on(async {
        let disk = FaultyDisk::new();
        let mut options = options();
        options.reserve_bytes = 10_000;
        let index = Arc::new(MemoryIndex::default());
        let node = NodeEngine::open_on(NODE, Arc::new(disk.clone()), index, options).unwrap();
        let (info, bytes) = shard(5);
        for k in 0..10 {
            node.put(key(k), info, bytes.clone()).await.unwrap();
        }
        disk.set_capacity(Some(75_000));
        let puts =
            futures::future::join_all((10..20).map(|k| node.put(key(k), info, bytes.clone())));
        let deletes = futures::future::join_all((0..10).map(|k| node.delete(vec![key(k)])));
        let (puts, deletes) = tokio::join!(puts, deletes);
        assert!(puts.contains(&Err(ShardError::Full)), "{puts:?}");
        assert!(deletes.iter().all(Result::is_ok), "{deletes:?}");
    });
}

#[test]
fn more_blocks_than_a_record_may_have_are_refused_before_they_are_stored() {
    runtime().block_on(async {
        let node = open(&FaultyDisk::new(), Arc::new(MemoryIndex::default()));
        let info = ShardInfo { code: Code::DEFAULT, block_size: 17, len: 17 * 1025 };
        let refused = node.put(key(1), info, vec![0; 17 * 1025].into()).await;
        assert!(matches!(refused, Err(ShardError::BadRequest(_))), "{refused:?}");
    });
}
