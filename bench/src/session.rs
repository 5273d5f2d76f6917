//! Rounds of runs: what is needed is stored, the load runs, and what was stored is deleted.

use crate::data::{Population, Sizes, mix};
use crate::load::{
    Arrivals, End, Live, Objects, Pace, Plan, SystemClock, Work, Workload, pacer, prepare, run,
};
use crate::measure::{Machine, Meter, MeterError, Reading, Sources};
use crate::report::{Config, FORMAT, Report, Run, TargetInfo};
use crate::s3::{Target, TargetError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// In an open loop, how long a server may take to catch up after the end.
const GRACE: Duration = Duration::from_secs(30);

/// Why a session broke off. Operations that fail are figures, not this.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The store refused what is needed to begin.
    #[error("{label}: {source}")]
    Target {
        /// Which target.
        label: String,
        /// Why.
        source: TargetError,
    },
    /// The server's costs can't be read.
    #[error(transparent)]
    Meter(#[from] MeterError),
    /// The system refused a thread.
    #[error("no thread can be started: {0}")]
    Thread(std::io::Error),
}

/// A store, and where its costs can be read.
#[derive(Debug)]
pub struct Side {
    /// The store.
    pub target: Arc<Target>,
    /// Where its costs can be read.
    pub sources: Sources,
}

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Session {
    /// What is done.
    pub workload: Workload,
    /// As it is told in reports.
    pub config: Config,
    /// Sizes of objects; of samples, where shards are read.
    pub sizes: Sizes,
    /// Objects that must be there before.
    pub objects: u64,
    /// The length of shards, where shards are read.
    pub shard: u64,
    /// Folders that objects are spread over.
    pub spread: u64,
    /// What all names begin with, without the slash.
    pub prefix: String,
    /// How operations follow each other.
    pub pace: Pace,
    /// Operations under way at a time, at most.
    pub concurrency: usize,
    /// Not counted.
    pub warm_up: Duration,
    /// When a run ends.
    pub end: End,
    /// What is random follows from this.
    pub seed: u64,
    /// Whether contents are checked.
    pub check: bool,
    /// Attempts after the first.
    pub retries: usize,
    /// Runs on each target.
    pub rounds: usize,
    /// Whether the objects that must be there before stay for the next session.
    pub keep: bool,
}

/// What goes on, for those who watch.
pub trait Watch: Sync {
    /// So many objects are stored before a run.
    fn preparing(&self, target: &str, objects: u64);
    /// One of them is stored, or was there.
    fn prepared(&self, objects: u64);
    /// A run begins, whose progress can be looked at.
    fn running(&self, target: &str, round: usize, live: Arc<Live>);
    /// What was stored is being deleted.
    fn cleaning(&self, target: &str);
}

impl Session {
    /// Runs all rounds; in each, the targets take turns.
    ///
    /// # Errors
    /// [`SessionError`]. What was stored by then stays.
    pub async fn run(&self, sides: &[Side], watch: &impl Watch) -> Result<Report, SessionError> {
        let began = time::OffsetDateTime::now_utc();
        let mut report = Report {
            format: FORMAT.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            began: began.format(&time::format_description::well_known::Rfc3339).unwrap_or_default(),
            config: self.config.clone(),
            machine: Machine::here(),
            targets: Vec::new(),
            runs: Vec::new(),
        };
        for Side { target, sources } in sides {
            // What can't be read should show before anything is stored.
            Meter::start(sources)?;
            let server = target.ensure_bucket().await.map_err(at(target))?;
            report.targets.push(TargetInfo {
                label: target.label().to_owned(),
                endpoint: target.endpoint(),
                http: target.http().to_string(),
                server,
            });
        }
        let mut fresh = vec![Vec::new(); sides.len()];
        for round in 1..=self.rounds {
            for (side, fresh) in sides.iter().zip(&mut fresh) {
                let prefix = format!("{}/run-{:016x}/", self.prefix, unused());
                fresh.push(prefix.clone());
                report.runs.push(self.one(side, round, prefix, watch).await?);
            }
        }
        for (Side { target, .. }, mut prefixes) in sides.iter().zip(fresh) {
            watch.cleaning(target.label());
            if !self.keep {
                prefixes.push(self.base().prefix().to_owned());
            }
            for prefix in prefixes {
                clean(target, &prefix).await.map_err(at(target))?;
            }
            target.close().await;
        }
        Ok(report)
    }

    /// The objects that must be there before. Their name tells them from others, so that a later
    /// session may use them again.
    fn base(&self) -> Population {
        let what = format!("{} {} {} {}", self.sizes, self.shard, self.spread, self.seed);
        let name = what.bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte)));
        let prefix = format!("{}/base-{name:016x}/", self.prefix);
        match self.workload {
            Workload::Shards | Workload::Samples => {
                Population::shards(prefix, self.seed, self.shard, self.sizes.clone())
            }
            _ => Population::new(prefix, self.seed, self.spread, self.sizes.clone()),
        }
    }

    async fn one(
        &self,
        side: &Side,
        round: usize,
        fresh: String,
        watch: &impl Watch,
    ) -> Result<Run, SessionError> {
        let target = &side.target;
        let base = Objects { population: self.base(), count: self.objects };
        if base.count > 0 {
            watch.preparing(target.label(), base.count);
            let found = prepare(target, &base, || watch.prepared(1)).await.map_err(at(target))?;
            watch.prepared(found);
        }
        let fresh = Population::new(fresh, self.seed, self.spread, self.sizes.clone());
        let workload = self.workload.clone();
        let options = (self.check, self.retries, self.seed);
        let work = Arc::new(Work::new(Arc::clone(target), workload, base, fresh, options));
        let live = Arc::<Live>::default();
        watch.running(target.label(), round, Arc::clone(&live));

        let start = Instant::now();
        let arrivals = match self.pace {
            Pace::Closed => None,
            Pace::Open { rate, spacing } => {
                let arrivals = Arrivals::new(rate, spacing, self.seed ^ mix(round as u64));
                let end = match self.end {
                    End::After(length) => self.warm_up + length,
                    End::Operations(_) => Duration::MAX,
                };
                let arrivals = arrivals.take_while(move |at| *at < end);
                Some(pacer(arrivals, start).map_err(SessionError::Thread)?)
            }
        };
        let plan = Plan {
            concurrency: self.concurrency,
            warm_up: self.warm_up,
            end: self.end,
            grace: GRACE,
            seed: self.seed,
        };
        let clock = Arc::new(SystemClock::since(start));
        let begin = async {
            tokio::time::sleep(self.warm_up).await;
            let sources = side.sources.clone();
            blocking(move || Meter::start(&sources)).await
        };
        let (record, meter) = tokio::join!(run(work, clock, plan, arrivals, live), begin);
        let meter = meter?;
        let used: Reading = blocking(move || meter.read()).await?;
        let length = match (&self.workload, self.end) {
            // It may have run out of objects.
            (Workload::Delete, _) | (_, End::Operations(_)) => None,
            (_, End::After(length)) => Some(length),
        };
        Ok(Run::of(target.label(), round, &record, length, used))
    }
}

/// Deletes all objects whose names begin with `prefix`. Returns how many there were.
///
/// # Errors
/// If the server refuses.
pub async fn clean(target: &Target, prefix: &str) -> Result<usize, TargetError> {
    let objects = target.list_all(prefix).await?;
    let count = objects.len();
    target.delete_all(objects.into_iter().map(|object| object.key).collect()).await?;
    Ok(count)
}

fn at(target: &Target) -> impl FnOnce(TargetError) -> SessionError {
    let label = target.label().to_owned();
    move |source| SessionError::Target { label, source }
}

/// A number that no other run has.
fn unused() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = now.map_or(0, |now| now.as_secs() << 30 | u64::from(now.subsec_nanos()));
    mix(mix(nanos) ^ u64::from(std::process::id()))
}

/// Reads files on a thread that may wait for them.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, MeterError> + Send + 'static,
) -> Result<T, MeterError> {
    let done = tokio::task::spawn_blocking(read).await;
    done.unwrap_or_else(|error| Err(MeterError::Disk(std::io::Error::other(error))))
}
