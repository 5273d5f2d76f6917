//! The worker that does what the buckets' lifecycle rules say.
//!
//! A round goes through all buckets that have rules, page by page, over the keys that the rules are
//! about. [`coffer_core::bucket::lifecycle`] decides; the worker submits what is due as commands on
//! condition that things still are as they were seen, so that a write that comes between wins.
//! What Object Lock protects stays. A round that breaks off loses nothing: the next one begins
//! anew, and what has been done is not there any more.
//!
//! | module | what |
//! |---|---|
//! | [`round`] | one round over all buckets |
//! | [`command`] | what is due, as commands of the catalog |

mod command;
pub mod round;

pub use round::{Done, Pace, run_once};

use crate::catalog::CatalogHandle;
use coffer_core::bucket::lifecycle::Clock;
use std::time::Duration;

/// When the worker works.
#[derive(Debug, Clone, Copy)]
pub struct LifecycleConfig {
    /// The pause between two rounds.
    pub interval: Duration,
    /// How long a day is taken to be; 24 hours unless in tests.
    pub day: Duration,
    /// How fast a round goes.
    pub pace: Pace,
}

/// The first round does not wait for longer than this, so that a gateway that is often restarted
/// has rounds at all.
const FIRST: Duration = Duration::from_secs(60);

/// Works, while this gateway leads the catalog, until the returned task is aborted or dropped by the
/// runtime.
pub fn spawn(
    catalog: CatalogHandle,
    config: LifecycleConfig,
    now_ms: impl Fn() -> u64 + Send + 'static,
) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let day_ms = u64::try_from(config.day.as_millis()).unwrap_or(u64::MAX);
        tokio::time::sleep(config.interval.min(FIRST)).await;
        loop {
            if !catalog.leads() {
                tokio::time::sleep(config.interval.min(FIRST)).await;
                continue;
            }
            match run_once(&catalog, Clock { now_ms: now_ms(), day_ms }, config.pace).await {
                Ok(done) if done.changes() == 0 => tracing::debug!(?done, "lifecycle round"),
                Ok(done) => tracing::info!(
                    buckets = done.buckets,
                    seen = done.seen,
                    expired = done.expired,
                    noncurrent = done.noncurrent,
                    markers = done.markers,
                    uploads = done.uploads,
                    locked = done.locked,
                    overtaken = done.overtaken,
                    "lifecycle round"
                ),
                Err(error) => tracing::warn!(%error, "a lifecycle round broke off"),
            }
            tokio::time::sleep(config.interval).await;
        }
    })
}
