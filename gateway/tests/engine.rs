//! The engine against nodes that fail: what is acknowledged reads back, what can't be done says so.

#![allow(clippy::unwrap_used, clippy::panic, clippy::cast_possible_truncation)]

mod support;

use bytes::Bytes;
use coffer_core::catalog::records::BucketRecord;
use coffer_core::erasure::Code;
use coffer_core::ids::BucketName;
use coffer_core::layout::CHUNK_LEN;
use coffer_core::manifest::{Content, Manifest, Part};
use coffer_core::random::OsRandom;
use coffer_core::seal::Key;
use coffer_core::shard::ShardStore;
use coffer_gateway::engine::fetch::ReadError;
use coffer_gateway::engine::keys::{BucketKeys, MasterKey};
use coffer_gateway::engine::nodes::NodeSet;
use coffer_gateway::engine::write::{BodyError, WriteError};
use coffer_gateway::engine::{Engine, EngineConfig};
use coffer_node::index::MemoryIndex;
use coffer_node::testing::FaultyDisk;
use coffer_node::{CompactOptions, NodeEngine, NodeOptions, ScrubOptions};
use futures::{StreamExt, TryStreamExt, stream};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use support::{Cluster, Mood};

fn config() -> EngineConfig {
    EngineConfig {
        shard_timeout: Duration::from_secs(2),
        hedge_cap: Duration::from_millis(50),
        straggler_grace: Duration::from_millis(50),
        ..EngineConfig::default()
    }
}

fn engine(cluster: &Cluster) -> Arc<Engine> {
    Engine::new(config(), NodeSet::new(cluster.map(), cluster.stores()).unwrap())
}

fn keys() -> BucketKeys {
    let master = MasterKey::new(&Key::from_bytes([1; 32]));
    let bucket = BucketName::new("bucket").unwrap();
    let record: BucketRecord =
        master.new_bucket(&bucket, Code::DEFAULT, "root".into(), 0, &OsRandom).unwrap();
    master.open(&bucket, &record).unwrap()
}

