//! Compaction gives space back, keeps to its bounds, and leaves alone what it must not touch.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

#[path = "common/bed.rs"]
mod bed;

use bed::{NODE, options};
use bytes::Bytes;
use coffer_core::erasure::Code;
use coffer_core::ids::BlobId;
use coffer_core::shard::{
    BlockRange, CompactionStat, Damage, NodeStat, ShardError, ShardInfo, ShardKey, ShardStore,
};
use coffer_node::disk::Disk;
use coffer_node::index::{Index, MemoryIndex};
use coffer_node::testing::{FakeClock, FaultyDisk};
use coffer_node::{CompactOptions, NodeEngine, NodeOptions};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const VOLUME_SIZE: u64 = 20_000;

/// The `n`-th shard that a test has.
fn key(n: u32) -> ShardKey {
    ShardKey { blob: BlobId::from_bytes([7; 16]), chunk: n, index: 0, generation: 0 }
}

fn info(len: u32) -> ShardInfo {
    ShardInfo { code: Code::DEFAULT, block_size: 1040, len }
}

fn content(n: u32, len: u32) -> Bytes {
    let mut bytes = vec![0; len as usize];
    blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes.into()
}

/// A node on a disk of the test's.
struct Bed {
    disk: FaultyDisk,
    index: Arc<MemoryIndex>,
    node: NodeEngine,
    /// Lengths of the shards that are there.
    live: BTreeMap<u32, u32>,
}

impl Bed {
    fn new() -> Self {
        Self::with(options())
    }

    fn with(options: NodeOptions) -> Self {
        let (disk, index) = (FaultyDisk::new(), Arc::new(MemoryIndex::default()));
        let node = start(&disk, &index, options);
        Self { disk, index, node, live: BTreeMap::new() }
    }

    /// Starts it anew, without an index; gives the bytes that were read for that.
    fn restart(&mut self, options: NodeOptions) -> u64 {
        self.disk = self.disk.kill();
        self.index = Arc::new(MemoryIndex::default());
        let before = self.disk.bytes_read();
        self.node = start(&self.disk, &self.index, options);
        self.disk.bytes_read() - before
    }

    async fn put(&mut self, n: u32, len: u32) {
        self.node.put(key(n), info(len), content(n, len)).await.unwrap();
        self.live.insert(n, len);
    }

    async fn delete(&mut self, n: u32) {
        self.node.delete(vec![key(n)]).await.unwrap();
        self.live.remove(&n);
    }

    /// Everything that is live reads back, and nothing else is there.
    async fn check(&self) {
        for (n, len) in &self.live {
            let all = BlockRange { first: 0, count: info(*len).blocks() };
            assert!(self.node.get(key(*n), all).await.unwrap() == content(*n, *len), "shard {n}");
        }
        assert_eq!(self.stat().await.shards, self.live.len() as u64);
    }

    async fn stat(&self) -> NodeStat {
        self.node.stat().await.unwrap()
    }

    async fn compaction(&self) -> CompactionStat {
        self.stat().await.compaction
    }

    fn volumes(&self) -> Vec<String> {
        self.disk.list().unwrap()
    }

    fn live_bytes(&self) -> u64 {
        self.index.usage().unwrap().iter().map(|(_, usage)| usage.bytes).sum()
    }
}

fn start(disk: &FaultyDisk, index: &Arc<MemoryIndex>, options: NodeOptions) -> NodeEngine {
    NodeEngine::open_on(NODE, Arc::new(disk.clone()), index.clone(), options).unwrap()
}

