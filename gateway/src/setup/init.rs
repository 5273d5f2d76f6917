//! Making a gateway's and the nodes' directories.
//!
//! ```text
//! DIR/                     (gateway; for `coffer-gateway init` it is DIR/gateway, or of several
//!                           DIR/gateway-1, DIR/gateway-2, …)
//!   gateway.toml           configuration, to be edited
//!   cluster.json           the cluster map: the storage nodes
//!   master.key             the key of all keys; back it up: without it all data is lost
//!   token.key              signs access tokens
//!   keys.toml              access keys
//!   ca.pem, ca.key         the cluster's authority
//!   gateway.pem, .key      this gateway's certificate
//!   client.toml            a profile for `coffer --config`, written anew at every start
//!   catalog/               buckets and objects
//!   members.json           the gateways, where there are several
//! DIR/node-1/ ...
//!   node.toml, ca.pem, node.pem, node.key, and the node's volumes
//! ```

use super::ca::{Authority, Issued};
use super::config::{self, GatewayConfig};
use super::files::{self, FileError};
use super::gateways::{self, GatewayAddress};
use crate::auth::keys::{AccessKey, KeyFile, Secret};
use crate::auth::token::Tokens;
use crate::peer;
use coffer_core::access::Grant;
use coffer_core::ids::NodeId;
use coffer_core::placement::{ClusterMap, NodeEntry, NodeState};
use coffer_core::random::{self, OsRandom};
use coffer_core::seal::Key;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where things are in a gateway's directory.
#[derive(Debug, Clone)]
pub struct GatewayDir(PathBuf);

impl GatewayDir {
    /// The directory `path`.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The catalog.
    pub fn catalog(&self) -> PathBuf {
        self.0.join("catalog")
    }

    /// The master key.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn master_key(&self) -> Result<Key, FileError> {
        let path = self.file("master.key");
        Key::from_hex(&files::read_secret(&path)?)
            .map_err(|e| FileError::invalid(&path, e.to_string()))
    }

    /// The root access key: the first in `keys.toml`.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn root_key(&self) -> Result<AccessKey, FileError> {
        let path = self.file("keys.toml");
        let file: KeyFile = files::parse_toml(&path, &files::read_secret(&path)?)?;
        let first = file.key.into_iter().next();
        first.ok_or_else(|| FileError::invalid(&path, "it has no [[key]]; there must be one"))
    }
}

/// Makes whatever a gateway's directory lacks. What is there stays as it is.
///
/// # Errors
/// [`FileError`]; also when there is a catalog but no master key, since a new key would not open it.
pub fn init_gateway(
    dir: &Path,
    config: &GatewayConfig,
    nodes: impl FnOnce() -> Result<Vec<NodeEntry>, FileError>,
) -> Result<GatewayDir, FileError> {
    std::fs::create_dir_all(dir).map_err(FileError::io(dir))?;
    let paths = GatewayDir::new(dir);
    let master = paths.file("master.key");
    if !master.exists() {
        if paths.catalog().exists() {
            let why = "it is missing, but there is a catalog that it has sealed; restore the key from its backup";
            return Err(FileError::invalid(&master, why));
        }
        let key = Key::generate(&OsRandom).map_err(no_random(&master))?;
        files::write_secret(&master, key.to_hex().as_bytes())?;
    }
    let token = paths.file("token.key");
    if !token.exists() {
        files::write_secret(&token, Tokens::new_key().as_bytes())?;
    }
    let keys = paths.file("keys.toml");
    if !keys.exists() {
        let file = KeyFile { key: vec![new_root_key(&keys)?] };
        let text = toml::to_string(&file).map_err(|e| FileError::invalid(&keys, e.to_string()))?;
        files::write_secret(&keys, text.as_bytes())?;
    }
    let toml_path = paths.file("gateway.toml");
    if !toml_path.exists() {
        let text =
            toml::to_string(config).map_err(|e| FileError::invalid(&toml_path, e.to_string()))?;
        files::write(&toml_path, text.as_bytes())?;
    }
    let certificate = paths.file("gateway.pem");
    if !certificate.exists() {
        // What the file says counts, also where it was there before.
        let config = GatewayConfig::load(&toml_path)?;
        let issued = Authority::load_or_create(dir)?
            .gateway(&host_names(&config))
            .map_err(|e| FileError::invalid(&certificate, e.to_string()))?;
        write_issued(dir, "gateway", &issued)?;
    }
    let cluster = paths.file("cluster.json");
    if !cluster.exists() {
        config::save_cluster(&cluster, &ClusterMap { version: 1, nodes: nodes()? })?;
    }
    Ok(paths)
}

