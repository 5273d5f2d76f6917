//! `coffer-gateway rebuild-catalog`: a gateway's lost catalog is made anew in its directory.

use super::JournalConfig;
use super::nodes::View;
use super::rebuild::{Rebuild, RebuildError, Report};
use super::replay::Progress;
use crate::catalog::store::{LsmTrees, Work};
use crate::setup::config::{self, GatewayConfig};
use crate::setup::files::FileError;
use crate::setup::init::GatewayDir;
use coffer_core::catalog::KvError;
use coffer_core::ids::NodeId;
use coffer_core::placement::{ClusterMap, NodeEntry, NodeState};
use coffer_core::shard::ShardStore;
use coffer_node::rpc::{MutualTls, TlsError};
use coffer_node::service::NodeClient;
use coffer_node::{NodeEngine, NodeOptions, OpenError};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

/// Why the command did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// There is a catalog.
    #[error(
        "{} holds a catalog: a gateway that has one needs none. If it is damaged, --replace moves it aside",
        .0.display()
    )]
    Exists(PathBuf),
    /// A gateway is running.
    #[error("{}: a gateway has it open ({source}); stop it first", .path.display())]
    Running {
        /// The catalog.
        path: PathBuf,
        /// What the store says.
        source: KvError,
    },
    /// A file is missing, exposed, or not what it should be.
    #[error(transparent)]
    File(#[from] FileError),
    /// The certificate for the storage nodes can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A storage node of this directory can't be opened.
    #[error(transparent)]
    Node(#[from] OpenError),
    /// The runtime does not start.
    #[error("the runtime does not start: {0}")]
    Runtime(io::Error),
    /// It can't be rebuilt.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
}

/// Where a storage node is: `ID=ADDRESS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeAddress {
    /// The node.
    pub id: NodeId,
    /// Where its shard service listens: `host:port`.
    pub address: String,
}

impl FromStr for NodeAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (id, address) =
            text.split_once('=').ok_or("write it as ID=HOST:PORT, with the id of its node.toml")?;
        let id = id.parse().map_err(|e| format!("{e}"))?;
        Ok(Self { id, address: address.to_owned() })
    }
}

/// What is to be done.
#[derive(Debug, Clone)]
pub struct RebuildCommand {
    /// The gateway's directory.
    pub data: PathBuf,
    /// Whether a catalog that is there may be moved aside.
    pub replace: bool,
    /// Whether what can't be found may be left out.
    pub accept_loss: bool,
    /// Nodes that `cluster.json` does not list, or lists elsewhere.
    pub nodes: Vec<NodeAddress>,
}

impl RebuildCommand {
    /// Does it. The catalog is made beside its place, and put there when it is complete.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn run(&self, tell: &(dyn Fn(Progress) + Sync)) -> Result<Report, CommandError> {
        let paths = GatewayDir::new(&self.data);
        let settings = GatewayConfig::load(&paths.file("gateway.toml"))?;
        let code = settings.code().map_err(|why| {
            FileError::invalid(&paths.file("gateway.toml"), format!("code: {why}"))
        })?;
        let master = paths.master_key()?;
        let catalog = paths.catalog();
        let old = has_entries(&catalog)?;
        if old && !self.replace {
            return Err(CommandError::Exists(catalog));
        }
        if old {
            not_running(&catalog)?;
        }
        let new = paths.file("catalog.rebuilding");
        remove(&new)?;
        let map = self.map(&paths)?;

        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(CommandError::Runtime)?;
        let report = runtime.block_on(async {
            let rebuild = Rebuild {
                view: View::of(map.clone(), self.doors(&map)?),
                master: &master,
                member: (settings.id, settings.own()),
                accept_loss: self.accept_loss,
                config: JournalConfig::surviving(code.m()),
            };
            let trees = LsmTrees::open(&new).map_err(RebuildError::Store)?;
            Ok::<_, CommandError>(rebuild.run(Arc::new(trees), Work::Blocking, tell).await?)
        })?;
        // With it all that has the new catalog open ends.
        drop(runtime);

