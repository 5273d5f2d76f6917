//! Whether this gateway can serve, for load balancers and service managers.
//!
//! `GET /health/live` answers as soon as the process serves at all; `GET /health/ready` only while
//! requests have a chance. Neither asks for credentials, so that the answer tells no details.

use futures::future::BoxFuture;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How long an answer is repeated before the check is made again.
const FRESH: Duration = Duration::from_secs(1);

/// What is wrong, if anything is; fit for strangers.
pub type Problem = Option<&'static str>;

/// A check that is made at most once in a while, however often it is asked for.
pub struct Health {
    check: Box<dyn Fn() -> BoxFuture<'static, Problem> + Send + Sync>,
    last: Mutex<Option<(Instant, Problem)>>,
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health").finish_non_exhaustive()
    }
}

impl Health {
    /// Health by `check`, which must end in bounded time.
    pub fn new(check: impl Fn() -> BoxFuture<'static, Problem> + Send + Sync + 'static) -> Self {
        Self { check: Box::new(check), last: Mutex::new(None) }
    }

    /// What is wrong at the moment.
    pub async fn problem(&self) -> Problem {
        let mut last = self.last.lock().await;
        match *last {
            Some((at, problem)) if at.elapsed() < FRESH => problem,
            _ => {
                let problem = (self.check)().await;
                *last = Some((Instant::now(), problem));
                problem
            }
        }
    }
}