/// Makes the directories of a cluster of processes: one for each gateway, `DIR/gateway` if it is
/// alone, and one for each node. `gateways` says where the gateways serve if there are several.
///
/// # Errors
/// [`FileError`].
pub fn init_cluster(
    dir: &Path,
    config: &GatewayConfig,
    gateways: &[GatewayAddress],
    nodes: &[SocketAddr],
) -> Result<Vec<GatewayDir>, FileError> {
    let configs = match gateways {
        [] => vec![config.clone()],
        several => gateways::configurations(config, several),
    };
    let mut made: Vec<GatewayDir> = Vec::new();
    for (config, home) in configs.iter().zip(gateways::directories(dir, configs.len())?) {
        made.push(match made.first() {
            Some(first) => gateways::init_another(first, &home, config)?,
            None => {
                let paths = init_gateway(&home, config, || new_nodes(nodes.iter().map(Some)))?;
                init_nodes(dir, &paths)?;
                write_client_profile(&paths, &config.endpoints(), &config.region)?;
                paths
            }
        });
    }
    Ok(made)
}

/// Makes the directories of nodes that have none.
fn init_nodes(dir: &Path, gateway: &GatewayDir) -> Result<(), FileError> {
    let map = config::load_cluster(&gateway.file("cluster.json"))?;
    let is_missing = |entry: &&NodeEntry| !dir.join(&entry.name).join("node.toml").exists();
    let missing: Vec<&NodeEntry> = map.nodes.iter().filter(is_missing).collect();
    if !missing.is_empty() {
        let authority = Authority::load_or_create(&gateway.0)?;
        for entry in missing {
            init_node(&dir.join(&entry.name), entry, &authority)?;
        }
    }
    Ok(())
}

/// Makes the directory of one more node for a cluster that serves already, with a certificate of the
/// authority in the gateway's directory. The node is called as its directory is.
///
/// # Errors
/// [`FileError`]; also when the directory is a node's already.
pub fn new_node(gateway: &Path, dir: &Path, address: SocketAddr) -> Result<NodeEntry, FileError> {
    let file = dir.join("node.toml");
    if file.exists() {
        let why = "it is there already; choose another directory for the new node";
        return Err(FileError::invalid(&file, why));
    }
    let mut entry = new_nodes(std::iter::once(Some(&address)))?.swap_remove(0);
    if let Some(name) = dir.file_name() {
        entry.name = name.to_string_lossy().into_owned();
    }
    init_node(dir, &entry, &Authority::load_or_create(gateway)?)?;
    Ok(entry)
}

fn init_node(dir: &Path, entry: &NodeEntry, authority: &Authority) -> Result<(), FileError> {
    std::fs::create_dir_all(dir).map_err(FileError::io(dir))?;
    let issued = authority
        .node(entry.id)
        .map_err(|e| FileError::invalid(&dir.join("node.pem"), e.to_string()))?;
    write_issued(dir, "node", &issued)?;
    files::write(&dir.join("ca.pem"), authority.pem().as_bytes())?;
    // Last, since it says that the directory is complete.
    let text = format!("node_id = \"{}\"\nlisten = \"{}\"\n", entry.id, entry.address);
    files::write(&dir.join("node.toml"), text.as_bytes())
}

