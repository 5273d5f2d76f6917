//! Putting it all together: one gateway before remote nodes, or a whole cluster in one process.
//! Both are the same code; only the doors to the nodes differ.

mod embedded;

pub use embedded::{Embedded, EmbeddedOptions};

use crate::auth::access::Access;
use crate::auth::keys::AccessKey;
use crate::auth::{KeyRing, Tokens};
use crate::catalog::CatalogHandle;
use crate::engine::gc::{self, GcConfig};
use crate::engine::keys::MasterKey;
use crate::engine::nodes::{Doors, NodeSet, follow};
use crate::engine::repair::{RepairConfig, Repairer};
use crate::engine::sweep::{Sweep, SweepConfig};
use crate::engine::{Engine, EngineConfig};
use crate::http::admin::{AdminRoute, Names};
use crate::http::cors::CrossOrigin;
use crate::http::document::MAX_DOCUMENT;
use crate::http::forms::Forms;
use crate::http::front::{Front, Limits};
use crate::http::health::{Health, Problem};
use crate::http::tls::ServerTls;
use crate::http::{Server, Sockets};
use crate::journal::{self, JournalConfig};
use crate::lifecycle::{self, LifecycleConfig, Pace};
use crate::membership::Membership;
use crate::monitor::{Monitor, MonitorConfig, Watched, port};
use crate::s3::{CofferS3, Settings, encryption, now_ms};
use crate::setup::config::{self, GatewayConfig};
use crate::setup::files::{self, FileError};
use crate::setup::init::{self, GatewayDir};
use coffer_core::catalog::CatalogError;
use coffer_core::placement::ClusterMap;
use coffer_node::OpenError;
use coffer_node::rpc::{MutualTls, TlsError};
use coffer_node::service::NodeClient;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::S3ServiceBuilder;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Why a gateway can't be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file is missing, exposed, or not what it should be.
    #[error(transparent)]
    File(#[from] FileError),
    /// The catalog can't be opened.
    #[error("{}: {source}", .path.display())]
    Catalog {
        /// Its directory.
        path: PathBuf,
        /// Why.
        source: CatalogError,
    },
    /// A storage node in this process can't be opened.
    #[error(transparent)]
    Node(#[from] OpenError),
    /// The certificate for the storage nodes can't be used.
    #[error(transparent)]
    NodeTls(#[from] TlsError),
    /// The address can't be listened on.
    #[error("can't listen on {listen} (TCP and UDP): {source}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The address for other gateways can't be listened on.
    #[error(
        "can't listen for other gateways on {listen} (TCP; peer_listen in gateway.toml): {source}"
    )]
    ListenPeers {
        /// The address.
        listen: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The address for metrics can't be listened on.
    #[error("can't listen for metrics on {listen} (TCP; metrics_listen in gateway.toml): {source}")]
    ListenMetrics {
        /// The address.
        listen: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A file has no use for what it says.
    #[error("{0}")]
    Config(String),
}

/// A gateway that is serving.
#[derive(Debug)]
pub struct Gateway {
    server: Server,
    workers: Vec<JoinHandle<()>>,
    membership: Membership,
    paths: GatewayDir,
    address: SocketAddr,
    endpoint: String,
    root: AccessKey,
}

impl Gateway {
    /// Starts a gateway from its directory, with storage nodes over the network.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn serve(dir: &Path, listen: Option<SocketAddr>) -> Result<Self, StartError> {
        let paths = GatewayDir::new(dir);
        let tls = MutualTls::load(dir, "gateway")?;
        let client = NodeClient::new(&tls)?;
        let map = config::load_cluster(&paths.file("cluster.json"))?;
        Self::start(paths, map, client, listen).await
    }

    async fn start(
        paths: GatewayDir,
        map: ClusterMap,
        doors: impl Doors + 'static,
        listen: Option<SocketAddr>,
    ) -> Result<Self, StartError> {
        let settings = GatewayConfig::load(&paths.file("gateway.toml"))?;
        let code = settings.code().map_err(|e| StartError::Config(e.to_string()))?;
        if map.nodes.len() < code.k() {
            return Err(StartError::Config(format!(
                "code {code} needs at least {} storage nodes, cluster.json has {}; choose a smaller code in gateway.toml or add nodes",
                code.k(),
                map.nodes.len()
            )));
        }
        let domains = settings.domains().map_err(|e| StartError::Config(e.to_string()))?;
        let keys = KeyRing::load(&paths.file("keys.toml"))?;
        let token_path = paths.file("token.key");
        let tokens = Tokens::from_hex(&files::read_secret(&token_path)?)
            .map_err(|why| FileError::invalid(&token_path, why))?;
        let tokens = Arc::new(tokens);
        let master = paths.master_key()?;
        let membership = Membership::open(&paths, &settings, &master).await?;
        let catalog = membership.catalog().clone();
        let nodes = NodeSet::new(map, doors).map_err(StartError::Config)?;
        let engine_config = EngineConfig {
            memory_bytes: settings.memory_mib.saturating_mul(1024 * 1024),
            ..EngineConfig::default()
        };
        let engine = Engine::announcing(engine_config, nodes, catalog.expected());
        let mut workers = Vec::new();
        let mut journal_status = None;
        if settings.journal {
            let (engine, config) = (engine.clone(), JournalConfig::surviving(code.m()));
            let nodes: journal::Nodes = Arc::new(move || journal::View::of_engine(&engine));
            let journal = journal::spawn(catalog.clone(), nodes, &master, config);
            journal_status = Some(journal.status);
            workers.push(journal.task);
        }
        let repair = RepairConfig {
            bytes_per_second: settings.repair_mib_per_second.saturating_mul(1024 * 1024),
            patience: Duration::from_secs(settings.node_patience_seconds),
            interval: Duration::from_secs(settings.repair_interval_seconds),
            named_keys: encryption::named_keys(&settings.kms_keys),
            ..RepairConfig::default()
        };
        let leader = catalog.clone();
        let leads = move || leader.leads();
        let master_key = MasterKey::new(&master);
        let repairer =
            Repairer::new(engine.clone(), catalog.clone(), master_key, repair, leads, now_ms);
        membership.serve_repair(&repairer);
        let watched = Watched {
            id: settings.id,
            name: settings.own().name,
            engine: engine.clone(),
            catalog: catalog.clone(),
            repairer: repairer.clone(),
            journal: journal_status,
        };
        let watching = MonitorConfig {
            interval: Duration::from_secs(settings.health_interval_seconds),
            drain_failing: settings.drain_failing_nodes,
            code,
            ..MonitorConfig::default()
        };
        let monitor = Monitor::new(watched, watching, now_ms);
        if let Some(listen) = settings.metrics_listen {
            let listener = TcpListener::bind(listen).await;
            let listener =
                listener.map_err(|source| StartError::ListenMetrics { listen, source })?;
            workers.push(port::serve(listener, monitor.clone()));
        }
        let s3 = CofferS3::new(
            engine.clone(),
            catalog.clone(),
            MasterKey::new(&master),
            Settings { code, region: settings.region.clone(), kms_keys: settings.kms_keys.clone() },
        );
        let mut service = S3ServiceBuilder::new(s3);
        service.set_auth(keys.clone());
        service.set_access(Access::new(keys.clone(), catalog.clone()));
        service.set_route(AdminRoute::new(
            tokens.clone(),
            keys.clone(),
            catalog.clone(),
            repairer.clone(),
            monitor.clone(),
        ));
        service.set_validation(Names::default());
        service.set_host(domains.clone());
        service.set_config(Arc::new(StaticConfigProvider::new(Arc::new(protocol_limits()))));

        let listen = listen.unwrap_or(settings.listen);
        let failed = |source| StartError::Listen { listen, source };
        let sockets = Sockets::bind(listen).map_err(failed)?;
        let address = sockets.address();
        let tls = ServerTls::load(&paths.file("gateway.pem"), &paths.file("gateway.key"))?;
        let limits = Limits { requests: settings.max_requests, ..Limits::default() };
        let health = readiness(engine.clone(), catalog.clone(), code.k());
        let cross_origin = CrossOrigin::new(catalog.clone());
        let port = address.port();
        let (service, forms) = (service.build(), Forms::new(keys));
        let front = Front::new(service, tokens, health, cross_origin, forms, &limits, port);
        let front = Arc::new(front.with_domains(domains));
        let server = Server::start(sockets, &tls, front).map_err(failed)?;
        let grace = Duration::from_secs(settings.garbage_grace_seconds);
        let garbage = GcConfig { grace, ..GcConfig::default() };
        let sweep = SweepConfig {
            interval: Duration::from_secs(settings.sweep_interval_seconds),
            orphan_grace: Duration::from_secs(settings.orphan_grace_seconds),
            ..SweepConfig::default()
        };
        let rules = LifecycleConfig {
            interval: Duration::from_secs(settings.lifecycle_interval_seconds),
            day: Duration::from_secs(settings.lifecycle_day_seconds),
            pace: Pace::default(),
        };
        workers.extend([
            follow::spawn(engine.clone(), catalog.clone()),
            repairer.spawn(),
            monitor.spawn(),
            Sweep::new(engine.clone(), catalog.clone(), sweep).spawn(now_ms),
            gc::spawn(engine, catalog.clone(), garbage, now_ms),
            lifecycle::spawn(catalog, rules, now_ms),
        ]);

        let endpoint = format!("https://{}", reachable(address));
        let root = paths.root_key()?;
        let mut endpoints = settings.endpoints();
        endpoints[0].clone_from(&endpoint);
        init::write_client_profile(&paths, &endpoints, &settings.region)?;
        Ok(Self { server, workers, membership, paths, address, endpoint, root })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL for clients on this machine.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The certificate that clients must trust.
    pub fn ca_file(&self) -> PathBuf {
        self.paths.file("ca.pem")
    }

    /// The profile for `coffer --config`.
    pub fn client_profile(&self) -> PathBuf {
        self.paths.file("client.toml")
    }

    /// The file with the key of all keys, to be backed up.
    pub fn master_key_file(&self) -> PathBuf {
        self.paths.file("master.key")
    }

    /// The key that may do everything.
    pub fn root_key(&self) -> &AccessKey {
        &self.root
    }

    /// Waits until this gateway can serve no more, since its catalog has failed for good, and says
    /// why. It is to be started anew.
    pub async fn failed(&self) -> CatalogError {
        self.membership.catalog().failed().await
    }

    /// Lets requests at hand end, then stops.
    pub async fn stop(self) {
        self.server.stop().await;
        for worker in self.workers {
            worker.abort();
            // Its end is waited for: until then it holds the engine and the catalog.
            let _ = worker.await;
        }
        self.membership.stop().await;
    }
}

/// What `s3s` may hold in memory for one request. Forms are turned into other requests before it
/// sees them; it would read one, with the file in it, before it asks whether the client may send it.
fn protocol_limits() -> S3Config {
    let mut config = S3Config::default();
    config.xml_max_body_size = MAX_DOCUMENT;
    config.post_object_max_file_size = 0;
    config.form_max_field_size = 16 * 1024;
    config.form_max_fields_size = 64 * 1024;
    config.form_max_parts = 32;
    config
}

/// A gateway is ready while as many nodes answer as it takes to read, and it can know what is
/// current in the catalog.
fn readiness(engine: Arc<Engine>, catalog: CatalogHandle, needed: usize) -> Health {
    const PATIENCE: Duration = Duration::from_secs(2);
    Health::new(move || {
        let (engine, catalog) = (engine.clone(), catalog.clone());
        Box::pin(async move {
            let nodes = engine.nodes();
            let map = nodes.map();
            let answers =
                map.members().map(|node| async { nodes.ask_stat(node.id, PATIENCE).await.is_ok() });
            let answers = futures::future::join_all(answers);
            let current = tokio::time::timeout(PATIENCE, catalog.current());
            let (answers, current) = tokio::join!(answers, current);
            let up = answers.into_iter().filter(|a| *a).count();
            let problem: Problem = match current {
                Ok(Ok(())) => (up < needed).then_some("too few storage nodes answer"),
                _ => Some("the catalog is not available"),
            };
            problem
        })
    })
}

/// An address that a client on this machine can use: not "any".
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(a) if a.ip().is_unspecified() => ([127, 0, 0, 1], a.port()).into(),
        SocketAddr::V6(a) if a.ip().is_unspecified() => ([127, 0, 0, 1], a.port()).into(),
        other => other,
    }
}
