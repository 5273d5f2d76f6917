//! Records of operations: latencies in HDR histograms, volumes, errors, and all of it by second.

use super::failure::Failure;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::Duration;

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// One object is stored by one request.
    Put,
    /// One object is read.
    Get,
    /// A piece of an object is read.
    Range,
    /// An object is asked after (HEAD).
    Stat,
    /// One page of a listing.
    List,
    /// One object is deleted.
    Delete,
    /// An object is stored in parts: from its beginning to its completion.
    Multipart,
    /// One part of such an upload.
    Part,
    /// A burst of objects, until all of it is acknowledged.
    Burst,
    /// A tar shard is read.
    Shard,
    /// One sample of a tar shard is read.
    Sample,
}

impl Operation {
    /// Its name in tables, JSON and options.
    pub fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Range => "range",
            Self::Stat => "stat",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Multipart => "multipart",
            Self::Part => "part",
            Self::Burst => "burst",
            Self::Shard => "shard",
            Self::Sample => "sample",
        }
    }

    /// Whether it is one of the steps of another operation, so that its bytes are counted there.
    pub fn is_step_of(self, whole: Self) -> bool {
        matches!((self, whole), (Self::Part, Self::Multipart) | (Self::Put, Self::Burst))
    }
}

/// What an operation that succeeded has moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// Bytes of objects (of the document, for a listing).
    pub bytes: u64,
    /// From the operation's beginning to the first byte of the answer's body, where it has one.
    pub first_byte: Option<Duration>,
}

/// One operation's result.
#[derive(Debug)]
pub struct Done {
    /// What it was.
    pub operation: Operation,
    /// What came of it.
    pub result: Result<Moved, Failure>,
    /// Failures before that, after which it was tried again.
    pub retried: Vec<Failure>,
    /// The requests it consisted of, where they are measured by themselves.
    pub parts: Vec<Part>,
}

/// One of the requests of a larger operation.
#[derive(Debug)]
pub struct Part {
    /// What it was.
    pub operation: Operation,
    /// How long it took.
    pub took: Duration,
    /// What came of it.
    pub result: Result<Moved, Failure>,
    /// Failures before that.
    pub retried: Vec<Failure>,
}

/// Latencies in microseconds, to three digits.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    #[expect(clippy::expect_used, reason = "fails only for other constants")]
    fn default() -> Self {
        Self(Histogram::new(3).expect("three digits are allowed"))
    }
}

impl Latencies {
    /// Adds one.
    pub fn add(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        // It grows as needed; what would need more memory than there is counts as the largest.
        if self.0.record(micros).is_err() {
            self.0.saturating_record(micros);
        }
    }

    /// Adds all of another's.
    pub fn merge(&mut self, other: &Self) {
        // It fails only for histograms that may not grow.
        let _ = self.0.add(&other.0);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that a share of all (in `[0, 1]`) do not exceed, in milliseconds.
    pub fn quantile(&self, share: f64) -> f64 {
        millis(self.0.value_at_quantile(share))
    }

    /// The longest, in milliseconds.
    pub fn max(&self) -> f64 {
        if self.0.is_empty() { 0.0 } else { millis(self.0.max()) }
    }

    /// Their mean, in milliseconds.
    pub fn mean(&self) -> f64 {
        self.0.mean() / 1e3
    }
}

fn millis(micros: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "three digits are known")]
    let micros = micros as f64;
    micros / 1e3
}

/// All that is known of one kind of operation.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Of those that succeeded.
    pub latency: Latencies,
    /// To the first byte, of those that had one.
    pub first_byte: Latencies,
    /// Of those that failed.
    pub failed: Latencies,
    /// Bytes moved by those that succeeded.
    pub bytes: u64,
    /// Failures by kind.
    pub errors: BTreeMap<Failure, u64>,
    /// Failures after which it was tried again, by kind.
    pub retried: BTreeMap<Failure, u64>,
}

impl Tally {
    fn add(
        &mut self,
        latency: Duration,
        lag: Duration,
        result: &Result<Moved, Failure>,
        retried: &[Failure],
    ) {
        match result {
            Ok(moved) => {
                self.latency.add(latency);
                self.bytes += moved.bytes;
                if let Some(first) = moved.first_byte {
                    self.first_byte.add(lag + first);
                }
            }
            Err(failure) => {
                self.failed.add(latency);
                *self.errors.entry(failure.clone()).or_default() += 1;
            }
        }
        for failure in retried {
            *self.retried.entry(failure.clone()).or_default() += 1;
        }
    }

    fn merge(&mut self, other: &Self) {
        self.latency.merge(&other.latency);
        self.first_byte.merge(&other.first_byte);
        self.failed.merge(&other.failed);
        self.bytes += other.bytes;
        for (mine, others) in
            [(&mut self.errors, &other.errors), (&mut self.retried, &other.retried)]
        {
            for (failure, count) in others {
                *mine.entry(failure.clone()).or_default() += count;
            }
        }
    }
}

/// What was completed within one second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Second {
    /// Operations that succeeded.
    pub operations: u64,
    /// Bytes they moved.
    pub bytes: u64,
    /// Operations that failed.
    pub errors: u64,
}

