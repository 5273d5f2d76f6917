//! A node in small volumes.

use coffer_core::ids::NodeId;
use coffer_node::{CompactOptions, NodeOptions, ScrubOptions};

pub(crate) const NODE: NodeId = NodeId::from_bytes([9; 16]);

/// Small volumes, so that the tests cross from one to the next, and nothing in the background.
pub(crate) fn options() -> NodeOptions {
    NodeOptions {
        volume_size: 20_000,
        reserve_bytes: 0,
        scrub: ScrubOptions::OFF,
        compact: CompactOptions { max_bytes_per_second: 0, ..CompactOptions::default() },
        ..NodeOptions::default()
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}
