//! The engine: turns the bytes of a part into sealed shards on nodes, and back.
//!
//! | module | what |
//! |---|---|
//! | [`keys`] | bucket keys: unwrapping, and data keys for new parts |
//! | [`nodes`] | the storage nodes, and which of them seem to be up, or slow |
//! | [`budget`] | the bound on memory for chunks in flight |
//! | [`chunker`] | cutting a request body into chunks |
//! | [`write`] | a body becomes a part |
//! | `etag` | the MD5 of bodies, several at a time |
//! | [`store`] | a chunk's shards reach a quorum of nodes |
//! | `convoy` | small shards travel together |
//! | [`read`] | a range of an object becomes a stream |
//! | [`fetch`] | a chunk's segments are fetched, around lost and damaged shards |
//! | `hedge` | when a read is late, and how often one may be asked for elsewhere |
//! | [`suspects`] | shards that reads found lost or damaged, until repair asks |
//! | [`repair`] | shards that are missing or misplaced are rebuilt or moved |
//! | [`gc`] | shards that no object needs are deleted |
//! | `compare` | what nodes list beside what the catalog wants |
//! | [`fsck`] | catalog and nodes are compared on demand, and a report is given |
//! | [`sweep`] | what nodes hold is compared with what the catalog wants |

pub mod budget;
pub mod chunker;
mod compare;
mod convoy;
mod etag;
pub mod fetch;
pub mod fsck;
pub mod gc;
mod hedge;
pub mod keys;
pub mod nodes;
pub mod read;
pub mod repair;
pub mod store;
pub mod suspects;
pub mod sweep;
pub mod write;

use crate::expected::Expected;
use budget::Budget;
use coffer_core::erasure::Coder;
use coffer_core::random::{OsRandom, Random};
use coffer_core::seal::CipherSuite;
use convoy::Convoy;
use etag::Etags;
use hedge::Hedging;
use nodes::NodeSet;
use std::sync::Arc;
use std::time::Duration;
use suspects::Suspects;

/// The engine's bounds and patience.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Memory for chunks in flight over all requests, in bytes.
    pub memory_bytes: usize,
    /// Chunks of one upload that are sealed and stored at the same time.
    pub chunks_in_flight: usize,
    /// Chunks of one download that are fetched ahead of the client.
    pub chunks_ahead: usize,
    /// How long a node may take to store or read a shard.
    pub shard_timeout: Duration,
    /// How long a read waits for data shards before it asks for others instead: some time after most
    /// reads have ended, but not less than `hedge_floor` and not more than `hedge_cap`.
    pub hedge_floor: Duration,
    /// See `hedge_floor`.
    pub hedge_cap: Duration,
    /// How long a write that has its quorum waits for the remaining shards.
    pub straggler_grace: Duration,
    /// How long a client may pause while it sends a body.
    pub body_idle: Duration,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            memory_bytes: 128 * 1024 * 1024,
            chunks_in_flight: 2,
            chunks_ahead: 2,
            shard_timeout: Duration::from_secs(8),
            hedge_floor: Duration::from_millis(50),
            hedge_cap: Duration::from_secs(1),
            straggler_grace: Duration::from_secs(2),
            body_idle: Duration::from_secs(60),
        }
    }
}

/// Seals, codes, places and stores; fetches, rebuilds and opens.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    nodes: Arc<NodeSet>,
    convoy: Convoy,
    coder: Arc<Coder>,
    budget: Budget,
    etags: Etags,
    hedging: Hedging,
    suite: CipherSuite,
    random: OsRandom,
    suspects: Suspects,
    /// Shards that the sweep met again and again ahead of the catalog.
    leftovers: Suspects,
}

impl Engine {
    /// An engine over the given nodes.
    pub fn new(config: EngineConfig, nodes: NodeSet) -> Arc<Self> {
        Self::announcing(config, nodes, Expected::default())
    }

    /// An engine that announces the commands which will follow what it has stored.
    pub fn announcing(config: EngineConfig, nodes: NodeSet, expected: Expected) -> Arc<Self> {
        let nodes = Arc::new(nodes);
        Arc::new(Self {
            budget: Budget::new(config.memory_bytes),
            etags: Etags::new(),
            hedging: Hedging::new(config.hedge_floor, config.hedge_cap),
            convoy: Convoy::new(nodes.clone(), config.shard_timeout, expected),
            config,
            nodes,
            coder: Arc::new(Coder::default()),
            suite: CipherSuite::default(),
            random: OsRandom,
            suspects: Suspects::default(),
            leftovers: Suspects::default(),
        })
    }

    /// The storage nodes.
    pub fn nodes(&self) -> &NodeSet {
        &self.nodes
    }

    /// The source of ids and keys.
    pub fn random(&self) -> &dyn Random {
        &self.random
    }
}
