//! The writer: group commit, full disks, failed fsyncs, damaged bytes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

#[path = "common/setup.rs"]
mod setup;
#[path = "common/shards.rs"]
mod shards;

use bytes::Bytes;
use coffer_core::erasure::Code;
use coffer_core::shard::{BlockRange, ShardError, ShardInfo, ShardStore};
use coffer_node::NodeEngine;
use coffer_node::index::MemoryIndex;
use coffer_node::testing::FaultyDisk;
use setup::{NODE, options, runtime};
use shards::{key, open, read, shard};
use std::sync::Arc;

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

#[test]
fn what_the_index_did_not_take_is_not_left_behind_what_is_written_next() {
    runtime().block_on(async {
        let (disk, index) = (FaultyDisk::new(), Arc::new(MemoryIndex::default()));
        let node = open(&disk, index.clone());
        let (info, bytes) = shard(1);
        for k in 0..4 {
            node.put(key(k), info, bytes.clone()).await.unwrap();
        }
        // Four tombstones are durable, and nobody is told so.
        index.fail_applies(1);
        let failed = node.delete((0..4).map(key).collect()).await;
        assert!(matches!(failed, Err(ShardError::Disk(_))), "{failed:?}");
        // This record is as long as two of them.
        let short = ShardInfo { code: Code::DEFAULT, block_size: 1040, len: 64 };
        node.put(key(3), short, Bytes::from(vec![7; 64])).await.unwrap();
        let after = disk.kill();
        drop(node);
        let node = open(&after, Arc::new(MemoryIndex::default()));
        for k in 0..3 {
            assert!(read(&node, key(k), 1).await.unwrap() == bytes);
        }
        let one = BlockRange { first: 0, count: 1 };
        assert!(node.get(key(3), one).await.unwrap() == vec![7; 64]);
    });
}
