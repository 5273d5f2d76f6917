//! A node on a disk of the test's.

use crate::setup::{NODE, options};
use bytes::Bytes;
use coffer_core::erasure::Code;
use coffer_core::ids::BlobId;
use coffer_core::shard::{BlockRange, CompactionStat, NodeStat, ShardInfo, ShardKey, ShardStore};
use coffer_node::disk::Disk;
use coffer_node::index::{Index, MemoryIndex};
use coffer_node::testing::FaultyDisk;
use coffer_node::{NodeEngine, NodeOptions};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) const VOLUME_SIZE: u64 = 20_000;

/// The `n`-th shard that a test has.
pub(crate) fn key(n: u32) -> ShardKey {
    ShardKey { blob: BlobId::from_bytes([7; 16]), chunk: n, index: 0, generation: 0 }
}

pub(crate) fn info(len: u32) -> ShardInfo {
    ShardInfo { code: Code::DEFAULT, block_size: 1040, len }
}

pub(crate) fn content(n: u32, len: u32) -> Bytes {
    let mut bytes = vec![0; len as usize];
    blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes.into()
}

/// A node on a disk of the test's.
pub(crate) struct Bed {
    pub(crate) disk: FaultyDisk,
    pub(crate) index: Arc<MemoryIndex>,
    pub(crate) node: NodeEngine,
    /// Lengths of the shards that are there.
    pub(crate) live: BTreeMap<u32, u32>,
}

impl Bed {
    pub(crate) fn new() -> Self {
        Self::with(options())
    }

    pub(crate) fn with(options: NodeOptions) -> Self {
        let (disk, index) = (FaultyDisk::new(), Arc::new(MemoryIndex::default()));
        let node = start(&disk, &index, options);
        Self { disk, index, node, live: BTreeMap::new() }
    }

    /// Starts it anew, without an index; gives the bytes that were read for that.
    pub(crate) fn restart(&mut self, options: NodeOptions) -> u64 {
        self.disk = self.disk.kill();
        self.index = Arc::new(MemoryIndex::default());
        let before = self.disk.bytes_read();
        self.node = start(&self.disk, &self.index, options);
        self.disk.bytes_read() - before
    }

    pub(crate) async fn put(&mut self, n: u32, len: u32) {
        self.node.put(key(n), info(len), content(n, len)).await.unwrap();
        self.live.insert(n, len);
    }

    pub(crate) async fn delete(&mut self, n: u32) {
        self.node.delete(vec![key(n)]).await.unwrap();
        self.live.remove(&n);
    }

    /// Everything that is live reads back, and nothing else is there.
    pub(crate) async fn check(&self) {
        for (n, len) in &self.live {
            let all = BlockRange { first: 0, count: info(*len).blocks() };
            assert!(self.node.get(key(*n), all).await.unwrap() == content(*n, *len), "shard {n}");
        }
        assert_eq!(self.stat().await.shards, self.live.len() as u64);
    }

    pub(crate) async fn stat(&self) -> NodeStat {
        self.node.stat().await.unwrap()
    }

    pub(crate) async fn compaction(&self) -> CompactionStat {
        self.stat().await.compaction
    }

    pub(crate) fn volumes(&self) -> Vec<String> {
        self.disk.list().unwrap()
    }

    pub(crate) fn live_bytes(&self) -> u64 {
        self.index.usage().unwrap().iter().map(|(_, usage)| usage.bytes).sum()
    }
}

pub(crate) fn start(
    disk: &FaultyDisk,
    index: &Arc<MemoryIndex>,
    options: NodeOptions,
) -> NodeEngine {
    NodeEngine::open_on(NODE, Arc::new(disk.clone()), index.clone(), options).unwrap()
}
