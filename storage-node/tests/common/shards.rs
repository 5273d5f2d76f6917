//! Small shards whose content follows from a number.

use crate::setup::{NODE, options};
use bytes::Bytes;
use coffer_core::erasure::Code;
use coffer_core::ids::BlobId;
use coffer_core::shard::{BlockRange, ShardError, ShardInfo, ShardKey, ShardStore};
use coffer_node::NodeEngine;
use coffer_node::index::MemoryIndex;
use coffer_node::testing::FaultyDisk;
use std::sync::Arc;

pub(crate) fn open(disk: &FaultyDisk, index: Arc<MemoryIndex>) -> NodeEngine {
    NodeEngine::open_on(NODE, Arc::new(disk.clone()), index, options()).unwrap()
}

pub(crate) fn key(n: u8) -> ShardKey {
    ShardKey { blob: BlobId::from_bytes([n; 16]), chunk: n.into(), index: n, generation: 0 }
}

/// Content that follows from a number, with its shape.
pub(crate) fn shard(n: u64) -> (ShardInfo, Bytes) {
    let len = 1 + (n * 977 % 9000) as u32;
    let mut bytes = vec![0; len as usize];
    blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof().fill(&mut bytes);
    (ShardInfo { code: Code::DEFAULT, block_size: 1040, len }, bytes.into())
}

pub(crate) async fn read(node: &NodeEngine, k: ShardKey, n: u64) -> Result<Bytes, ShardError> {
    let (info, _) = shard(n);
    node.get(k, BlockRange { first: 0, count: info.blocks() }).await
}
