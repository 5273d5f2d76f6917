//! Storage nodes in memory that misbehave on demand.

#![allow(dead_code, clippy::unwrap_used)]

use async_trait::async_trait;
use bytes::Bytes;
use coffer_core::ids::NodeId;
use coffer_core::placement::{ClusterMap, NodeEntry, NodeState};
use coffer_core::shard::{
    BlockRange, Damage, DiskReport, Finding, MAX_BATCH, NodeStat, ShardError, ShardInfo, ShardKey,
    ShardStore,
};
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How a node behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Fine,
    /// Refuses connections.
    Down,
    /// Takes requests and never answers.
    Hangs,
    /// Answers after this long.
    Slow(Duration),
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
    /// Shards that were damaged, in the order in which a scrub has found them.
    findings: Mutex<Vec<Finding>>,
    /// What its disk says of itself.
    disk: Mutex<Option<DiskReport>>,
    /// Bytes of payload that were read.
    pub(crate) bytes_read: AtomicU64,
    /// Reads that were asked for.
    pub(crate) reads: AtomicU64,
}

impl MemoryNode {
    /// Loses all shards, as a new disk does.
    pub(crate) fn wipe(&self) {
        self.shards.lock().unwrap().clear();
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub(crate) fn shards(&self) -> BTreeMap<ShardKey, (ShardInfo, Bytes)> {
        self.shards.lock().unwrap().clone()
    }

    /// Damages a shard as bit rot does, and has a scrub find it.
    pub(crate) fn damage(&self, key: ShardKey) {
        assert!(self.shards.lock().unwrap().contains_key(&key));
        let mut findings = self.findings.lock().unwrap();
        let id = findings.last().map_or(1, |f| f.id + 1);
        findings.push(Finding { id, key, damage: Damage::BadBlock { block: 0 } });
    }

    /// Has its disk say so of itself.
    pub(crate) fn says(&self, disk: DiskReport) {
        *self.disk.lock().unwrap() = Some(disk);
    }

    /// Has a shard from somewhere.
    pub(crate) fn keep(&self, key: ShardKey, info: ShardInfo, payload: Bytes) {
        self.shards.lock().unwrap().insert(key, (info, payload));
    }

    /// Loses a shard without noticing.
    pub(crate) fn forget(&self, key: ShardKey) {
        assert!(self.shards.lock().unwrap().remove(&key).is_some());
    }

    pub(crate) fn findings_open(&self) -> usize {
        self.findings.lock().unwrap().len()
    }

    pub(crate) fn is_damaged(&self, key: ShardKey) -> bool {
        self.findings.lock().unwrap().iter().any(|f| f.key == key)
    }

    async fn mood(&self) -> Result<Mood, ShardError> {
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Down => Err(ShardError::Unreachable("connection refused".into())),
            Mood::Hangs => std::future::pending().await,
            Mood::Slow(wait) => {
                tokio::time::sleep(wait).await;
                Ok(mood)
            }
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
        self.findings.lock().unwrap().retain(|f| f.key != key);
        Ok(())
    }

    async fn get(&self, key: ShardKey, blocks: BlockRange) -> Result<Bytes, ShardError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let mood = self.mood().await?;
        let shards = self.shards.lock().unwrap();
        let (info, payload) = shards.get(&key).ok_or(ShardError::NotFound)?;
        let range = blocks.bytes_in(info)?;
        let bytes = payload.slice(range.start as usize..range.end as usize);
        self.bytes_read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        match mood {
            _ if self.is_damaged(key) => Err(ShardError::Corrupt { block: blocks.first }),
            Mood::Damaged => Err(ShardError::Corrupt { block: blocks.first }),
            Mood::Lies => Ok(bytes.iter().map(|b| b ^ 1).collect()),
            _ => Ok(bytes),
        }
    }

    /// As a node that doesn't check: what is damaged comes as it is.
    async fn get_unverified(&self, key: ShardKey, blocks: BlockRange) -> Result<Bytes, ShardError> {
        match self.get(key, blocks).await {
            Err(ShardError::Corrupt { .. }) => {
                let shards = self.shards.lock().unwrap();
                let (info, payload) = shards.get(&key).ok_or(ShardError::NotFound)?;
                let range = blocks.bytes_in(info)?;
                Ok(payload[range.start as usize..range.end as usize]
                    .iter()
                    .map(|b| b ^ 1)
                    .collect())
            }
            outcome => outcome,
        }
    }

    async fn delete(&self, keys: Vec<ShardKey>) -> Result<(), ShardError> {
        self.mood().await?;
        self.findings.lock().unwrap().retain(|f| !keys.contains(&f.key));
        let mut shards = self.shards.lock().unwrap();
        for key in keys {
            shards.remove(&key);
        }
        Ok(())
    }

    async fn list(
        &self,
        after: Option<ShardKey>,
        limit: u32,
    ) -> Result<Vec<(ShardKey, ShardInfo)>, ShardError> {
        self.mood().await?;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let shards = self.shards.lock().unwrap();
        let page = shards.range((from, Bound::Unbounded)).take(MAX_BATCH.min(limit as usize));
        Ok(page.map(|(key, (info, _))| (*key, *info)).collect())
    }

    async fn findings(&self, after: Option<u64>, limit: u32) -> Result<Vec<Finding>, ShardError> {
        self.mood().await?;
        let findings = self.findings.lock().unwrap();
        let page = findings.iter().filter(|f| after.is_none_or(|after| f.id > after));
        Ok(page.take(limit as usize).cloned().collect())
    }

    async fn stat(&self) -> Result<NodeStat, ShardError> {
        let mood = self.mood().await?;
        let shards = self.shards.lock().unwrap();
        Ok(NodeStat {
            shards: shards.len() as u64,
            live_bytes: shards.values().map(|(info, _)| u64::from(info.len)).sum(),
            findings: self.findings.lock().unwrap().len() as u64,
            writable: mood != Mood::Full,
            free_bytes: 1 << 39,
            total_bytes: 1 << 40,
            disks: self.disk.lock().unwrap().clone().into_iter().collect(),
            ..NodeStat::idle(self.id)
        })
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
            findings: Mutex::default(),
            disk: Mutex::default(),
            bytes_read: AtomicU64::new(0),
            reads: AtomicU64::new(0),
        };
        Self { nodes: (0..nodes).map(|i| Arc::new(node(i))).collect() }
    }

    /// The nodes, each in its own failure domain.
    pub(crate) fn map(&self) -> ClusterMap {
        let entry = |node: &Arc<MemoryNode>| NodeEntry {
            id: node.id,
            name: format!("node-{}", node.id),
            address: String::new(),
            domain: String::new(),
            weight: 1.0,
            state: NodeState::Active,
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

    /// Reads that all nodes were asked for.
    pub(crate) fn reads(&self) -> u64 {
        self.nodes.iter().map(|n| n.reads.load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn shard_count(&self) -> usize {
        self.nodes.iter().map(|n| n.shards().len()).sum()
    }
}
