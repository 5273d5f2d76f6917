//! `gateway.toml` and `cluster.json`.

use super::files::{self, FileError};
use super::gateways::GatewayEntry;
use crate::catalog::raft::types::GatewayId;
use crate::http::host::{DomainError, Domains};
use coffer_core::erasure::Code;
use coffer_core::placement::ClusterMap;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::Path;

/// A gateway's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayConfig {
    /// Where S3 is served: one port number for TCP (HTTPS) and UDP (HTTP/3).
    pub listen: SocketAddr,
    /// Host names and addresses that the certificate names, beside those of this machine.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Domains under which hosts name buckets, as `BUCKET.s3.example.com` does under
    /// `s3.example.com`. A certificate that was made before does not name them: delete `gateway.pem`
    /// and run `init` (or `dev`) again to have a new one made.
    #[serde(default)]
    pub domains: Vec<String>,
    /// The region that buckets are said to be in.
    #[serde(default = "default_region")]
    pub region: String,
    /// Named keys that objects may be encrypted under (SSE-KMS), beside the default `aws/s3`. They
    /// derive from the master key; a name that objects use must stay listed for new ones only.
    #[serde(default)]
    pub kms_keys: Vec<String>,
    /// The erasure code of new buckets, data+parity.
    #[serde(default = "default_code")]
    pub code: String,
    /// How long the data of deleted objects is kept for reads that have begun, in seconds.
    #[serde(default = "default_grace")]
    pub garbage_grace_seconds: u64,
    /// The pause between two rounds of the lifecycle worker, in seconds.
    #[serde(default = "default_lifecycle_interval")]
    pub lifecycle_interval_seconds: u64,
    /// How long the lifecycle worker takes a day to be, in seconds. Shorter than a real day only for
    /// tests that can't wait: objects go as much earlier. Clients are always told real days.
    #[serde(default = "default_lifecycle_day")]
    pub lifecycle_day_seconds: u64,
    /// What repair may read from and write to storage nodes, in MiB a second; 0 for no limit.
    #[serde(default = "default_repair")]
    pub repair_mib_per_second: u64,
    /// How long a storage node may be silent before its shards are rebuilt on others, in seconds.
    #[serde(default = "default_patience")]
    pub node_patience_seconds: u64,
    /// The pause between two looks at how well nodes, disks and gateways are, in seconds.
    #[serde(default = "default_health_interval")]
    pub health_interval_seconds: u64,
    /// Whether a storage node that is failing is drained without an operator: one at a time, and only
    /// if the others can take what it holds. To be set alike on all gateways; the one that leads acts.
    #[serde(default)]
    pub drain_failing_nodes: bool,
    /// Where a Prometheus on the same machine reads metrics, by plain HTTP and without credentials: a
    /// loopback address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_listen: Option<SocketAddr>,
    /// The pause between two looks of repair at the storage nodes and at what is owed, in seconds.
    #[serde(default = "default_repair_interval")]
    pub repair_interval_seconds: u64,
    /// The pause between two rounds of the sweep, which compares what the storage nodes hold with
    /// what the catalog wants, in seconds.
    #[serde(default = "default_sweep_interval")]
    pub sweep_interval_seconds: u64,
    /// How long the sweep leaves shards alone that no object has claimed, in seconds. An upload
    /// whose shards are that old before it is committed is refused.
    #[serde(default = "default_orphan_grace")]
    pub orphan_grace_seconds: u64,
    /// Whether what the catalog is told is also written to the storage nodes, so that it can be
    /// rebuilt from them if all gateways are lost.
    #[serde(default = "default_journal")]
    pub journal: bool,
    /// Memory for object data in flight, in MiB.
    #[serde(default = "default_memory")]
    pub memory_mib: usize,
    /// Requests that are served at the same time; more get `SlowDown`.
    #[serde(default = "default_requests")]
    pub max_requests: usize,
    /// This gateway's number among the cluster's gateways, for life.
    #[serde(default = "default_id")]
    pub id: GatewayId,
    /// Where other gateways reach this one (TCP). A lone gateway needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_listen: Option<SocketAddr>,
    /// The gateways that the cluster begins with, this one among them. Later ones are added while
    /// the cluster serves, and are not listed here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<GatewayEntry>,
}

fn default_region() -> String {
    "us-east-1".into()
}

fn default_code() -> String {
    Code::DEFAULT.to_string()
}

const fn default_grace() -> u64 {
    900
}

const fn default_lifecycle_interval() -> u64 {
    3600
}

const fn default_lifecycle_day() -> u64 {
    24 * 3600
}

const fn default_repair() -> u64 {
    64
}

const fn default_patience() -> u64 {
    900
}

const fn default_health_interval() -> u64 {
    10
}

const fn default_repair_interval() -> u64 {
    5
}

const fn default_sweep_interval() -> u64 {
    3600
}

const fn default_orphan_grace() -> u64 {
    24 * 3600
}

const fn default_journal() -> bool {
    true
}

const fn default_memory() -> usize {
    128
}

const fn default_requests() -> usize {
    1024
}

const fn default_id() -> GatewayId {
    GatewayId(1)
}

