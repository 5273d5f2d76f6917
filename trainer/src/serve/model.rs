//! A model that answers one request at a time.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use crate::checkpoint::CheckpointId;
use crate::model::{Learner, LearnerError};
use crate::train::ModelConfig;

/// Requests that may use the model or wait for it; more are turned away.
const QUEUE: usize = 32;

/// What is served: a model as one checkpoint has it.
pub struct Model {
    learner: Arc<Mutex<Box<dyn Learner>>>,
    queue: Arc<Semaphore>,
    /// Which model.
    pub(super) kind: ModelConfig,
    /// Whose checkpoint.
    pub(super) checkpoint: CheckpointId,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Model({} of {})", self.kind.name(), self.checkpoint)
    }
}

/// Why the model gave no answer.
pub(super) enum Failure {
    /// Too many requests wait already.
    Busy,
    /// The model or its device failed.
    Learner(LearnerError),
    /// The computation was broken off.
    Broken,
}

impl Model {
    /// Serves `learner`, which is a `kind` as `checkpoint` has it.
    pub fn new(learner: Box<dyn Learner>, kind: ModelConfig, checkpoint: CheckpointId) -> Self {
        let queue = Arc::new(Semaphore::new(QUEUE));
        Self { learner: Arc::new(Mutex::new(learner)), queue, kind, checkpoint }
    }

    /// What `work` finds out by the model, computed beside the connections' tasks. It's done to its
    /// end even if nobody waits for it any more, and counts as waiting until then.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Learner) -> Result<T, LearnerError> + Send + 'static,
    ) -> Result<T, Failure> {
        let place = Arc::clone(&self.queue).try_acquire_owned().map_err(|_| Failure::Busy)?;
        let learner = Arc::clone(&self.learner);
        let done = tokio::task::spawn_blocking(move || {
            // Inference changes nothing: what another request left behind is whole.
            let learner = learner.lock().unwrap_or_else(PoisonError::into_inner);
            let found = work(learner.as_ref());
            drop(place);
            found
        });
        done.await.map_err(|_| Failure::Broken)?.map_err(Failure::Learner)
    }
}
