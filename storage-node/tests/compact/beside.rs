//! Beside requests: at its pace, and while they race with it.

use crate::bed::{Bed, content, info, key};
use crate::setup::{self, NODE, options};
use coffer_core::shard::{BlockRange, ShardError, ShardStore};
use coffer_node::testing::FakeClock;
use coffer_node::{CompactOptions, NodeEngine, NodeOptions, ScrubOptions};
use std::sync::Arc;
use std::time::Duration;

#[test]
fn the_pace_is_kept() {
    let runtime = setup::runtime();
    runtime.block_on(async {
        let clock = Arc::new(FakeClock::default());
        let compact = CompactOptions { live_percent: 50, max_bytes_per_second: 10_000 };
        let options = NodeOptions {
            compact,
            clock: clock.clone(),
            volume_size: 400_000,
            reserve_bytes: 0,
            scrub: ScrubOptions::OFF,
            ..NodeOptions::default()
        };
        let mut bed = Bed::with(options);
        bed.disk.refuse_holes(true);
        clock.settle();
        for n in 0..20 {
            bed.put(n, 50_000).await;
        }
        for n in (0..20).filter(|n| n % 3 > 0) {
            bed.delete(n).await;
        }
        let base = bed.disk.bytes_read();
        // It looks once a minute whether there is something to do.
        clock.advance(Duration::from_secs(60));
        // The live shards of one volume go to the writer at once.
        let (mut passed, batch) = (0u64, 200_000);
        while bed.compaction().await.volumes < 2 {
            assert!(passed < 1000, "{:?}", bed.compaction().await);
            let moved = bed.disk.bytes_read() - base + bed.compaction().await.copied_bytes;
            let due = 10_000 * passed;
            assert!(moved <= due + batch + 70_000, "{moved} of {due} bytes after {passed} s");
            clock.advance(Duration::from_secs(5));
            passed += 5;
        }
        let stat = bed.compaction().await;
        println!("{} bytes copied in {passed} s", stat.copied_bytes);
        assert_eq!(stat.bytes_per_second, 10_000);
        assert!(passed >= 2 * stat.copied_bytes / 10_000);
        bed.check().await;
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_and_deletes_race_with_it_on_a_real_disk() {
    const SHARDS: u32 = 300;
    let dir = tempfile::tempdir().unwrap();
    let options = || NodeOptions { volume_size: 100_000, ..options() };
    let node = Arc::new(NodeEngine::open(dir.path(), NODE, options()).unwrap());
    for n in 0..SHARDS {
        node.put(key(n), info(3000), content(n, 3000)).await.unwrap();
    }
    let all = BlockRange { first: 0, count: 3 };
    let reader = {
        let node = node.clone();
        tokio::spawn(async move {
            let mut reads = 0;
            // The first quarter is never deleted.
            for n in (0..SHARDS / 4).cycle().take(6000) {
                assert!(node.get(key(n), all).await.unwrap() == content(n, 3000), "shard {n}");
                reads += 1;
            }
            reads
        })
    };
    let deleter = {
        let node = node.clone();
        tokio::spawn(async move {
            for n in SHARDS / 4..SHARDS {
                node.delete(vec![key(n)]).await.unwrap();
                assert_eq!(node.get(key(n), all).await, Err(ShardError::NotFound));
            }
        })
    };
    while !deleter.is_finished() || !reader.is_finished() {
        node.compact().await;
    }
    deleter.await.unwrap();
    let reads = reader.await.unwrap();
    node.compact().await;
    let stat = node.stat().await.unwrap();
    println!("{reads} reads beside {:?}", stat.compaction);
    assert_eq!((stat.shards, stat.corrupt, stat.findings), (u64::from(SHARDS) / 4, 0, 0));
    assert!(stat.compaction.volumes > 0);
    drop(node);
    for keep_index in [true, false] {
        if !keep_index {
            std::fs::remove_dir_all(dir.path().join("index")).unwrap();
        }
        let node = NodeEngine::open(dir.path(), NODE, options()).unwrap();
        assert_eq!(node.stat().await.unwrap().shards, u64::from(SHARDS) / 4);
        for n in 0..SHARDS {
            let expected =
                if n < SHARDS / 4 { Ok(content(n, 3000)) } else { Err(ShardError::NotFound) };
            assert!(node.get(key(n), all).await == expected, "shard {n}");
        }
    }
}