impl GatewayConfig {
    /// The defaults, on a given address.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            hosts: Vec::new(),
            domains: Vec::new(),
            region: default_region(),
            kms_keys: Vec::new(),
            code: default_code(),
            garbage_grace_seconds: default_grace(),
            lifecycle_interval_seconds: default_lifecycle_interval(),
            lifecycle_day_seconds: default_lifecycle_day(),
            repair_mib_per_second: default_repair(),
            node_patience_seconds: default_patience(),
            health_interval_seconds: default_health_interval(),
            drain_failing_nodes: false,
            metrics_listen: None,
            repair_interval_seconds: default_repair_interval(),
            sweep_interval_seconds: default_sweep_interval(),
            orphan_grace_seconds: default_orphan_grace(),
            journal: default_journal(),
            memory_mib: default_memory(),
            max_requests: default_requests(),
            id: default_id(),
            peer_listen: None,
            gateways: Vec::new(),
        }
    }

    /// Reads `gateway.toml`.
    ///
    /// # Errors
    /// [`FileError`] with file, line and what is wrong.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        let config: Self = files::parse_toml(path, &files::read(path)?)?;
        config.code().map_err(|why| FileError::invalid(path, format!("code: {why}")))?;
        config.domains().map_err(|why| FileError::invalid(path, format!("domains: {why}")))?;
        if config.memory_mib < 32 {
            return Err(FileError::invalid(path, "memory_mib: at least 32 are needed"));
        }
        if config.lifecycle_interval_seconds == 0 || config.lifecycle_day_seconds == 0 {
            let why = "lifecycle_interval_seconds, lifecycle_day_seconds: at least 1 is needed";
            return Err(FileError::invalid(path, why));
        }
        if !(1..=3600).contains(&config.health_interval_seconds) {
            let why = "health_interval_seconds: it must be between 1 and 3600";
            return Err(FileError::invalid(path, why));
        }
        if config.metrics_listen.is_some_and(|listen| !listen.ip().is_loopback()) {
            let why = "metrics_listen: it must be a loopback address, since no credentials are asked for; elsewhere read /.coffer/v1/metrics with a token";
            return Err(FileError::invalid(path, why));
        }
        let intervals = [
            ("repair_interval_seconds", config.repair_interval_seconds),
            ("sweep_interval_seconds", config.sweep_interval_seconds),
            ("orphan_grace_seconds", config.orphan_grace_seconds),
        ];
        if let Some((name, _)) = intervals.iter().find(|(_, seconds)| *seconds == 0) {
            return Err(FileError::invalid(path, format!("{name}: at least 1 is needed")));
        }
        if config.max_requests == 0 {
            return Err(FileError::invalid(path, "max_requests: at least 1 is needed"));
        }
        config.check_gateways().map_err(|why| FileError::invalid(path, why))?;
        Ok(config)
    }

    /// The URL of a gateway that listens on an address. For "any", a host that its certificate
    /// names, or else this machine.
    pub fn endpoint_at(&self, listen: SocketAddr) -> String {
        let port = listen.port();
        match self.hosts.first() {
            _ if !listen.ip().is_unspecified() => format!("https://{listen}"),
            Some(host) => format!("https://{host}:{port}"),
            None => format!("https://127.0.0.1:{port}"),
        }
    }

    /// The URLs of the gateways that are known from the beginning, this one's first.
    pub fn endpoints(&self) -> Vec<String> {
        let others = self.gateways.iter().filter(|g| g.id != self.id).map(|g| g.endpoint.clone());
        std::iter::once(self.endpoint_at(self.listen)).chain(others).collect()
    }

    /// The domains under which hosts name buckets.
    ///
    /// # Errors
    /// When one is not the name of a domain.
    pub fn domains(&self) -> Result<Domains, DomainError> {
        Domains::new(&self.domains)
    }

    /// The erasure code of new buckets.
    ///
    /// # Errors
    /// When it is not of the form data+parity.
    pub fn code(&self) -> Result<Code, coffer_core::erasure::CodeError> {
        self.code.parse()
    }
}

/// Reads `cluster.json`.
///
/// # Errors
/// [`FileError`] with file and what is wrong.
pub fn load_cluster(path: &Path) -> Result<ClusterMap, FileError> {
    let map: ClusterMap = serde_json::from_str(&files::read(path)?)
        .map_err(|e| FileError::invalid(path, e.to_string()))?;
    map.check().map_err(|why| FileError::invalid(path, why))?;
    Ok(map)
}

/// Writes `cluster.json`.
///
/// # Errors
/// [`FileError::Io`].
pub fn save_cluster(path: &Path, map: &ClusterMap) -> Result<(), FileError> {
    let text =
        serde_json::to_string_pretty(map).map_err(|e| FileError::invalid(path, e.to_string()))?;
    files::write(path, format!("{text}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(line: &str) -> Result<GatewayConfig, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gateway.toml");
        std::fs::write(&path, format!("listen = \"127.0.0.1:9000\"\n{line}\n")).unwrap();
        GatewayConfig::load(&path).map_err(|e| e.to_string())
    }

    #[test]
    fn intervals_have_defaults_can_be_set_and_are_not_zero() {
        assert_eq!(load("").unwrap(), GatewayConfig::new(([127, 0, 0, 1], 9000).into()));
        assert_eq!(load("sweep_interval_seconds = 7").unwrap().sweep_interval_seconds, 7);
        for name in ["repair_interval_seconds", "sweep_interval_seconds", "orphan_grace_seconds"] {
            let refused = load(&format!("{name} = 0")).unwrap_err();
            assert!(refused.contains(name) && refused.contains("at least 1"), "{refused}");
            assert!(load(&format!("{name} = 86400")).is_ok());
        }
    }
}