        if old {
            move_aside(&catalog)?;
        } else {
            remove(&catalog)?;
        }
        std::fs::rename(&new, &catalog).map_err(FileError::io(&new))?;
        // It need not be sent a catalog any more.
        match std::fs::remove_file(paths.file("reseed")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(FileError::io(&paths.file("reseed"))(error).into());
            }
            _ => {}
        }
        File::open(&self.data).and_then(|dir| dir.sync_all()).map_err(FileError::io(&self.data))?;
        Ok(report)
    }

    fn map(&self, paths: &GatewayDir) -> Result<ClusterMap, FileError> {
        let path = paths.file("cluster.json");
        let mut map = match config::load_cluster(&path) {
            Ok(map) => map,
            Err(_) if !self.nodes.is_empty() && !path.exists() => {
                ClusterMap { version: 1, nodes: Vec::new() }
            }
            Err(error) => return Err(error),
        };
        for NodeAddress { id, address } in &self.nodes {
            match map.nodes.iter_mut().find(|node| node.id == *id) {
                Some(node) => node.address.clone_from(address),
                None => map.nodes.push(NodeEntry {
                    id: *id,
                    name: format!("node {address}"),
                    address: address.clone(),
                    domain: String::new(),
                    weight: 1.0,
                    state: NodeState::Active,
                }),
            }
        }
        Ok(map)
    }

    /// The way to each node: over the network, or into its directory if it is one of a cluster in
    /// one process.
    fn doors(
        &self,
        map: &ClusterMap,
    ) -> Result<HashMap<NodeId, Arc<dyn ShardStore>>, CommandError> {
        let remote = map.nodes.iter().any(|node| !node.address.is_empty());
        let client = match remote {
            true => Some(NodeClient::new(&MutualTls::load(&self.data, "gateway")?)?),
            false => None,
        };
        let mut doors: HashMap<NodeId, Arc<dyn ShardStore>> = HashMap::new();
        for node in &map.nodes {
            let dir = self.data.join(&node.name);
            if let (Some(client), false) = (&client, node.address.is_empty()) {
                doors.insert(node.id, Arc::new(client.node(node.id, &node.address)));
            } else if dir.is_dir() {
                let engine = NodeEngine::open(&dir, node.id, NodeOptions::default())?;
                doors.insert(node.id, Arc::new(engine));
            }
        }
        Ok(doors)
    }
}

fn has_entries(dir: &Path) -> Result<bool, FileError> {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(FileError::io(dir)(error)),
    }
}

/// Refuses if the catalog is open elsewhere. One that is damaged passes.
fn not_running(catalog: &Path) -> Result<(), CommandError> {
    match LsmTrees::open(catalog) {
        Err(source @ KvError::Locked(_)) => {
            Err(CommandError::Running { path: catalog.to_owned(), source })
        }
        _ => Ok(()),
    }
}

fn remove(dir: &Path) -> Result<(), FileError> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError::io(dir)(error)),
        _ => Ok(()),
    }
}

/// Moves a catalog to the first free name beside it.
fn move_aside(catalog: &Path) -> Result<(), FileError> {
    for n in 1u32.. {
        let aside = catalog.with_file_name(format!("catalog.old-{n}"));
        if !aside.exists() {
            return std::fs::rename(catalog, &aside).map_err(FileError::io(catalog));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_named_by_id_and_address() {
        let id = NodeId::from_bytes([7; 16]);
        let address = format!("{id}=127.0.0.1:9100").parse::<NodeAddress>();
        assert_eq!(address, Ok(NodeAddress { id, address: "127.0.0.1:9100".into() }));
        for bad in ["", "127.0.0.1:9100", "07=127.0.0.1:9100"] {
            assert!(bad.parse::<NodeAddress>().is_err(), "{bad}");
        }
    }
}