#[tokio::test]
async fn after_most_is_deleted_the_volumes_take_at_most_twice_what_is_live() {
    for holes in [false, true] {
        let mut bed = Bed::new();
        bed.disk.refuse_holes(!holes);
        for n in 0..400 {
            bed.put(n, 100 + n * 977 % 8000).await;
        }
        for n in (0..400).filter(|n| n % 10 != 3) {
            bed.delete(n).await;
        }
        let (before, live) = (bed.disk.used(), bed.live_bytes());
        bed.node.compact().await;
        let (after, stat) = (bed.disk.used(), bed.compaction().await);
        println!("holes {holes}: {live} bytes live, {before} on disk, then {after}: {stat:?}");
        // The volume that is written to is left as it is.
        assert!(after <= 2 * live + VOLUME_SIZE + 10_000, "{after} for {live}");
        assert_eq!(stat.dead_bytes, after - live);
        assert!(stat.volumes > 0 && stat.freed_bytes >= before - after);
        // Tombstones and each survivor once or twice.
        assert!(stat.copied_bytes <= 2 * live + 400 * 96, "{}", stat.copied_bytes);
        bed.check().await;
        bed.restart(options());
        bed.check().await;

        for n in bed.live.clone().into_keys() {
            bed.delete(n).await;
        }
        bed.node.compact().await;
        assert!(bed.disk.used() <= VOLUME_SIZE + 10_000, "{:?}", bed.volumes());
        bed.restart(options());
        bed.check().await;
    }
}

#[tokio::test]
async fn what_a_start_reads_and_the_disk_holds_follows_from_what_is_live_not_from_what_was() {
    let mut figures = Vec::new();
    for rounds in [10, 100] {
        let mut bed = Bed::new();
        // Cold shards at the very begin, which are never worth moving, must not pin the tombstones.
        for n in 0..10 {
            bed.put(n, 6000).await;
        }
        for round in 0..rounds {
            let first = 100 + round * 40;
            for n in first..first + 40 {
                bed.put(n, 300 + n % 700).await;
            }
            for n in first..first + 40 {
                bed.delete(n).await;
                // Deleting what is gone costs nothing.
                bed.node.delete(vec![key(n), key(n - 50)]).await.unwrap();
            }
            bed.node.compact().await;
        }
        let (used, volumes) = (bed.disk.used(), bed.volumes().len());
        let read = bed.restart(options());
        bed.check().await;
        println!(
            "{} shards live of {} put: {used} bytes in {volumes} volumes, a start without an index reads {read}",
            bed.live.len(),
            10 + rounds * 40,
        );
        figures.push((used, volumes as u64, read));
    }
    let [(used, volumes, read), (used_later, volumes_later, read_later)] = figures[..] else {
        panic!("{figures:?}")
    };
    assert!(used_later <= used + VOLUME_SIZE && volumes_later <= volumes + 1, "{figures:?}");
    assert!(read_later <= read + 2 * VOLUME_SIZE, "{figures:?}");
}

#[tokio::test]
async fn a_volume_with_a_damaged_record_is_left_alone_until_the_shard_is_stored_anew() {
    let mut bed = Bed::new();
    for n in 0..4 {
        bed.put(n, 5000).await;
    }
    bed.put(9, 100).await;
    for n in 0..3 {
        bed.delete(n).await;
    }
    let victim = "vol-00000001.cfv";
    // In the payload of shard 3, the last of the first volume.
    let at = bed.disk.content(victim).len() - 3000;
    assert!(bed.disk.flip(victim, at, 1));
    bed.node.compact().await;
    assert!(bed.volumes().contains(&victim.to_owned()));
    let found = bed.node.findings(None, 10).await.unwrap();
    assert!(
        matches!(found[..], [ref f] if f.key == key(3) && matches!(f.damage, Damage::BadBlock { .. }))
    );
    bed.node.compact().await;
    let stat = bed.compaction().await;
    assert_eq!((stat.volumes, stat.held_back), (0, 1));
    let all = BlockRange { first: 0, count: 5 };
    assert!(matches!(bed.node.get(key(3), all).await, Err(ShardError::Corrupt { .. })));

    bed.put(3, 5000).await;
    bed.node.compact().await;
    assert!(!bed.volumes().contains(&victim.to_owned()));
    assert_eq!(bed.compaction().await.held_back, 0);
    bed.restart(options());
    bed.check().await;
}

