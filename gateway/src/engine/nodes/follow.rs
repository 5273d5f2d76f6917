//! The node set follows the cluster map in the catalog.

use crate::catalog::CatalogHandle;
use crate::engine::Engine;
use crate::engine::nodes::NodeSet;
use coffer_core::catalog::{CatalogError, Command, Scope};
use coffer_core::placement::ClusterMap;
use std::sync::Arc;
use std::time::Duration;

/// The pause between two looks at the catalog.
const INTERVAL: Duration = Duration::from_secs(1);

/// Follows until the returned task is aborted.
pub fn spawn(engine: Arc<Engine>, catalog: CatalogHandle) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            if let Err(error) = follow(engine.nodes(), &catalog).await {
                tracing::debug!(%error, "the cluster map in the catalog can't be followed now");
            }
            tokio::time::sleep(INTERVAL).await;
        }
    })
}

/// Goes over to the catalog's map if it is another. A catalog that has none yet gets the map that
/// the set was made with.
///
/// # Errors
/// When the catalog fails, or its map can't be used.
pub async fn follow(nodes: &NodeSet, catalog: &CatalogHandle) -> Result<(), CatalogError> {
    let present = nodes.map();
    match catalog.read(Scope::Hidden, coffer_core::catalog::Machine::cluster).await? {
        Some(map) if map == *present => Ok(()),
        Some(map) => {
            let version = map.version;
            nodes.adopt(map).map_err(CatalogError::InvalidCluster)?;
            tracing::info!(version, "cluster map adopted");
            Ok(())
        }
        None => {
            let map = ClusterMap { version: 1, ..(*present).clone() };
            match catalog.submit(Command::ChangeCluster { expected: 0, map }).await {
                // Another gateway was first: its map is found in the next round.
                Ok(_) | Err(CatalogError::ClusterChanged(_)) => Ok(()),
                Err(error) => Err(error),
            }
        }
    }
}
