//! A whole cluster in one process.

use super::{Gateway, StartError};
use crate::setup::config::{self, GatewayConfig};
use crate::setup::init;
use coffer_core::ids::NodeId;
use coffer_core::shard::ShardStore;
use coffer_node::{NodeEngine, NodeOptions};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How an embedded cluster is started.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// Where S3 is served; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Storage nodes, when the cluster is made; later starts keep their number.
    pub nodes: usize,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 0)), nodes: 6 }
    }
}

/// A gateway and its storage nodes in one process, under one directory.
#[derive(Debug)]
pub struct Embedded {
    gateway: Gateway,
    nodes: Vec<Arc<NodeEngine>>,
}

impl Embedded {
    /// Starts the cluster in `dir`, making it on the first start.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(dir: &Path, options: EmbeddedOptions) -> Result<Self, StartError> {
        let first = GatewayConfig::new(options.listen);
        let nodes = options.nodes;
        let paths =
            init::init_gateway(dir, &first, || init::new_nodes(std::iter::repeat_n(None, nodes)))?;
        let map = config::load_cluster(&paths.file("cluster.json"))?;
        let mut nodes = Vec::new();
        for entry in &map.nodes {
            let dir = dir.join(&entry.name);
            nodes.push(Arc::new(NodeEngine::open(&dir, entry.id, NodeOptions::default())?));
        }
        let store = |node: &Arc<NodeEngine>| (node.node(), node.clone() as Arc<dyn ShardStore>);
        let stores: HashMap<NodeId, _> = nodes.iter().map(store).collect();
        let gateway = Gateway::start(paths, map, stores, Some(options.listen)).await?;
        Ok(Self { gateway, nodes })
    }

    /// Stops the cluster. The directory can be used again when this returns.
    pub async fn stop(self) {
        self.gateway.stop().await;
        // Requests that were cut off let go of the nodes a moment later.
        for _ in 0..100 {
            if self.nodes.iter().all(|n| Arc::strong_count(n) == 1) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // Dropping a node waits for its writer.
        let _ = tokio::task::spawn_blocking(move || drop(self.nodes)).await;
    }
}

impl std::ops::Deref for Embedded {
    type Target = Gateway;

    fn deref(&self) -> &Gateway {
        &self.gateway
    }
}
