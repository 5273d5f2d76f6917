//! What small writes and reads cost the disks, counted: real nodes, on disks in memory that count.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use bytes::Bytes;
use coffer_core::erasure::Code;
use coffer_core::ids::{BucketName, NodeId};
use coffer_core::manifest::{Manifest, Part};
use coffer_core::placement::{ClusterMap, NodeEntry, NodeState};
use coffer_core::random::OsRandom;
use coffer_core::seal::Key;
use coffer_core::shard::ShardStore;
use coffer_gateway::engine::keys::{BucketKeys, MasterKey};
use coffer_gateway::engine::nodes::NodeSet;
use coffer_gateway::engine::write::BodyError;
use coffer_gateway::engine::{Engine, EngineConfig};
use coffer_node::disk::{Disk, DiskFile};
use coffer_node::index::MemoryIndex;
use coffer_node::testing::FaultyDisk;
use coffer_node::{CompactOptions, NodeEngine, NodeOptions, ScrubOptions};
use futures::{TryStreamExt, stream};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the bytes that are read, and the fsyncs.
#[derive(Debug, Default)]
struct Counts {
    read: AtomicU64,
    syncs: AtomicU64,
}

#[derive(Debug)]
struct CountingDisk(FaultyDisk, Arc<Counts>);

#[derive(Debug)]
struct CountingFile(Arc<dyn DiskFile>, Arc<Counts>);

impl CountingDisk {
    fn counted(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(CountingFile(file, self.1.clone()))
    }
}

impl Disk for CountingDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.0.create(name).map(|file| self.counted(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.0.open(name).map(|file| self.counted(file))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.1.syncs.fetch_add(1, Ordering::Relaxed);
        self.0.sync_dir()
    }

    fn free_space(&self) -> io::Result<u64> {
        self.0.free_space()
    }

    fn total_space(&self) -> io::Result<u64> {
        self.0.total_space()
    }
}

impl DiskFile for CountingFile {
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn allocated(&self) -> io::Result<u64> {
        self.0.allocated()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.1.read.fetch_add(buf.len() as u64, Ordering::Relaxed);
        self.0.read_at(buf, offset)
    }

    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        self.0.write_at(parts, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.1.syncs.fetch_add(1, Ordering::Relaxed);
        self.0.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        self.0.punch_hole(offset, len)
    }
}

struct Counted {
    engine: Arc<Engine>,
    keys: BucketKeys,
    counts: Vec<Arc<Counts>>,
}

impl Counted {
    fn new(nodes: u8) -> Self {
        let (mut stores, mut entries, mut counts) = (HashMap::new(), Vec::new(), Vec::new());
        for i in 0..nodes {
            let (id, count) = (NodeId::from_bytes([i; 16]), Arc::<Counts>::default());
            let options = NodeOptions {
                scrub: ScrubOptions::OFF,
                compact: CompactOptions::OFF,
                ..NodeOptions::default()
            };
            let disk = Arc::new(CountingDisk(FaultyDisk::new(), count.clone()));
            let index = Arc::new(MemoryIndex::default());
            let node = NodeEngine::open_on(id, disk, index, options).unwrap();
            stores.insert(id, Arc::new(node) as Arc<dyn ShardStore>);
            entries.push(NodeEntry {
                id,
                name: format!("node-{i}"),
                address: String::new(),
                domain: String::new(),
                weight: 1.0,
                state: NodeState::Active,
            });
            counts.push(count);
        }
        let map = ClusterMap { version: 1, nodes: entries };
        let engine = Engine::new(EngineConfig::default(), NodeSet::new(map, stores).unwrap());
        let counted = Self { engine, keys: keys(), counts };
        counted.take(|c| &c.syncs);
        counted.take(|c| &c.read);
        counted
    }

    /// Stores a part.
    fn write(&self, data: Bytes) -> impl Future<Output = Part> + Send + use<> {
        let (engine, keys, len) = (self.engine.clone(), self.keys.clone(), data.len() as u64);
        let body = stream::iter([Ok::<_, BodyError>(data)]);
        async move { engine.write_part(&keys, body, Some(len), ()).await.unwrap().0 }
    }

    /// Reads some bytes of a part.
    async fn read(&self, part: &Part, range: std::ops::Range<u64>) -> Vec<u8> {
        let manifest = Manifest { parts: vec![part.clone()] };
        let stream = self.engine.read(&self.keys, manifest, range).await.unwrap();
        stream.try_collect::<Vec<Bytes>>().await.unwrap().concat()
    }

    /// What was counted on each node since the last time.
    fn take(&self, counter: impl Fn(&Counts) -> &AtomicU64) -> Vec<u64> {
        self.counts.iter().map(|c| counter(c).swap(0, Ordering::Relaxed)).collect()
    }
}

fn keys() -> BucketKeys {
    let master = MasterKey::new(&Key::from_bytes([1; 32]));
    let bucket = BucketName::new("bucket").unwrap();
    let record = master.new_bucket(&bucket, Code::DEFAULT, "root".into(), 0, &OsRandom).unwrap();
    master.open(&bucket, &record).unwrap()
}

/// On one thread, all of them are queued before the first goes.
#[tokio::test]
async fn objects_that_are_stored_together_share_one_fsync_on_each_node() {
    let counted = Counted::new(6);
    for round in 0..3u8 {
        let writes: Vec<_> =
            (0..64u8).map(|i| tokio::spawn(counted.write(vec![i ^ round; 4096].into()))).collect();
        let mut parts = Vec::new();
        for write in writes {
            parts.push(write.await.unwrap());
        }
        assert_eq!(counted.take(|c| &c.syncs), [1; 6], "round {round}");
        for (i, part) in (0u8..).zip(&parts) {
            assert_eq!(counted.read(part, 0..4096).await, [i ^ round; 4096]);
        }
    }
}

#[tokio::test]
async fn an_object_that_is_alone_waits_for_nobody() {
    let counted = Counted::new(6);
    counted.write(vec![7; 4096].into()).await;
    let syncs = counted.take(|c| &c.syncs);
    assert!(syncs.iter().all(|n| *n <= 1) && syncs.iter().sum::<u64>() == 4, "{syncs:?}");
}

#[tokio::test]
async fn a_small_range_of_a_large_object_reads_little_from_one_node() {
    let counted = Counted::new(6);
    let data: Vec<u8> =
        (0..64u64 << 20).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect();
    let part = counted.write(data.clone().into()).await;
    for segment in [0, 1, 63, 64, 700, 1023] {
        let start = segment * 65_536 + (segment * 4096) % 61_440;
        counted.take(|c| &c.read);
        let got = counted.read(&part, start..start + 4096).await;
        assert_eq!(got, data[start as usize..start as usize + 4096]);
        let bytes = counted.take(|c| &c.read);
        let touched = bytes.iter().filter(|n| **n > 0).count();
        assert!(touched == 1 && bytes.iter().sum::<u64>() <= 128 << 10, "{bytes:?}");
    }
}
