//! The gateways that a cluster begins with, and those that are made later.

use super::config::GatewayConfig;
use super::files::{self, FileError};
use super::init::{self, GatewayDir};
use crate::catalog::raft::types::{GatewayId, Peer};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A gateway, as files list it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayEntry {
    /// Its number, for life.
    pub id: GatewayId,
    /// What people call it.
    pub name: String,
    /// Where other gateways reach it: `host:port` (TCP).
    pub peer: String,
    /// Where it serves S3: a URL.
    pub endpoint: String,
}

/// What a gateway does when its catalog is still empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beginning {
    /// It is the only gateway.
    Alone,
    /// It begins the cluster together with others.
    Together(BTreeMap<GatewayId, Peer>),
    /// It was made later, and waits until an administrator adds it.
    Waits,
}

impl GatewayConfig {
    /// What this gateway does when its catalog is still empty.
    pub fn beginning(&self) -> Beginning {
        match (self.peer_listen, self.gateways.is_empty()) {
            (None, _) => Beginning::Alone,
            (Some(_), true) => Beginning::Waits,
            (Some(_), false) => {
                Beginning::Together(self.gateways.iter().map(GatewayEntry::member).collect())
            }
        }
    }

    /// Where this gateway is to be found.
    pub fn own(&self) -> Peer {
        match self.gateways.iter().find(|gateway| gateway.id == self.id) {
            Some(listed) => listed.member().1,
            None => Peer {
                name: format!("gateway-{}", self.id),
                address: self.peer_listen.map(|a| a.to_string()).unwrap_or_default(),
                endpoint: self.endpoint_at(self.listen),
            },
        }
    }

    /// Whether the gateways that are listed can be those that a cluster begins with.
    ///
    /// # Errors
    /// With the field and what is wrong.
    pub(super) fn check_gateways(&self) -> Result<(), String> {
        if self.id.0 == 0 {
            return Err("id: gateways are numbered from 1".into());
        }
        if self.gateways.is_empty() {
            return Ok(());
        }
        if self.peer_listen.is_none() {
            return Err("peer_listen: it is missing, but there are other gateways".into());
        }
        let members: BTreeMap<GatewayId, Peer> =
            self.gateways.iter().map(GatewayEntry::member).collect();
        if members.len() < self.gateways.len() {
            return Err("gateways: two have the same id".into());
        }
        if !members.contains_key(&self.id) {
            return Err(format!("gateways: this one (id {}) is not among them", self.id));
        }
        Ok(())
    }
}

impl GatewayEntry {
    /// The entry of a member of the catalog's raft.
    pub fn new(id: GatewayId, peer: &Peer) -> Self {
        let Peer { name, address, endpoint } = peer.clone();
        Self { id, name, peer: address, endpoint }
    }

    /// The member of the catalog's raft.
    pub fn member(&self) -> (GatewayId, Peer) {
        let Self { id, name, peer, endpoint } = self.clone();
        (id, Peer { name, address: peer, endpoint })
    }
}

/// Where a gateway of several is to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatewayAddress {
    /// S3: a port number for TCP and UDP.
    pub listen: SocketAddr,
    /// Other gateways: a TCP port.
    pub peer: SocketAddr,
}

impl FromStr for GatewayAddress {
    type Err = String;

    /// `LISTEN,PEER`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (listen, peer) = text.split_once(',').ok_or(
            "write two addresses: that for S3 and, after a comma, that for other gateways",
        )?;
        let address = |text: &str| {
            text.parse::<SocketAddr>().map_err(|_| format!("`{text}` is not an address and port"))
        };
        let (listen, peer) = (address(listen)?, address(peer)?);
        if peer.ip().is_unspecified() {
            return Err(format!("other gateways can't reach {peer}: write this machine's address"));
        }
        Ok(Self { listen, peer })
    }
}

/// What all gateways of a cluster have alike; secrets are marked.
const SHARED: [(&str, bool); 6] = [
    ("master.key", true),
    ("token.key", true),
    ("keys.toml", true),
    ("ca.key", true),
    ("ca.pem", false),
    ("cluster.json", false),
];

