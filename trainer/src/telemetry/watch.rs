//! The state with a clock, shared by those who look at it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use super::{About, Level, Telemetry};
use crate::checkpoint::Status;
use crate::energy::EnergyMeter;
use crate::stream::Dataset;
use crate::train::Event;

/// A run that is watched.
#[derive(Debug)]
pub struct Watch {
    telemetry: Mutex<Telemetry>,
    meter: Arc<EnergyMeter>,
    writing: watch::Receiver<Status>,
    dataset: Option<Dataset>,
    started: Instant,
    started_at: SystemTime,
}

impl Watch {
    /// Begins to watch a run whose energy `meter` measures, and of whose checkpoints `writing` tells.
    pub fn new(about: About, meter: Arc<EnergyMeter>, writing: watch::Receiver<Status>) -> Self {
        let telemetry = Mutex::new(Telemetry::new(about));
        let (started, started_at) = (Instant::now(), SystemTime::now());
        Self { telemetry, meter, writing, dataset: None, started, started_at }
    }

    /// Counts what reading `dataset` costs, too.
    pub fn reading(self, dataset: Dataset) -> Self {
        Self { dataset: Some(dataset), ..self }
    }

    /// Takes note of an event.
    pub fn observe(&self, event: &Event<'_>) {
        self.lock().on(self.started.elapsed(), event);
    }

    /// Takes note of something that was said.
    pub fn say(&self, level: Level, text: &str) {
        self.lock().say(self.started.elapsed(), level, text);
    }

    /// Looks at the state as it is now; the second argument is the time since the start.
    pub fn look<T>(&self, look: impl FnOnce(&Telemetry, Duration) -> T) -> T {
        let energy = self.meter.read();
        let status = self.writing.borrow().clone();
        let mut telemetry = self.lock();
        telemetry.energy = energy;
        telemetry.checkpoints.status = status;
        telemetry.reads = self.dataset.as_ref().map(Dataset::stats);
        look(&telemetry, self.started.elapsed())
    }

    /// The state as metrics for Prometheus.
    pub fn metrics(&self) -> String {
        self.look(|telemetry, _| telemetry.metrics(self.started_at))
    }

    /// A thread that panicked has left figures behind that are whole.
    fn lock(&self) -> MutexGuard<'_, Telemetry> {
        self.telemetry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
