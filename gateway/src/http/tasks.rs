//! The tasks of a server: first asked to end, then cut off.

use hyper::rt::Executor;
use std::future::Future;
use std::time::Duration;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use tokio_util::task::TaskTracker;

/// All tasks that a server has started, on whichever protocol. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Tasks {
    stop: CancellationToken,
    cut: CancellationToken,
    running: TaskTracker,
}

impl Tasks {
    /// Starts a task that ends by itself, or when the server cuts it off.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let cut = self.cut.clone();
        self.running.spawn(async move {
            cut.run_until_cancelled(task).await;
        });
    }

    /// Resolves when the server takes no more requests.
    pub(super) fn stopping(&self) -> WaitForCancellationFuture<'_> {
        self.stop.cancelled()
    }

    /// Asks all tasks to end, waits for them for at most `grace`, and drops what is left. When it
    /// returns, no task is left.
    pub(super) async fn finish(&self, grace: Duration) {
        self.stop.cancel();
        self.running.close();
        if tokio::time::timeout(grace, self.running.wait()).await.is_err() {
            tracing::warn!(tasks = self.running.len(), "requests still running are cut off");
            self.cut.cancel();
            self.running.wait().await;
        }
    }
}

/// Lets hyper start its tasks here, so that none outlives the server.
impl<F> Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        self.spawn(async move {
            task.await;
        });
    }
}
