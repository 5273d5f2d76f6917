//! Watching the cluster: how well its nodes, disks and gateways are, and what has changed.
//!
//! Every gateway looks at all of it at an interval, judges it by `coffer_core::health`, and
//! remembers what has changed as events. Changes must last for a few looks before they are told. Only
//! the gateway that leads the catalog acts, and only if it is told to: a node that is failing is then
//! drained, one at a time.
//!
//! | module | what |
//! |---|---|
//! | [`event`], [`events`] | what is told, and what has been told |
//! | `node`, `cluster` | what is remembered from look to look |
//! | `poll` | one look at everything |
//! | `drain` | failing nodes are drained |
//! | [`report`], `problems` | how all of it is now, and what an operator should do |
//! | [`metrics`], [`port`] | the same in figures, for Prometheus, on a port of their own |

pub mod cluster;
mod drain;
pub mod event;
pub mod events;
pub mod metrics;
mod node;
mod poll;
pub mod port;
mod problems;
pub mod report;

use crate::catalog::CatalogHandle;
use crate::catalog::raft::types::GatewayId;
use crate::engine::Engine;
use crate::engine::repair::Repairer;
use crate::journal::writer::JournalStatus;
use cluster::ClusterWatch;
use coffer_core::erasure::Code;
use coffer_core::health::Patience;
use coffer_core::ids::NodeId;
use drain::Drains;
use events::Events;
use node::NodeWatch;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How the cluster is watched.
#[derive(Debug, Clone)]
pub struct MonitorConfig {
    /// The pause between two looks.
    pub interval: Duration,
    /// How long a node or gateway may take to say how it is.
    pub answer: Duration,
    /// For how many looks in a row a change must last until it is told.
    pub patience: Patience,
    /// Whether failing nodes are drained. The default is no.
    pub drain_failing: bool,
    /// For how many looks in a row a node must be failing, and answer, before it is drained.
    pub drain_after: u32,
    /// The code whose chunks must still find a node for each shard without a node that is drained.
    pub code: Code,
}

impl Default for MonitorConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            answer: Duration::from_secs(5),
            patience: Patience { worse: 3, better: 30 },
            drain_failing: false,
            drain_after: 6,
            code: Code::DEFAULT,
        }
    }
}

/// What a monitor looks at.
pub struct Watched {
    /// This gateway.
    pub id: GatewayId,
    /// What people call it.
    pub name: String,
    /// The storage nodes.
    pub engine: Arc<Engine>,
    /// The catalog and its gateways.
    pub catalog: CatalogHandle,
    /// Repair.
    pub repairer: Arc<Repairer>,
    /// The journal, if there is one.
    pub journal: Option<watch::Receiver<JournalStatus>>,
}

/// Watches the cluster.
pub struct Monitor {
    watched: Watched,
    config: MonitorConfig,
    events: Events,
    state: Mutex<State>,
    began: Instant,
    now_ms: Box<dyn Fn() -> u64 + Send + Sync>,
}

/// What is remembered from look to look.
struct State {
    looks: u64,
    /// When the last look ended, in Unix milliseconds.
    at_ms: u64,
    nodes: HashMap<NodeId, NodeWatch>,
    cluster: ClusterWatch,
    drains: Drains,
}

impl std::fmt::Debug for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Monitor").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Monitor {
    /// A monitor that has not looked yet; `now_ms` tells the time since the Unix epoch.
    pub fn new(
        watched: Watched,
        config: MonitorConfig,
        now_ms: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Arc<Self> {
        let state = State {
            looks: 0,
            at_ms: 0,
            nodes: HashMap::new(),
            cluster: ClusterWatch::new(config.patience),
            drains: Drains::default(),
        };
        Arc::new(Self {
            watched,
            events: Events::new(now_ms()),
            config,
            state: Mutex::new(state),
            began: Instant::now(),
            now_ms: Box::new(now_ms),
        })
    }

    /// Watches until the returned task is aborted.
    pub fn spawn(self: &Arc<Self>) -> JoinHandle<()> {
        let this = self.clone();
        tokio::spawn(async move {
            loop {
                this.look().await;
                tokio::time::sleep(this.config.interval).await;
            }
        })
    }

    /// What has happened.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// This gateway's number and name.
    pub fn gateway(&self) -> (GatewayId, &str) {
        (self.watched.id, &self.watched.name)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
