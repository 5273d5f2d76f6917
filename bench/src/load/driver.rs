//! Workers that carry out a load at a pace, and record what comes of it.

use crate::data::Dice;
use crate::measure::{Done, Recorder};
use futures::future::join_all;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedReceiver;

/// Time since a fixed moment.
pub trait Clock: Send + Sync + 'static {
    /// How long ago that moment was.
    fn now(&self) -> Duration;
}

/// The system's monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock(Instant);

impl SystemClock {
    /// A clock that counts from `start`.
    pub fn since(start: Instant) -> Self {
        Self(start)
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// What is to be done, operation by operation.
pub trait Load: Send + Sync + 'static {
    /// An operation that is ready to be sent.
    type Ready: Send;

    /// Makes the next operation ready, which is not part of its time. `None` when there is nothing
    /// left to do.
    fn prepare(&self, dice: &mut Dice) -> impl Future<Output = Option<Self::Ready>> + Send;

    /// Carries it out.
    fn perform(&self, ready: Self::Ready) -> impl Future<Output = Done> + Send;
}

/// When a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// After this time; what has begun by then is finished and counts.
    After(Duration),
    /// After so many operations.
    Operations(u64),
}

/// The outline of a run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Operations under way at a time, at most.
    pub concurrency: usize,
    /// Operations that are to begin within this time do not count.
    pub warm_up: Duration,
    /// When it ends, counted from the end of the warm-up.
    pub end: End,
    /// In an open loop: arrivals that nobody has come to so long after the end are abandoned.
    pub grace: Duration,
    /// What the workers' choices follow from.
    pub seed: u64,
}

/// What a run has done so far, for those who watch. Warm-up counts.
#[derive(Debug, Default)]
pub struct Live {
    /// Operations that succeeded.
    pub operations: AtomicU64,
    /// Bytes that they moved.
    pub bytes: AtomicU64,
    /// Operations that failed.
    pub errors: AtomicU64,
}

/// Workers share records in so many groups, which takes little memory and hardly ever a wait.
const GROUPS: usize = 16;

struct Shared<L, C> {
    load: Arc<L>,
    clock: Arc<C>,
    plan: Plan,
    /// When counting begins.
    begin: Duration,
    /// Arrivals, counted from `origin`.
    arrivals: Option<tokio::sync::Mutex<UnboundedReceiver<Duration>>>,
    origin: Duration,
    /// Operations that count and have been taken on.
    taken: AtomicU64,
    records: Vec<Mutex<Recorder>>,
    live: Arc<Live>,
}

/// Runs `load`: in a closed loop, or at the times that `arrivals` gives, counted from now. Returns
/// what was recorded from the end of the warm-up on.
pub async fn run<L: Load, C: Clock>(
    load: Arc<L>,
    clock: Arc<C>,
    plan: Plan,
    arrivals: Option<UnboundedReceiver<Duration>>,
    live: Arc<Live>,
) -> Recorder {
    let origin = clock.now();
    let concurrency = plan.concurrency.max(1);
    let shared = Arc::new(Shared {
        begin: origin + plan.warm_up,
        records: (0..GROUPS.min(concurrency)).map(|_| Mutex::default()).collect(),
        arrivals: arrivals.map(tokio::sync::Mutex::new),
        taken: AtomicU64::new(0),
        load,
        clock,
        plan,
        origin,
        live,
    });
    let workers = (0..concurrency).map(|number| tokio::spawn(work(Arc::clone(&shared), number)));
    join_all(workers).await;
    let mut all = Recorder::default();
    for record in &shared.records {
        all.merge(&record.lock().unwrap_or_else(PoisonError::into_inner));
    }
    all
}

async fn work<L: Load, C: Clock>(shared: Arc<Shared<L, C>>, number: usize) {
    let mut dice = Dice::new(shared.plan.seed ^ u64::try_from(number).unwrap_or(0) << 32);
    while !shared.is_over(shared.clock.now()) {
        let Some(ready) = shared.load.prepare(&mut dice).await else { return };
        let Some(intended) = shared.next_start(number).await else { return };
        let begun = shared.clock.now();
        let done = shared.load.perform(ready).await;
        let ended = shared.clock.now();
        let live = &shared.live;
        match &done.result {
            Ok(moved) => {
                live.operations.fetch_add(1, Ordering::Relaxed);
                live.bytes.fetch_add(moved.bytes, Ordering::Relaxed);
            }
            Err(_) => drop(live.errors.fetch_add(1, Ordering::Relaxed)),
        }
        if let Some(intended) = intended.checked_sub(shared.begin) {
            let since = |at: Duration| at.saturating_sub(shared.begin);
            shared.record(number).add(intended, since(begun), since(ended), &done);
        }
    }
}

impl<L, C: Clock> Shared<L, C> {
    fn record(&self, worker: usize) -> std::sync::MutexGuard<'_, Recorder> {
        self.records[worker % self.records.len()].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing more is to begin at `now`. In an open loop the arrivals decide.
    fn is_over(&self, now: Duration) -> bool {
        match self.plan.end {
            End::After(length) => self.arrivals.is_none() && now >= self.begin + length,
            End::Operations(count) => self.taken.load(Ordering::Relaxed) >= count,
        }
    }

