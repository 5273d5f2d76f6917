//! A node's directory and its configuration.
//!
//! ```text
//! DIR/
//!   node.toml          node_id, listen, and bounds
//!   ca.pem             the cluster's authority
//!   node.pem, .key     the node's certificate
//!   LOCK               held while a process uses the directory
//!   volumes/           the shards
//!   index/             a cache; may be deleted while the node is stopped
//! ```

use crate::engine::{CompactOptions, NodeOptions, ScrubOptions};
use coffer_core::ids::NodeId;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where things are in a node's directory.
#[derive(Debug, Clone)]
pub struct NodeDir(PathBuf);

impl NodeDir {
    /// The directory `path`.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The volumes.
    pub fn volumes(&self) -> PathBuf {
        self.0.join("volumes")
    }

    /// The index.
    pub fn index(&self) -> PathBuf {
        self.0.join("index")
    }

    /// The lock file.
    pub fn lock(&self) -> PathBuf {
        self.0.join("LOCK")
    }

    /// The configuration.
    pub fn config(&self) -> PathBuf {
        self.0.join("node.toml")
    }
}

/// `node.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// The node's id, 32 hexadecimal digits, as in the cluster map.
    pub node_id: String,
    /// Where the shard service listens (TCP).
    pub listen: SocketAddr,
    /// Bytes after which a new volume is begun; at least [`VolumeSize::MIN`], 1 GiB unless given.
    #[serde(default)]
    pub volume_size: Option<VolumeSize>,
    /// Bytes of the file system that are left free.
    #[serde(default)]
    pub reserve_bytes: Option<u64>,
    /// Days in which all that is stored is verified once; 7 unless given, 0 turns scrubbing off.
    #[serde(default)]
    pub scrub_days: Option<Days>,
    /// MiB a second that scrubbing may read at most, even if it takes longer then; 64 unless given.
    #[serde(default)]
    pub scrub_mib_per_second: Option<u64>,
    /// Percent of a volume that are to be live, or else it is compacted; at most 90, 50 unless given,
    /// 0 turns compaction off.
    #[serde(default)]
    pub compact_live_percent: Option<LivePercent>,
    /// MiB a second that compaction may read and copy at most; 32 unless given.
    #[serde(default)]
    pub compact_mib_per_second: Option<u64>,
    /// Minutes between two readings of the disks' SMART figures; 60 unless given, 0 is never.
    #[serde(default)]
    pub smart_minutes: Option<u32>,
}

/// A number of days, fractions allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "f64")]
pub struct Days(pub Duration);

impl TryFrom<f64> for Days {
    type Error = String;

    fn try_from(days: f64) -> Result<Self, String> {
        Duration::try_from_secs_f64(days * 86_400.0)
            .map(Self)
            .map_err(|_| format!("{days} is no number of days; 0 or more are, such as 7 or 0.5"))
    }
}

/// Bytes of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub struct VolumeSize(u64);

impl VolumeSize {
    /// The least. All volumes are open at once, and each is begun and ended with an fsync.
    pub const MIN: u64 = 1_000_000;
}

impl TryFrom<u64> for VolumeSize {
    type Error = String;

    fn try_from(bytes: u64) -> Result<Self, String> {
        if bytes < Self::MIN {
            return Err(format!("volume_size is {bytes} bytes; it is at least {}", Self::MIN));
        }
        Ok(Self(bytes))
    }
}

/// A threshold that [`CompactOptions`] can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub struct LivePercent(u8);

impl TryFrom<i64> for LivePercent {
    type Error = String;

    fn try_from(percent: i64) -> Result<Self, String> {
        let max = CompactOptions::MAX_PERCENT;
        let fits = u8::try_from(percent).ok().filter(|percent| *percent <= max);
        fits.map(Self).ok_or_else(|| {
            format!(
                "compact_live_percent is {percent}; it may be 0 (no compaction) to {max}: beyond \
                 that too much is copied for what is gained"
            )
        })
    }
}