/// Entries for new nodes `node-1`, `node-2`, …; without an address for nodes in this process.
///
/// # Errors
/// When there is no randomness for their ids.
pub fn new_nodes<'a>(
    addresses: impl Iterator<Item = Option<&'a SocketAddr>>,
) -> Result<Vec<NodeEntry>, FileError> {
    (1..)
        .zip(addresses)
        .map(|(n, address)| {
            let id = random::array(&OsRandom).map_err(no_random(Path::new("cluster.json")))?;
            Ok(NodeEntry {
                id: NodeId::from_bytes(id),
                name: format!("node-{n}"),
                address: address.map(ToString::to_string).unwrap_or_default(),
                domain: String::new(),
                weight: 1.0,
                state: NodeState::Active,
            })
        })
        .collect()
}

/// Writes the profile with which `coffer --config` finds this gateway, and others if it does not
/// answer.
///
/// # Errors
/// [`FileError`].
pub fn write_client_profile(
    paths: &GatewayDir,
    endpoints: &[String],
    region: &str,
) -> Result<PathBuf, FileError> {
    let key = paths.root_key()?;
    let path = paths.file("client.toml");
    let endpoints = match endpoints {
        [endpoint] => format!("endpoint = \"{endpoint}\""),
        several => format!("endpoints = [\"{}\"]", several.join("\", \"")),
    };
    let text = format!(
        "# For: coffer --config {}\n[profile.default]\n{endpoints}\nregion = \"{region}\"\naccess_key = \"{}\"\nsecret_key = \"{}\"\nca_file = \"ca.pem\"\n",
        path.display(),
        key.access_key,
        key.secret_key.as_str(),
    );
    files::write_secret(&path, text.as_bytes())?;
    Ok(path)
}

/// The names that a gateway's certificate is for: those of its hosts, and that of its own for other
/// gateways.
fn host_names(config: &GatewayConfig) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    names.push(peer::name(config.id));
    if !config.listen.ip().is_unspecified() {
        names.push(config.listen.ip().to_string());
    }
    names.extend(config.hosts.iter().cloned());
    for domain in &config.domains {
        names.extend([domain.clone(), format!("*.{domain}")]);
    }
    names.sort();
    names.dedup();
    names
}

fn write_issued(dir: &Path, name: &str, issued: &Issued) -> Result<(), FileError> {
    files::write_secret(&dir.join(format!("{name}.key")), issued.key.as_bytes())?;
    files::write(&dir.join(format!("{name}.pem")), issued.certificate.as_bytes())
}

/// A key pair in AWS's form: 20 and 40 characters.
fn new_root_key(path: &Path) -> Result<AccessKey, FileError> {
    Ok(AccessKey {
        access_key: format!("COFFER{}", letters::<14>(path, 32)?),
        secret_key: Secret::new(letters::<40>(path, 62)?),
        name: "root".into(),
        grants: vec![Grant::root()],
    })
}

/// `N` random characters out of the first `alphabet` of these. Draws that would favour some
/// characters are thrown away.
fn letters<const N: usize>(path: &Path, alphabet: u8) -> Result<String, FileError> {
    const ALL: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567abcdefghijklmnopqrstuvwxyz0189";
    let fair = u8::MAX - u8::MAX % alphabet;
    let mut text = String::with_capacity(N);
    while text.len() < N {
        let draw: [u8; 64] = random::array(&OsRandom).map_err(no_random(path))?;
        let wanted = N - text.len();
        let good = draw.into_iter().filter(|b| *b < fair).take(wanted);
        text.extend(good.map(|b| char::from(ALL[usize::from(b % alphabet)])));
    }
    Ok(text)
}