    /// When the next operation is, or was, to begin. `None` if there is none.
    async fn next_start(&self, worker: usize) -> Option<Duration> {
        loop {
            let intended = match &self.arrivals {
                None => self.clock.now(),
                Some(arrivals) => self.origin + arrivals.lock().await.recv().await?,
            };
            if intended < self.begin {
                return Some(intended);
            }
            match self.plan.end {
                End::Operations(count) => {
                    let mine = self.taken.fetch_add(1, Ordering::Relaxed) < count;
                    return mine.then_some(intended);
                }
                End::After(length) => {
                    let end = self.begin + length;
                    if intended >= end {
                        return None;
                    }
                    if self.arrivals.is_none() || self.clock.now() < end + self.plan.grace {
                        return Some(intended);
                    }
                    self.record(worker).abandoned += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Failure, Moved, Operation};
    use tokio::sync::mpsc::unbounded_channel;

    /// Stands still unless it is moved.
    #[derive(Default)]
    struct FakeClock(Mutex<Duration>);

    impl Clock for FakeClock {
        fn now(&self) -> Duration {
            *self.0.lock().unwrap()
        }
    }

    /// Operations that take a millisecond each, but for the first, which takes `first`; each `bad`th
    /// fails; there are `total`.
    struct Fake {
        clock: Arc<FakeClock>,
        first: Duration,
        bad: u64,
        total: u64,
        prepared: AtomicU64,
    }

    impl Load for Fake {
        type Ready = u64;

        async fn prepare(&self, _: &mut Dice) -> Option<u64> {
            let number = self.prepared.fetch_add(1, Ordering::Relaxed);
            // Preparing takes time, too, which must not count.
            *self.clock.0.lock().unwrap() += Duration::from_micros(100);
            (number < self.total).then_some(number)
        }

        async fn perform(&self, number: u64) -> Done {
            let took = if number == 0 { self.first } else { Duration::from_millis(1) };
            *self.clock.0.lock().unwrap() += took;
            let bad = self.bad > 0 && (number + 1).is_multiple_of(self.bad);
            let moved = Moved { bytes: 10, first_byte: None };
            let result = if bad { Err(Failure::Broken) } else { Ok(moved) };
            Done { operation: Operation::Get, result, retried: vec![], parts: vec![] }
        }
    }

    fn plan(end: End) -> Plan {
        let grace = Duration::from_secs(1);
        Plan { concurrency: 1, warm_up: Duration::ZERO, end, grace, seed: 0 }
    }

    async fn drive(fake: Fake, plan: Plan, arrivals: Option<Vec<u64>>) -> Recorder {
        let arrivals = arrivals.map(|arrivals| {
            let (sender, receiver) = unbounded_channel();
            arrivals.into_iter().for_each(|at| sender.send(Duration::from_millis(at)).unwrap());
            receiver
        });
        let clock = Arc::clone(&fake.clock);
        run(Arc::new(fake), clock, plan, arrivals, Arc::default()).await
    }

    fn fake(first: u64, bad: u64) -> Fake {
        let first = Duration::from_millis(first);
        Fake { clock: Arc::default(), first, bad, total: 1_000_000, prepared: AtomicU64::new(0) }
    }

    #[tokio::test]
    async fn an_open_loop_counts_the_wait_behind_a_slow_operation() {
        // One that takes a second, while one arrives each 10 ms: the hundred behind it wait.
        let arrivals = (0..100).map(|n| n * 10).collect();
        let end = End::After(Duration::from_secs(1));
        let record = drive(fake(1_000, 0), plan(end), Some(arrivals)).await;
        let latency = &record.tallies[&Operation::Get].latency;
        assert_eq!(latency.count(), 100);
        assert!((990.0..1_010.0).contains(&latency.max()), "{}", latency.max());
        // Half of them waited for half a second or more: nothing is omitted.
        assert!((450.0..650.0).contains(&latency.quantile(0.5)), "{}", latency.quantile(0.5));
        assert!(record.lag.max() > 900.0);

        // A closed loop asks less while it is slow, and sees one slow operation of many.
        let record = drive(fake(1_000, 0), plan(End::Operations(100)), None).await;
        let latency = &record.tallies[&Operation::Get].latency;
        assert_eq!(latency.count(), 100);
        assert!(latency.quantile(0.98) < 2.0 && latency.max() > 900.0);
    }

    #[tokio::test]
    async fn warm_up_does_not_count_and_time_ends_a_closed_loop() {
        let end = End::After(Duration::from_millis(110));
        let plan = Plan { warm_up: Duration::from_millis(55), ..plan(end) };
        let record = drive(fake(1, 0), plan, None).await;
        // Each takes 1.1 ms with its preparation, which is not part of its latency.
        let latency = &record.tallies[&Operation::Get].latency;
        assert!((99..=101).contains(&latency.count()), "{}", latency.count());
        assert!((latency.max() - 1.0).abs() < 0.01, "{}", latency.max());
        assert!(record.last_end <= Duration::from_millis(112));
    }

    #[tokio::test]
    async fn operations_end_it_exactly_and_failures_are_among_them() {
        let plan = Plan { concurrency: 7, ..plan(End::Operations(300)) };
        let record = drive(fake(1, 3), plan, None).await;
        let tally = &record.tallies[&Operation::Get];
        assert_eq!(tally.latency.count() + tally.failed.count(), 300);
        assert!((90..=110).contains(&tally.errors[&Failure::Broken]));
        assert_eq!(tally.bytes, 10 * tally.latency.count());
    }

    #[tokio::test]
    async fn what_a_server_never_catches_up_with_is_told() {
        let plan = plan(End::After(Duration::from_secs(1)));
        let record = drive(fake(5_000, 0), plan, Some((0..100).map(|n| n * 10).collect())).await;
        assert_eq!(record.tallies[&Operation::Get].latency.count(), 1);
        assert_eq!(record.abandoned, 99);
    }

    #[tokio::test]
    async fn a_load_that_is_used_up_ends_it() {
        let load = Fake { total: 5, ..fake(1, 0) };
        let record = drive(load, plan(End::After(Duration::from_secs(9))), None).await;
        assert_eq!(record.tallies[&Operation::Get].latency.count(), 5);
        assert!(record.last_end < Duration::from_millis(10));
    }
}