/// What is wrong with a node's configuration.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", .path.display())]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong, and how to mend it.
    pub why: String,
}

impl NodeConfig {
    /// Reads `node.toml` of a node's directory.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(dir: &NodeDir) -> Result<Self, ConfigError> {
        let path = dir.config();
        let failed = |why: String| ConfigError { path: path.clone(), why };
        let text = std::fs::read_to_string(&path).map_err(|e| {
            failed(format!("{e}; `coffer-gateway init` makes the directories of a cluster"))
        })?;
        toml::from_str(&text).map_err(|e| failed(e.message().to_owned()))
    }

    /// The node's id.
    ///
    /// # Errors
    /// [`ConfigError`] when it is not one.
    pub fn id(&self, dir: &NodeDir) -> Result<NodeId, ConfigError> {
        self.node_id
            .parse()
            .map_err(|e| ConfigError { path: dir.config(), why: format!("node_id: {e}") })
    }

    /// The engine's options.
    pub fn options(&self) -> NodeOptions {
        let defaults = NodeOptions::default();
        NodeOptions {
            volume_size: self.volume_size.map_or(defaults.volume_size, |size| size.0),
            reserve_bytes: self.reserve_bytes.unwrap_or(defaults.reserve_bytes),
            scrub: ScrubOptions {
                round: self.scrub_days.map_or(defaults.scrub.round, |days| days.0),
                max_bytes_per_second: self
                    .scrub_mib_per_second
                    .map_or(defaults.scrub.max_bytes_per_second, |mib| mib.saturating_mul(1 << 20)),
            },
            compact: CompactOptions {
                live_percent: self
                    .compact_live_percent
                    .map_or(defaults.compact.live_percent, |percent| percent.0),
                max_bytes_per_second: self
                    .compact_mib_per_second
                    .map_or(defaults.compact.max_bytes_per_second, |mib| {
                        mib.saturating_mul(1 << 20)
                    }),
            },
            smart_every: self.smart_minutes.map_or(defaults.smart_every, |minutes| {
                Duration::from_secs(60 * u64::from(minutes))
            }),
            ..defaults
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn arbitrary_files_never_panic(
            text in "(node_id = |listen = |volume_size = |scrub_days = |compact_live_percent = |nan|0.5|\"127.0.0.1:1\"|\"[0-9a-f]{30,34}\"|-1|99999999999999999999|\n|é|\\PC){0,12}",
        ) {
            let dir = tempfile::tempdir().unwrap();
            let node = NodeDir::new(dir.path());
            std::fs::write(node.config(), &text).unwrap();
            if let Ok(config) = NodeConfig::load(&node) {
                let _ = config.id(&node);
                let _ = config.options();
            }
        }
    }

    #[test]
    fn volumes_that_are_too_small_are_refused_with_the_bound() {
        assert_eq!(VolumeSize::try_from(VolumeSize::MIN), Ok(VolumeSize(1_000_000)));
        let error = VolumeSize::try_from(0).unwrap_err();
        assert!(error.contains("at least 1000000"), "{error}");
    }

    #[test]
    fn a_threshold_beyond_the_greatest_is_refused_with_the_bounds() {
        let dir = tempfile::tempdir().unwrap();
        let node = NodeDir::new(dir.path());
        let load = |percent: i64| {
            let text = format!(
                "node_id = \"\"\nlisten = \"127.0.0.1:1\"\ncompact_live_percent = {percent}\ncompact_mib_per_second = 8\n"
            );
            std::fs::write(node.config(), text).unwrap();
            NodeConfig::load(&node)
        };
        for percent in [91, -1, 256, i64::MAX] {
            let error = load(percent).unwrap_err().to_string();
            assert!(error.contains("0 (no compaction) to 90"), "{error}");
        }
        let options = load(30).unwrap().options();
        let expected = CompactOptions { live_percent: 30, max_bytes_per_second: 8 << 20 };
        assert_eq!(options.compact, expected);
        assert!(!load(0).unwrap().options().compact.is_on());
    }
}