/// Longer series are cut: a second a value for more than a day.
const LONGEST_SERIES: usize = 100_000;

/// Everything recorded by some of the workers.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    /// By kind of operation.
    pub tallies: BTreeMap<Operation, Tally>,
    /// By second of completion, from the window's beginning on.
    pub seconds: Vec<Second>,
    /// How much later than intended operations began.
    pub lag: Latencies,
    /// Arrivals that no worker came to before the run was given up.
    pub abandoned: u64,
    /// From the window's beginning to the end of the last operation.
    pub last_end: Duration,
}

impl Recorder {
    /// Adds one operation: when it was to begin, began and ended, since the window's beginning.
    pub fn add(&mut self, intended: Duration, begun: Duration, ended: Duration, done: &Done) {
        let lag = begun.saturating_sub(intended);
        self.lag.add(lag);
        self.last_end = self.last_end.max(ended);
        let tally = self.tallies.entry(done.operation).or_default();
        tally.add(ended.saturating_sub(intended), lag, &done.result, &done.retried);
        for part in &done.parts {
            let tally = self.tallies.entry(part.operation).or_default();
            tally.add(part.took, Duration::ZERO, &part.result, &part.retried);
        }
        let second = usize::try_from(ended.as_secs()).unwrap_or(usize::MAX).min(LONGEST_SERIES);
        if self.seconds.len() <= second {
            self.seconds.resize(second + 1, Second::default());
        }
        let second = &mut self.seconds[second];
        match &done.result {
            Ok(moved) => {
                second.operations += 1;
                second.bytes += moved.bytes;
            }
            Err(_) => second.errors += 1,
        }
    }

    /// Adds all of another's.
    pub fn merge(&mut self, other: &Self) {
        for (operation, tally) in &other.tallies {
            self.tallies.entry(*operation).or_default().merge(tally);
        }
        if self.seconds.len() < other.seconds.len() {
            self.seconds.resize(other.seconds.len(), Second::default());
        }
        for (mine, others) in self.seconds.iter_mut().zip(&other.seconds) {
            mine.operations += others.operations;
            mine.bytes += others.bytes;
            mine.errors += others.errors;
        }
        self.lag.merge(&other.lag);
        self.abandoned += other.abandoned;
        self.last_end = self.last_end.max(other.last_end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn done(result: Result<u64, Failure>) -> Done {
        let first_byte = Some(Duration::from_millis(2));
        Done {
            operation: Operation::Get,
            result: result.map(|bytes| Moved { bytes, first_byte }),
            retried: vec![],
            parts: vec![],
        }
    }

    #[test]
    fn latency_counts_from_when_it_was_to_begin() {
        let mut recorder = Recorder::default();
        let ms = Duration::from_millis;
        recorder.add(ms(100), ms(900), ms(1_100), &done(Ok(10)));
        let tally = &recorder.tallies[&Operation::Get];
        assert!((tally.latency.max() - 1_000.0).abs() < 1.0);
        assert!((tally.first_byte.max() - 802.0).abs() < 1.0);
        assert!((recorder.lag.max() - 800.0).abs() < 1.0);
        assert_eq!(
            recorder.seconds,
            [Second::default(), Second { operations: 1, bytes: 10, errors: 0 }]
        );
    }

    #[test]
    fn failures_are_counted_apart_and_have_latencies_of_their_own() {
        let mut recorder = Recorder::default();
        let slow = Failure::Refused { status: 503, code: "SlowDown".into() };
        let ms = Duration::from_millis;
        recorder.add(ms(0), ms(0), ms(5), &done(Ok(7)));
        recorder.add(ms(0), ms(0), ms(900), &done(Err(slow.clone())));
        let tally = &recorder.tallies[&Operation::Get];
        assert_eq!((tally.latency.count(), tally.failed.count(), tally.bytes), (1, 1, 7));
        assert!(tally.latency.max() < 6.0);
        assert_eq!(tally.errors, BTreeMap::from([(slow, 1)]));
    }

    proptest! {
        #[test]
        fn merged_records_are_as_one(
            ends in proptest::collection::vec((0u64..5_000, 0u64..3_000, any::<bool>()), 1..60),
            split: usize,
        ) {
            let (mut whole, mut halves) = (Recorder::default(), [Recorder::default(), Recorder::default()]);
            let split = split % ends.len();
            for (at, (from, took, good)) in ends.iter().enumerate() {
                let done = done(if *good { Ok(*took) } else { Err(Failure::Corrupt) });
                let (from, end) = (Duration::from_millis(*from), Duration::from_millis(from + took));
                whole.add(from, from, end, &done);
                halves[usize::from(at < split)].add(from, from, end, &done);
            }
            let [mut merged, other] = halves;
            merged.merge(&other);
            prop_assert_eq!(&merged.seconds, &whole.seconds);
            prop_assert_eq!(merged.last_end, whole.last_end);
            let (a, b) = (&merged.tallies[&Operation::Get], &whole.tallies[&Operation::Get]);
            prop_assert_eq!((a.bytes, &a.errors), (b.bytes, &b.errors));
            for share in [0.0, 0.5, 0.9, 0.99, 1.0] {
                prop_assert_eq!(a.latency.quantile(share), b.latency.quantile(share));
            }
        }
    }
}