#[tokio::test]
async fn bytes_that_may_have_been_a_tombstone_hold_their_volume_back_while_there_are_older_ones() {
    let mut bed = Bed::new();
    // Volume 1 stays, and has a dead record whose tombstone is the first record of volume 2.
    for n in 0..4 {
        bed.put(n, 5000).await;
    }
    bed.delete(0).await;
    for n in 4..8 {
        bed.put(n, 5000).await;
    }
    for n in 4..8 {
        bed.delete(n).await;
    }
    bed.disk.flip("vol-00000002.cfv", 64 + 20, 1);
    bed.node.compact().await;
    assert!(bed.volumes().contains(&"vol-00000002.cfv".to_owned()));
    assert_eq!(bed.compaction().await.volumes, 0);
    // Nothing older is left: whatever it killed is gone.
    for n in 1..4 {
        bed.delete(n).await;
    }
    bed.node.compact().await;
    bed.node.compact().await;
    assert_eq!(bed.volumes(), ["vol-00000003.cfv"]);
}

#[tokio::test]
async fn on_a_full_disk_it_takes_what_fits_and_lives_off_the_reserve() {
    let mut bed = Bed::with(NodeOptions { reserve_bytes: 16_000, ..options() });
    bed.disk.refuse_holes(true);
    for n in 0..40 {
        bed.put(n, 5000).await;
    }
    // Of the first volume a quarter is live, of the others nearly half.
    for n in [0, 1, 2] {
        bed.delete(n).await;
    }
    for volume in 1..9 {
        bed.delete(4 * volume).await;
        bed.delete(4 * volume + 1).await;
        bed.put(4 * volume + 2, 3500).await;
    }
    let used = bed.disk.used();
    // Not even half of the reserve is free: nothing may be begun.
    bed.disk.set_capacity(Some(used + 12_000));
    bed.node.compact().await;
    assert_eq!(bed.disk.used(), used);
    assert!(bed.compaction().await.short_of_space);
    let refused = bed.node.put(key(99), info(100), content(99, 100)).await;
    assert_eq!(refused, Err(ShardError::Full));
    // Half of it and one record are: from one volume to the next all of it is done.
    bed.disk.set_capacity(Some(used + 14_000));
    bed.node.compact().await;
    let stat = bed.compaction().await;
    assert!(stat.volumes >= 5 && !stat.short_of_space, "{stat:?}");
    bed.put(99, 100).await;
    bed.check().await;
    bed.restart(options());
    bed.check().await;
}

#[tokio::test]
async fn what_fails_in_the_middle_changes_nothing_for_readers_and_is_tried_again() {
    let mut bed = Bed::new();
    for n in 0..8 {
        bed.put(n, 5000).await;
    }
    for n in [0, 1, 2, 4, 5] {
        bed.delete(n).await;
    }
    let volumes = bed.volumes();
    bed.disk.fail_syncs(1, 3);
    bed.node.compact().await;
    bed.check().await;
    // The other volumes went on meanwhile.
    assert!(bed.volumes().contains(&volumes[0]) || bed.volumes().contains(&volumes[1]));
    bed.node.compact().await;
    assert!(!bed.volumes().contains(&volumes[0]) && !bed.volumes().contains(&volumes[1]));
    bed.check().await;
    bed.restart(options());
    bed.check().await;
}

#[test]
fn the_pace_is_kept() {
    let runtime = bed::runtime();
    runtime.block_on(async {
        let clock = Arc::new(FakeClock::default());
        let compact = CompactOptions { live_percent: 50, max_bytes_per_second: 10_000 };
        let options = NodeOptions {
            compact,
            clock: clock.clone(),
            volume_size: 400_000,
            reserve_bytes: 0,
            scrub: coffer_node::ScrubOptions::OFF,
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