/// Copies what gateways share, where it is not there yet.
fn copy_shared(from: &GatewayDir, to: &Path) -> Result<(), FileError> {
    std::fs::create_dir_all(to).map_err(FileError::io(to))?;
    for (name, secret) in SHARED {
        let (source, target) = (from.file(name), to.join(name));
        // The authority's key may be kept elsewhere; it is missed when it is needed.
        if target.exists() || (name == "ca.key" && !source.exists()) {
            continue;
        }
        if secret {
            files::write_secret(&target, files::read_secret(&source)?.as_bytes())?;
        } else {
            files::write(&target, files::read(&source)?.as_bytes())?;
        }
    }
    Ok(())
}

/// The configuration of each gateway of a new cluster, like `first` but for where it serves.
pub fn configurations(first: &GatewayConfig, addresses: &[GatewayAddress]) -> Vec<GatewayConfig> {
    let gateways: Vec<GatewayEntry> = (1..)
        .map(GatewayId)
        .zip(addresses)
        .map(|(id, address)| GatewayEntry {
            id,
            name: format!("gateway-{id}"),
            peer: address.peer.to_string(),
            endpoint: first.endpoint_at(address.listen),
        })
        .collect();
    let own = |(gateway, address): (&GatewayEntry, &GatewayAddress)| GatewayConfig {
        id: gateway.id,
        listen: address.listen,
        peer_listen: Some(address.peer),
        gateways: gateways.clone(),
        ..first.clone()
    };
    gateways.iter().zip(addresses).map(own).collect()
}

/// Makes the directory of a gateway that shares the secrets of the one at `from`. What is there
/// stays as it is.
///
/// # Errors
/// [`FileError`].
pub fn init_another(
    from: &GatewayDir,
    dir: &Path,
    config: &GatewayConfig,
) -> Result<GatewayDir, FileError> {
    copy_shared(from, dir)?;
    let cluster = dir.join("cluster.json");
    let missing = || FileError::invalid(&cluster, "it could not be copied");
    let paths = init::init_gateway(dir, config, || Err(missing()))?;
    init::write_client_profile(&paths, &config.endpoints(), &config.region)?;
    Ok(paths)
}

/// Makes the directory of a gateway for a cluster that serves already, from the directory of one of
/// its gateways. It begins empty, and waits to be added.
///
/// # Errors
/// [`FileError`].
pub fn init_later(
    from: &Path,
    dir: &Path,
    id: GatewayId,
    address: GatewayAddress,
    hosts: Vec<String>,
) -> Result<GatewayDir, FileError> {
    let from = GatewayDir::new(from);
    let like = GatewayConfig::load(&from.file("gateway.toml"))?;
    let config = GatewayConfig {
        id,
        listen: address.listen,
        peer_listen: Some(address.peer),
        gateways: Vec::new(),
        hosts,
        ..like
    };
    let taken = from.file("gateway.toml");
    if id == like.id || like.gateways.iter().any(|g| g.id == id) {
        return Err(FileError::invalid(&taken, format!("the id {id} is taken; choose another")));
    }
    init_another(&from, dir, &config)
}

