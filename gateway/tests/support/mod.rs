//! Storage nodes in memory that misbehave on demand.

#![allow(dead_code, clippy::unwrap_used)]

use async_trait::async_trait;
use bytes::Bytes;
use coffer_core::ids::NodeId;
use coffer_core::placement::{ClusterMap, NodeEntry};
use coffer_core::shard::{BlockRange, NodeStat, ShardError, ShardInfo, ShardKey, ShardStore};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

/// How a node behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Fine,
    /// Refuses connections.
    Down,
    /// Takes requests and never answers.
    Hangs,
    /// Takes no writes.
    Full,
    /// Answers reads with bytes that were changed, checksums or not.
    Lies,
    /// Finds its blocks damaged.
    Damaged,
}

/// A node in memory.
#[derive(Debug)]
pub(crate) struct MemoryNode {
    pub(crate) id: NodeId,
    mood: Mutex<Mood>,
    shards: Mutex<BTreeMap<ShardKey, (ShardInfo, Bytes)>>,
}

impl MemoryNode {
    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub(crate) fn shards(&self) -> BTreeMap<ShardKey, (ShardInfo, Bytes)> {
        self.shards.lock().unwrap().clone()
    }

    async fn mood(&self) -> Result<Mood, ShardError> {
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Down => Err(ShardError::Unreachable("connection refused".into())),
            Mood::Hangs => std::future::pending().await,
            mood => Ok(mood),
        }
    }
}

#[async_trait]
impl ShardStore for MemoryNode {
    async fn put(&self, key: ShardKey, info: ShardInfo, payload: Bytes) -> Result<(), ShardError> {
        info.check()?;
        if self.mood().await? == Mood::Full {
            return Err(ShardError::Full);
        }
        assert_eq!(payload.len(), info.len as usize);
        self.shards.lock().unwrap().insert(key, (info, payload));
        Ok(())
    }

    async fn get(&self, key: ShardKey, blocks: BlockRange) -> Result<Bytes, ShardError> {
        let mood = self.mood().await?;
        let shards = self.shards.lock().unwrap();
        let (info, payload) = shards.get(&key).ok_or(ShardError::NotFound)?;
        let range = blocks.bytes_in(info)?;
        let bytes = payload.slice(range.start as usize..range.end as usize);
        match mood {
            Mood::Damaged => Err(ShardError::Corrupt { block: blocks.first }),
            Mood::Lies => Ok(bytes.iter().map(|b| b ^ 1).collect()),
            _ => Ok(bytes),
        }
    }

    async fn delete(&self, keys: Vec<ShardKey>) -> Result<(), ShardError> {
        self.mood().await?;
        let mut shards = self.shards.lock().unwrap();
        for key in keys {
            shards.remove(&key);
        }
        Ok(())
    }

    async fn list(
        &self,
        _: Option<ShardKey>,
        _: u32,
    ) -> Result<Vec<(ShardKey, ShardInfo)>, ShardError> {
        self.mood().await?;
        Ok(self.shards().into_iter().map(|(key, (info, _))| (key, info)).collect())
    }

    async fn stat(&self) -> Result<NodeStat, ShardError> {
        Err(ShardError::BadRequest("not needed here".into()))
    }
}

/// Nodes, their map, and their stores as the engine wants them.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Arc<MemoryNode>>,
}

impl Cluster {
    pub(crate) fn new(nodes: u8) -> Self {
        let node = |i| MemoryNode {
            id: NodeId::from_bytes([i; 16]),
            mood: Mutex::new(Mood::Fine),
            shards: Mutex::default(),
        };
        Self { nodes: (0..nodes).map(|i| Arc::new(node(i))).collect() }
    }

    pub(crate) fn map(&self) -> ClusterMap {
        let entry = |node: &Arc<MemoryNode>| NodeEntry {
            id: node.id,
            name: format!("node-{}", node.id),
            address: String::new(),
            domain: String::new(),
            weight: 1.0,
        };
        ClusterMap { version: 1, nodes: self.nodes.iter().map(entry).collect() }
    }

    pub(crate) fn stores(&self) -> HashMap<NodeId, Arc<dyn ShardStore>> {
        let store = |node: &Arc<MemoryNode>| (node.id, node.clone() as Arc<dyn ShardStore>);
        self.nodes.iter().map(store).collect()
    }

    pub(crate) fn set(&self, nodes: std::ops::Range<usize>, mood: Mood) {
        for node in &self.nodes[nodes] {
            node.set(mood);
        }
    }

    pub(crate) fn shard_count(&self) -> usize {
        self.nodes.iter().map(|n| n.shards().len()).sum()
    }
}
