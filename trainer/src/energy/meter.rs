//! Adds up what all sources tell, and looks at them often enough in between.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::rapl::Rapl;
use super::{Component, Energy, EnergySource, Unavailable, nvml};

/// Time between two looks: a counter of a CPU comes round after minutes at the earliest, and the
/// power of a GPU without a counter changes faster than that.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Measures energy from when it was opened until it's dropped.
#[derive(Debug)]
pub struct EnergyMeter {
    accounts: Arc<Mutex<Accounts>>,
    /// Ends the thread that looks, when it's dropped.
    stop: Option<Sender<()>>,
    looker: Option<JoinHandle<()>>,
}

/// The sources, and what has become of them.
struct Accounts {
    sources: Vec<Box<dyn EnergySource>>,
    /// Why there is no figure, of the components that have none.
    missing: Vec<Unavailable>,
    /// How many of these have been told.
    told: usize,
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Accounts({} sources, missing: {:?})", self.sources.len(), self.missing)
    }
}

impl Accounts {
    /// What has been used by `now`. A component of which a source fails has no figure from then on.
    fn read(&mut self, now: Instant) -> Energy {
        let mut energy = Energy::default();
        for source in &mut self.sources {
            let of = source.component();
            if self.missing.iter().any(|missing| missing.component() == of) {
                continue;
            }
            match source.joules(now) {
                Ok(joules) => {
                    let sum = match of {
                        Component::Cpu => &mut energy.cpu_joules,
                        Component::Gpu => &mut energy.gpu_joules,
                    };
                    *sum = Some(sum.unwrap_or_default() + joules);
                }
                Err(unavailable) => self.missing.push(unavailable),
            }
        }
        for missing in &self.missing {
            match missing.component() {
                Component::Cpu => energy.cpu_joules = None,
                Component::Gpu => energy.gpu_joules = None,
            }
        }
        energy
    }
}

impl EnergyMeter {
    /// Measures the CPU, and the GPUs with these CUDA numbers. What can't be measured is told by
    /// [`Self::take_news`].
    pub fn open(gpus: &[usize]) -> Self {
        let mut sources: Vec<Box<dyn EnergySource>> = Vec::new();
        let mut missing = Vec::new();
        match Rapl::open() {
            Ok(rapl) => sources.push(Box::new(rapl)),
            Err(unavailable) => missing.push(unavailable),
        }
        if !gpus.is_empty() {
            match nvml::open(gpus) {
                Ok(found) => sources.extend(found),
                Err(unavailable) => missing.push(unavailable),
            }
        }
        Self::of(sources, missing)
    }

    /// Measures `sources`; what is `missing` was to be measured and can't be.
    pub fn of(sources: Vec<Box<dyn EnergySource>>, missing: Vec<Unavailable>) -> Self {
        let looks = !sources.is_empty();
        let accounts = Arc::new(Mutex::new(Accounts { sources, missing, told: 0 }));
        let (stop, stopped) = channel();
        let shared = Arc::clone(&accounts);
        let look = move || {
            while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                lock(&shared).read(Instant::now());
            }
        };
        // Without the thread, readings are those at the ends of epochs: right, as long as no counter
        // comes round in between.
        let looker = looks.then(|| std::thread::Builder::new().name("energy".into()).spawn(look));
        Self { accounts, stop: Some(stop), looker: looker.and_then(Result::ok) }
    }

    /// What has been used since it was opened.
    pub fn read(&self) -> Energy {
        lock(&self.accounts).read(Instant::now())
    }

    /// Why there is no figure for a component, each told once.
    pub fn take_news(&self) -> Vec<Unavailable> {
        let mut accounts = lock(&self.accounts);
        let news = accounts.missing.get(accounts.told..).unwrap_or_default().to_vec();
        accounts.told = accounts.missing.len();
        news
    }
}

impl Drop for EnergyMeter {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(looker) = self.looker.take() {
            let _ = looker.join();
        }
    }
}

/// A thread that panicked has left figures behind that are whole.
fn lock(accounts: &Mutex<Accounts>) -> MutexGuard<'_, Accounts> {
    accounts.lock().unwrap_or_else(PoisonError::into_inner)
}