fn data(len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

fn body(data: &[u8]) -> impl futures::Stream<Item = Result<Bytes, BodyError>> + Unpin + use<> {
    let frames: Vec<_> = data.chunks(100_000).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
    stream::iter(frames)
}

async fn write(engine: &Arc<Engine>, keys: &BucketKeys, data: &[u8]) -> Result<Part, WriteError> {
    let expected = Some(data.len() as u64);
    engine.write_part(keys, body(data), expected, ()).await.map(|(part, ())| part)
}

async fn read(
    engine: &Arc<Engine>,
    keys: &BucketKeys,
    part: &Part,
    range: std::ops::Range<u64>,
) -> Result<Vec<u8>, ReadError> {
    let manifest = Manifest { parts: vec![part.clone()] };
    let stream = engine.read(keys, manifest, range).await?;
    Ok(stream.try_collect::<Vec<Bytes>>().await?.concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_around_every_edge_read_back_whole_and_in_ranges() {
    let cluster = Cluster::new(6);
    let (engine, keys) = (engine(&cluster), keys());
    let chunk = CHUNK_LEN as usize;
    for len in [0, 1, 1024, 1025, 65_535, 65_536, 65_537, chunk - 1, chunk, chunk + 1, 9_000_000] {
        let data = data(len);
        let part = write(&engine, &keys, &data).await.unwrap();
        assert_eq!(part.check(), Ok(()));
        assert_eq!(part.size, len as u64);
        assert_eq!(read(&engine, &keys, &part, 0..len as u64).await.unwrap(), data, "{len}");
        for (start, end) in [(0, 1), (len / 3, len / 2), (len.saturating_sub(1), len), (1, len)] {
            if start < end && end <= len {
                let got = read(&engine, &keys, &part, start as u64..end as u64).await.unwrap();
                assert_eq!(got, data[start..end], "{start}..{end} of {len}");
            }
        }
    }
}

/// Nodes don't check what a gateway authenticates; what rots is found all the same.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_rot_on_a_disk_are_read_around_and_their_node_lists_them() {
    let (volume, cluster, keys) = ("vol-00000001.cfv", Cluster::new(6), keys());
    let disks: Vec<FaultyDisk> = cluster.nodes.iter().map(|_| FaultyDisk::new()).collect();
    let mut nodes = Vec::new();
    for (node, disk) in cluster.nodes.iter().zip(&disks) {
        let options = NodeOptions {
            reserve_bytes: 0,
            scrub: ScrubOptions::OFF,
            compact: CompactOptions::OFF,
            ..NodeOptions::default()
        };
        let index = Arc::new(MemoryIndex::default());
        let engine = NodeEngine::open_on(node.id, Arc::new(disk.clone()), index, options);
        nodes.push(Arc::new(engine.unwrap()));
    }
    let store = |node: &Arc<NodeEngine>| (node.node(), node.clone() as Arc<dyn ShardStore>);
    let stores: HashMap<_, _> = nodes.iter().map(store).collect();
    let engine = Engine::new(config(), NodeSet::new(cluster.map(), stores).unwrap());
    let data = data(1_000_000);
    let part = write(&engine, &keys, &data).await.unwrap();
    let whole = 0..data.len() as u64;
    for disk in &disks {
        let middle = disk.content(volume).len() / 2;
        assert!(disk.flip(volume, middle, 4));
        assert_eq!(read(&engine, &keys, &part, whole.clone()).await.unwrap(), data);
        assert!(disk.flip(volume, middle, 4));
    }
    // Those with a data shard; parity is not read while all is well.
    let mut found = 0;
    for node in &nodes {
        found += node.findings(None, 10).await.unwrap().len();
    }
    assert_eq!(found, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_two_nodes_may_fail_in_any_way() {
    let cluster = Cluster::new(6);
    let (engine, keys) = (engine(&cluster), keys());
    let data = data(5_000_000);
    let part = write(&engine, &keys, &data).await.unwrap();
    for mood in [Mood::Down, Mood::Hangs, Mood::Damaged, Mood::Lies] {
        for (a, b) in [(0, 1), (2, 5), (3, 4)] {
            cluster.nodes[a].set(mood);
            cluster.nodes[b].set(mood);
            let whole = read(&engine, &keys, &part, 0..data.len() as u64).await;
            assert_eq!(whole.unwrap(), data, "{mood:?} {a} {b}");
            let some = read(&engine, &keys, &part, 1_234_567..1_400_000).await;
            assert_eq!(some.unwrap(), data[1_234_567..1_400_000], "{mood:?} {a} {b}");
            cluster.set(0..6, Mood::Fine);
        }
    }
}

/// What is rebuilt from two forged shards can't be trusted, whichever of them is left out; the sound
/// one that is late can.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_node_is_waited_for_when_two_others_lie() {
    let cluster = Cluster::new(6);
    let (engine, keys) = (engine(&cluster), keys());
    let data = data(1_000_000);
    for slow in 0..6 {
        let part = write(&engine, &keys, &data).await.unwrap();
        cluster.set(0..6, Mood::Lies);
        cluster.nodes[slow].set(Mood::Slow(Duration::from_millis(200)));
        for sound in [(slow + 1) % 6, (slow + 3) % 6, (slow + 4) % 6] {
            cluster.nodes[sound].set(Mood::Fine);
        }
        assert_eq!(read(&engine, &keys, &part, 0..1_000_000).await.unwrap(), data, "slow: {slow}");
        cluster.set(0..6, Mood::Fine);
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
}

/// When all nodes are slow there is too much to do: asking for more makes it worse.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_are_all_slow_are_not_asked_for_much_more() {
    let cluster = Cluster::new(6);
    let (engine, keys) = (engine(&cluster), keys());
    let data = data(1_000_000);
    let part = write(&engine, &keys, &data).await.unwrap();
    // Four shards of each, all of them late.
    let (wanted, whole) = (4 * 300, 0..1_000_000);
    cluster.set(0..6, Mood::Slow(Duration::from_millis(120)));
    let reads = stream::iter(0..300).map(|_| read(&engine, &keys, &part, whole.clone()));
    let all: Vec<_> = reads.buffer_unordered(20).try_collect().await.unwrap();
    assert!(all.iter().all(|read| *read == data));
    let asked = cluster.reads();
    // A twentieth, a burst, and those that were asked for again by what was got around in vain.
    assert!(asked <= wanted * 21 / 20 + 2 * 32, "{asked} reads for {wanted}");
    assert!(asked > wanted, "none was late");
}

/// One that is slow is no reason to wait, however often it is met.
#[tokio::test(flavor = "multi_thread")]
async fn one_slow_or_hung_node_is_read_around_whatever_is_read() {
    let cluster = Cluster::new(6);
    let data = data(1_000_000);
    for mood in [Mood::Slow(Duration::from_secs(3)), Mood::Hangs] {
        let config = EngineConfig { hedge_cap: Duration::from_secs(2), ..config() };
        let nodes = NodeSet::new(cluster.map(), cluster.stores()).unwrap();
        let (engine, keys) = (Engine::new(config, nodes), keys());
        let part = write(&engine, &keys, &data).await.unwrap();
        // What is usual, for short reads and long ones.
        for len in [1_000, 1_000_000] {
            for _ in 0..20 {
                read(&engine, &keys, &part, 0..len).await.unwrap();
            }
        }
        for node in 0..6 {
            cluster.nodes[node].set(mood);
            let began = std::time::Instant::now();
            // Far more than may be read elsewhere only since they are late.
            let ranges = (0..200).map(|n| n * 4_900..n * 4_900 + 4_096);
            let reads = ranges.map(async |range: std::ops::Range<u64>| {
                let got = read(&engine, &keys, &part, range.clone()).await.unwrap();
                assert_eq!(got, data[range.start as usize..range.end as usize]);
            });
            futures::future::join_all(reads).await;
            assert_eq!(read(&engine, &keys, &part, 0..1_000_000).await.unwrap(), data);
            let took = began.elapsed();
            assert!(took < Duration::from_millis(1500), "{mood:?} {node}: {took:?}");
            cluster.nodes[node].set(Mood::Fine);
            tokio::time::sleep(Duration::from_millis(1100)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_three_nodes_gone_reads_and_writes_say_so_and_recover() {
    let cluster = Cluster::new(6);
    let (engine, keys) = (engine(&cluster), keys());
    let data = data(300_000);
    let part = write(&engine, &keys, &data).await.unwrap();
    for mood in [Mood::Down, Mood::Hangs] {
        cluster.set(0..3, mood);
        let gone = read(&engine, &keys, &part, 0..300_000).await;
        assert!(matches!(gone, Err(ReadError::Unavailable { .. })), "{mood:?}");
        let refused = write(&engine, &keys, &data).await;
        let no_quorum =
            matches!(refused, Err(WriteError::NoQuorum { .. } | WriteError::TooFewNodes(_)));
        assert!(no_quorum, "{mood:?} {refused:?}");
        cluster.set(0..6, Mood::Fine);
        assert_eq!(read(&engine, &keys, &part, 0..300_000).await.unwrap(), data);
    }
    cluster.set(0..3, Mood::Damaged);
    let lost = read(&engine, &keys, &part, 0..300_000).await;
    assert!(matches!(lost, Err(ReadError::Damaged { .. })), "waiting would not help: {lost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_go_around_two_lost_or_full_nodes_with_full_redundancy() {
    let cluster = Cluster::new(6);
    let (engine, keys) = (engine(&cluster), keys());
    let data = data(1_000_000);
    for mood in [Mood::Down, Mood::Full, Mood::Hangs] {
        cluster.set(1..3, mood);
        let part = write(&engine, &keys, &data).await.unwrap();
        let Content::Sharded { chunks, .. } = &part.content else { panic!("not sharded") };
        // The first write may have met its quorum before it knew that the others hang.
        if mood != Mood::Hangs {
            assert!(chunks.iter().all(|c| c.placed.iter().all(Option::is_some)), "{mood:?}");
        }
        cluster.set(0..6, Mood::Fine);
        // One more node may be lost.
        cluster.set(5..6, Mood::Down);
        assert_eq!(read(&engine, &keys, &part, 0..1_000_000).await.unwrap(), data, "{mood:?}");
        cluster.set(0..6, Mood::Fine);
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quorum_on_too_few_nodes_is_not_enough_and_the_rest_is_waited_for() {
    let cluster = Cluster::new(6);
    let (engine, keys) = (engine(&cluster), keys());
    let data = data(1_000_000);
    // Two nodes hold two shards each, two hold one; all others are soon there before the slow one's.
    cluster.set(1..3, Mood::Down);
    for slow in [0, 3, 4, 5].repeat(3) {
        cluster.nodes[slow].set(Mood::Slow(Duration::from_millis(200)));
        let part = write(&engine, &keys, &data).await.unwrap();
        cluster.nodes[slow].set(Mood::Fine);
        let Content::Sharded { nodes, chunks } = &part.content else { panic!("not sharded") };
        for chunk in chunks {
            for lost in 0..nodes.len() {
                let left = |slot: &&Option<u16>| slot.is_some_and(|slot| usize::from(slot) != lost);
                let left = chunk.placed.iter().filter(left).count();
                assert!(left >= 4, "{:?} without {lost}", chunk.placed);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_off_leaves_no_shards_behind() {
    let cluster = Cluster::new(6);
    let (engine, keys) = (engine(&cluster), keys());
    let broken = body(&data(9_000_000)).chain(stream::iter([Err(BodyError::from("cut off"))]));
    let outcome = engine.write_part(&keys, broken, None, ()).await;
    assert!(matches!(outcome, Err(WriteError::Body(_))));
    // The same when the client goes away in the middle.
    let endless = body(&data(9_000_000)).chain(stream::pending());
    let cut = tokio::time::timeout(
        Duration::from_millis(500),
        engine.write_part(&keys, endless, None, ()),
    );
    assert!(cut.await.is_err());
    for _ in 0..100 {
        if cluster.shard_count() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} shards are left", cluster.shard_count());
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_hold_no_plaintext_and_no_two_parts_share_bytes() {
    let cluster = Cluster::new(6);
    let (engine, keys) = (engine(&cluster), keys());
    let text = b"attack at dawn, ".repeat(20_000);
    write(&engine, &keys, &text).await.unwrap();
    write(&engine, &keys, &text).await.unwrap();
    let mut seen = std::collections::HashSet::new();
    for node in &cluster.nodes {
        for (_, payload) in node.shards().into_values() {
            assert!(!payload.windows(12).any(|w| w == b"attack at da"));
            assert!(seen.insert(payload), "equal plaintexts must not give equal shards");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_buckets_keys_open_nothing() {
    let cluster = Cluster::new(6);
    let engine = engine(&cluster);
    let part = write(&engine, &keys(), &data(100_000)).await.unwrap();
    let outcome = read(&engine, &keys(), &part, 0..100_000).await;
    assert!(matches!(outcome, Err(ReadError::Seal(_))), "{outcome:?}");
}