fn no_random(path: &Path) -> impl Fn(random::RandomUnavailable) -> FileError + '_ {
    move |e| FileError::invalid(path, e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> GatewayConfig {
        GatewayConfig::new("127.0.0.1:0".parse().unwrap())
    }

    #[test]
    fn a_second_start_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let nodes = || new_nodes([None; 6].into_iter());
        init_gateway(dir.path(), &config(), nodes).unwrap();
        let read = || {
            let mut files: Vec<_> = std::fs::read_dir(dir.path())
                .unwrap()
                .map(|e| e.unwrap().path())
                .map(|p| (p.clone(), std::fs::read(p).unwrap()))
                .collect();
            files.sort();
            files
        };
        let first = read();
        assert_eq!(first.len(), 9);
        let paths = init_gateway(dir.path(), &config(), || panic!("there are nodes")).unwrap();
        assert!(first == read());
        let key = paths.root_key().unwrap();
        assert_eq!((key.access_key.len(), key.secret_key.as_str().len()), (20, 40));
    }

    #[test]
    fn a_lost_master_key_is_not_replaced_under_an_existing_catalog() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("catalog")).unwrap();
        let error = init_gateway(dir.path(), &config(), || Ok(vec![])).err().unwrap();
        assert!(error.to_string().contains("restore the key"), "{error}");
    }

    #[test]
    fn the_authoritys_key_may_be_kept_elsewhere_but_is_never_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let init = || init_gateway(dir.path(), &config(), || new_nodes([None; 2].into_iter()));
        init().unwrap();
        std::fs::remove_file(dir.path().join("ca.key")).unwrap();
        init().unwrap();
        std::fs::remove_file(dir.path().join("gateway.pem")).unwrap();
        let error = init().err().unwrap().to_string();
        assert!(error.contains("ca.key") && error.contains("bring it back"), "{error}");
    }

    #[test]
    fn a_later_node_has_an_id_of_its_own_and_its_directory_is_never_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        init_gateway(dir.path(), &config(), || new_nodes([None; 2].into_iter())).unwrap();
        let node = dir.path().join("node-9");
        let make = || new_node(dir.path(), &node, SocketAddr::from(([127, 0, 0, 1], 9)));
        let entry = make().unwrap();
        assert_eq!((entry.name.as_str(), entry.address.as_str()), ("node-9", "127.0.0.1:9"));
        let text = std::fs::read_to_string(node.join("node.toml")).unwrap();
        assert!(text.contains(&entry.id.to_string()));
        assert!(make().err().unwrap().to_string().contains("another directory"));
    }

    #[test]
    fn exposed_secrets_are_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let paths =
            init_gateway(dir.path(), &config(), || new_nodes([None; 2].into_iter())).unwrap();
        for name in ["master.key", "token.key", "keys.toml", "ca.key", "gateway.key"] {
            let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(&paths.file(name)), 0o600, "{name}");
        }
        let expose = |name: &str| {
            let permissions = std::fs::Permissions::from_mode(0o644);
            std::fs::set_permissions(paths.file(name), permissions).unwrap();
        };
        expose("master.key");
        assert!(paths.master_key().err().unwrap().to_string().contains("chmod 600"));
        expose("keys.toml");
        assert!(crate::auth::KeyRing::load(&paths.file("keys.toml")).is_err());
    }

    #[test]
    fn a_cluster_has_a_directory_for_each_node() {
        let dir = tempfile::tempdir().unwrap();
        let addresses: Vec<SocketAddr> =
            (1..=3).map(|p| SocketAddr::from(([127, 0, 0, 1], p))).collect();
        init_cluster(dir.path(), &config(), &[], &addresses).unwrap();
        init_cluster(dir.path(), &config(), &[], &addresses).unwrap();
        for n in 1..=3 {
            let toml_text =
                std::fs::read_to_string(dir.path().join(format!("node-{n}/node.toml"))).unwrap();
            assert!(toml_text.contains(&format!("listen = \"127.0.0.1:{n}\"")));
            assert!(files::read_secret(&dir.path().join(format!("node-{n}/node.key"))).is_ok());
        }
    }
}
