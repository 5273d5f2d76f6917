//! Saving in the background, beside the work that makes the checkpoints.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::cut::{Cut, Snapshot};
use super::{CheckpointError, CheckpointId, GRACE, Root, Saved, Saver};

/// Decides which checkpoints are to go after each save.
pub type Retain = Arc<dyn Fn(&Root) -> BTreeSet<CheckpointId> + Send + Sync>;

/// What a writer is doing.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Activity {
    /// Nothing.
    #[default]
    Idle,
    /// It saves a checkpoint.
    Writing {
        /// Which.
        checkpoint: CheckpointId,
        /// Bytes of it that are in the store.
        written: u64,
        /// All its bytes.
        bytes: u64,
    },
    /// Saving failed; it does nothing any more.
    Failed(String),
}

/// What a writer is doing, and has done.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Status {
    /// What it's doing.
    pub activity: Activity,
    /// The last checkpoint that is safe.
    pub last: Option<Saved>,
    /// Checkpoints that it saved.
    pub saves: u64,
    /// Bytes that it had to write for them.
    pub written: u64,
}

/// A checkpoint that is safe.
#[derive(Debug)]
pub struct Written {
    /// What was saved.
    pub saved: Saved,
    /// How long that took, in the background.
    pub took: Duration,
    /// Why deleting others afterwards failed, if it did. The next save tries again.
    pub unpruned: Option<CheckpointError>,
}

type Done = (Saver, Result<Written, CheckpointError>);

/// Saves one checkpoint at a time, in the background.
///
/// Its methods block; call them outside of async code. Dropping it breaks off what is under way:
/// call [`Self::finish`] before.
pub struct Writer {
    runtime: Handle,
    saver: Option<Saver>,
    under_way: Option<AbortOnDropHandle<Done>>,
    retain: Option<Retain>,
    status: watch::Sender<Status>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("status", &*self.status.borrow()).finish_non_exhaustive()
    }
}

impl Writer {
    /// A writer that works on `runtime`, and tells `status` what it does. After each save, the
    /// checkpoints that `retain` names are deleted.
    pub fn new(
        runtime: &Handle,
        saver: Saver,
        retain: Option<Retain>,
        status: watch::Sender<Status>,
    ) -> Self {
        Self { runtime: runtime.clone(), saver: Some(saver), under_way: None, retain, status }
    }

    /// Begins to save `snapshot`, once the save before is done; returns that one, if there was one
    /// whose end hasn't been told yet.
    ///
    /// # Errors
    /// If the save before failed. Nothing is saved then, nor later.
    pub fn save(&mut self, snapshot: Snapshot) -> Result<Option<Written>, CheckpointError> {
        let before = self.finish()?;
        let Some(mut saver) = self.saver.take() else {
            return Err(CheckpointError::Stopped);
        };
        let (status, retain) = (self.status.clone(), self.retain.clone());
        let bytes = snapshot.parts.values().map(bytes::Bytes::len).sum::<usize>();
        let activity = Activity::Writing {
            checkpoint: snapshot.id,
            written: 0,
            bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
        };
        status.send_modify(|status| status.activity = activity);
        let work = async move {
            let outcome = save(&mut saver, snapshot, retain.as_ref(), &status).await;
            status.send_modify(|status| match &outcome {
                Ok(written) => {
                    status.activity = Activity::Idle;
                    status.saves += 1;
                    status.written += written.saved.written;
                    status.last = Some(written.saved.clone());
                }
                Err(error) => status.activity = Activity::Failed(error.to_string()),
            });
            (saver, outcome)
        };
        self.under_way = Some(AbortOnDropHandle::new(self.runtime.spawn(work)));
        Ok(before)
    }

    /// The save that ended since the last call of this, [`Self::save`] or [`Self::finish`], if one
    /// did. Doesn't wait.
    ///
    /// # Errors
    /// If it failed.
    pub fn poll(&mut self) -> Result<Option<Written>, CheckpointError> {
        if self.under_way.as_ref().is_some_and(|task| task.is_finished()) {
            return self.finish();
        }
        Ok(None)
    }

    /// Waits until nothing is under way; returns what was, if its end hasn't been told yet.
    ///
    /// # Errors
    /// If it failed.
    pub fn finish(&mut self) -> Result<Option<Written>, CheckpointError> {
        let Some(task) = self.under_way.take() else {
            return Ok(None);
        };
        let (saver, outcome) = self.runtime.block_on(task).map_err(|_| CheckpointError::Stopped)?;
        let written = outcome?;
        self.saver = Some(saver);
        Ok(Some(written))
    }
}

async fn save(
    saver: &mut Saver,
    snapshot: Snapshot,
    retain: Option<&Retain>,
    status: &watch::Sender<Status>,
) -> Result<Written, CheckpointError> {
    let start = Instant::now();
    let cut = tokio::task::spawn_blocking(move || Cut::of(snapshot)).await;
    let cut = cut.map_err(|_| CheckpointError::Stopped)?;
    let progress = |bytes| {
        status.send_modify(|status| {
            if let Activity::Writing { written, bytes: all, .. } = &mut status.activity {
                // More, if an attempt had to begin anew.
                *written = written.saturating_add(bytes).min(*all);
            }
        });
    };
    let saved = saver.save(&cut, &progress).await?;
    drop(cut);
    let unpruned = match retain {
        None => None,
        Some(retain) => saver.prune(retain.as_ref(), GRACE).await.err(),
    };
    Ok(Written { saved, took: start.elapsed(), unpruned })
}