/// The directory of each of `count` gateways under `dir`: `gateway` for a lone one.
///
/// # Errors
/// [`FileError::Invalid`] when there are directories of another number of gateways: new ones would
/// have other keys.
pub fn directories(dir: &Path, count: usize) -> Result<Vec<PathBuf>, FileError> {
    let (alone, first) = (dir.join("gateway"), dir.join("gateway-1"));
    let (other, wanted) = if count == 1 {
        (first, vec![alone])
    } else {
        (alone, (1..=count).map(|n| dir.join(format!("gateway-{n}"))).collect())
    };
    if other.exists() {
        let why = "there is a cluster with another number of gateways; add gateways to it by `coffer-gateway init-gateway`";
        return Err(FileError::invalid(&other, why));
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn config() -> GatewayConfig {
        GatewayConfig::new("127.0.0.1:9000".parse().unwrap())
    }

    fn addresses(count: u16) -> Vec<GatewayAddress> {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        (0..count)
            .map(|n| GatewayAddress { listen: address(9000 + n), peer: address(9200 + n) })
            .collect()
    }

    fn load(paths: &GatewayDir) -> GatewayConfig {
        GatewayConfig::load(&paths.file("gateway.toml")).unwrap()
    }

    fn make(dir: &Path, count: u16) -> Result<Vec<GatewayDir>, FileError> {
        let node = SocketAddr::from(([127, 0, 0, 1], 9100));
        init::init_cluster(dir, &config(), &addresses(count), &[node])
    }

    #[test]
    fn gateways_of_one_cluster_share_their_secrets_and_differ_in_their_certificates() {
        let dir = tempfile::tempdir().unwrap();
        let made = make(dir.path(), 3).unwrap();
        let read = |paths: &GatewayDir, name: &str| std::fs::read(paths.file(name)).unwrap();
        let certificates: Vec<_> = made.iter().map(|paths| read(paths, "gateway.pem")).collect();
        for (paths, number) in made.iter().zip(1..) {
            for (name, secret) in SHARED {
                assert!(read(paths, name) == read(&made[0], name), "{name}");
                assert!(!secret || files::read_secret(&paths.file(name)).is_ok(), "{name}");
            }
            let config = load(paths);
            assert_eq!((config.id, config.gateways.len()), (GatewayId(number), 3));
            let Beginning::Together(members) = config.beginning() else { panic!("{config:?}") };
            let own = &members[&config.id];
            assert_eq!(own.address, config.peer_listen.unwrap().to_string());
            assert_eq!(own.endpoint, format!("https://127.0.0.1:{}", 8999 + number));
        }
        assert!(certificates[0] != certificates[1] && certificates[1] != certificates[2]);
        let profile = std::fs::read_to_string(made[1].file("client.toml")).unwrap();
        let first = profile.find("https://127.0.0.1:9001").unwrap();
        assert!(profile.find("https://127.0.0.1:9000").is_some_and(|other| other > first));
        // Again: nothing changes.
        make(dir.path(), 3).unwrap();
        assert!(certificates == made.iter().map(|p| read(p, "gateway.pem")).collect::<Vec<_>>());
    }

    #[test]
    fn a_later_gateway_waits_and_keeps_the_settings_of_the_one_it_is_made_from() {
        let dir = tempfile::tempdir().unwrap();
        let made = make(dir.path(), 3).unwrap();
        let [address] = addresses(1)[..] else { panic!() };
        let later = |id| {
            let from = dir.path().join("gateway-2");
            init_later(&from, &dir.path().join("later"), GatewayId(id), address, vec![])
        };
        assert!(later(3).err().unwrap().to_string().contains("taken"));
        let paths = later(4).unwrap();
        let config = load(&paths);
        assert_eq!((config.id, config.beginning()), (GatewayId(4), Beginning::Waits));
        assert_eq!(config.region, load(&made[0]).region);
        assert!(paths.master_key().is_ok());
    }

    #[test]
    fn a_lone_gateway_is_as_it_always_was_and_is_not_made_anew_as_several() {
        let dir = tempfile::tempdir().unwrap();
        let made = make(dir.path(), 0).unwrap();
        assert_eq!(made.len(), 1);
        assert!(made[0].file("gateway.toml").starts_with(dir.path().join("gateway")));
        assert_eq!(load(&made[0]).beginning(), Beginning::Alone);
        let error = make(dir.path(), 3).err().unwrap().to_string();
        assert!(error.contains("init-gateway"), "{error}");
    }

    #[test]
    fn lists_that_make_no_cluster_are_refused() {
        let several = configurations(&config(), &addresses(3));
        let broken = |change: fn(&mut GatewayConfig)| {
            let mut config = several[0].clone();
            change(&mut config);
            config.check_gateways().err().unwrap_or_default()
        };
        assert_eq!(broken(|_| {}), "");
        assert!(broken(|c| c.id = GatewayId(0)).contains("from 1"));
        assert!(broken(|c| c.id = GatewayId(7)).contains("not among them"));
        assert!(broken(|c| c.peer_listen = None).contains("peer_listen"));
        assert!(broken(|c| c.gateways[1].id = GatewayId(3)).contains("same id"));
    }

    proptest! {
        #[test]
        fn addresses_read_as_they_are_written_or_not_at_all(text in "[0-9.:,\\[\\]]{0,40}|\\PC*") {
            if let Ok(address) = text.parse::<GatewayAddress>() {
                let written = format!("{},{}", address.listen, address.peer);
                prop_assert_eq!(written.parse(), Ok(address));
            }
        }
    }
}
