//! Who a member of the raft is, and its times.

use super::link::NoPeers;
use super::network::PeerLink;
use super::types::{GatewayId, Peer};
use crate::catalog::store::Work;
use coffer_core::catalog::CatalogError;
use openraft::{Config, SnapshotPolicy};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A member of the raft.
#[derive(Clone)]
pub struct Options {
    /// Its id, for life.
    pub id: GatewayId,
    /// The members of a cluster that may have to be founded, this one among them. The one with the
    /// least id founds it; empty for a gateway that waits to be taken in.
    pub founders: BTreeMap<GatewayId, Peer>,
    /// The way to the others.
    pub link: Arc<dyn PeerLink>,
    /// In which threads its store is worked on.
    pub work: Work,
    /// Its times.
    pub timing: Timing,
    /// Applied entries that are kept for members that are behind; those that are further behind are
    /// sent a snapshot. The log has at most twice as many.
    pub keep_entries: u64,
}

/// The times of a raft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How often the leader gives a sign of life, and how long it waits for an answer.
    pub heartbeat: Duration,
    /// How long a member waits, at random between these, after the leader's lease has run out; the
    /// lease is as long as the greater.
    pub election: (Duration, Duration),
    /// How long a request waits for a leader.
    pub patience: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(250),
            election: (Duration::from_millis(500), Duration::from_millis(800)),
            patience: Duration::from_secs(5),
        }
    }
}

impl Options {
    /// A gateway that is alone.
    pub fn alone() -> Self {
        let id = GatewayId(1);
        let peer = Peer { name: "gateway".into(), ..Peer::default() };
        Self {
            id,
            founders: BTreeMap::from([(id, peer)]),
            link: Arc::new(NoPeers),
            work: Work::Blocking,
            timing: Timing::default(),
            keep_entries: 1024,
        }
    }

    /// Whether it founds the cluster, if there is none yet.
    pub(crate) fn founds(&self) -> bool {
        self.founders.keys().next() == Some(&self.id)
    }

    pub(crate) fn config(&self) -> Result<Arc<Config>, CatalogError> {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let config = Config {
            cluster_name: "coffer".into(),
            heartbeat_interval: ms(self.timing.heartbeat),
            election_timeout_min: ms(self.timing.election.0),
            election_timeout_max: ms(self.timing.election.1),
            install_snapshot_timeout: 60_000,
            max_payload_entries: 64,
            replication_lag_threshold: self.keep_entries,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.keep_entries),
            max_in_snapshot_log_to_keep: self.keep_entries,
            purge_batch_size: 64,
            ..Config::default()
        };
        let wrong = |e| CatalogError::Stopped(format!("the times of the catalog do not fit: {e}"));
        config.validate().map(Arc::new).map_err(wrong)
    }
}
