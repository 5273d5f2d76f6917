//! What was done, how often, and how long the longest time was in which nothing was done.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// No answer, or an error of the server: it may have happened or not.
    InDoubt,
    /// The same of a request that changes nothing.
    Unavailable,
}

/// Counts over all clients.
#[derive(Debug)]
pub(crate) struct Tally(Mutex<Counts>);

#[derive(Debug)]
struct Counts {
    operations: BTreeMap<&'static str, [u64; 3]>,
    faults: BTreeMap<&'static str, u64>,
    writes: Gap,
    reads: Gap,
}

/// The longest time without a success.
#[derive(Debug)]
struct Gap {
    last: Instant,
    longest: Duration,
}

impl Gap {
    fn new() -> Self {
        Self { last: Instant::now(), longest: Duration::ZERO }
    }

    fn success(&mut self) {
        self.longest = self.longest.max(self.last.elapsed());
        self.last = Instant::now();
    }
}

impl Tally {
    pub(crate) fn new() -> Self {
        let (operations, faults) = (BTreeMap::new(), BTreeMap::new());
        Self(Mutex::new(Counts { operations, faults, writes: Gap::new(), reads: Gap::new() }))
    }

    /// Measures what is unavailable from now on.
    pub(crate) fn start_clock(&self) {
        let mut counts = self.0.lock().unwrap();
        counts.writes = Gap::new();
        counts.reads = Gap::new();
    }

    /// Counts an operation. One that is `Unavailable` if it fails is a read.
    pub(crate) fn operation(&self, name: &'static str, is_write: bool, outcome: Outcome) {
        let mut counts = self.0.lock().unwrap();
        counts.operations.entry(name).or_default()[outcome as usize] += 1;
        match (outcome, is_write) {
            (Outcome::Done, true) => counts.writes.success(),
            (Outcome::Done, false) => counts.reads.success(),
            _ => {}
        }
    }

    pub(crate) fn fault(&self, name: &'static str) {
        *self.0.lock().unwrap().faults.entry(name).or_default() += 1;
    }

    /// How many operations were done.
    pub(crate) fn done(&self) -> u64 {
        self.0.lock().unwrap().operations.values().map(|counts| counts[0]).sum()
    }

    /// The longest times without a write, and without a read.
    pub(crate) fn longest(&self) -> (Duration, Duration) {
        let counts = self.0.lock().unwrap();
        (counts.writes.longest, counts.reads.longest)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.0.lock().unwrap();
        let mut all = [0; 3];
        writeln!(f, "{:<22} {:>8} {:>9} {:>12}", "operation", "done", "in doubt", "unavailable")?;
        for (name, [done, in_doubt, unavailable]) in &counts.operations {
            writeln!(f, "{name:<22} {done:>8} {in_doubt:>9} {unavailable:>12}")?;
            all = [all[0] + done, all[1] + in_doubt, all[2] + unavailable];
        }
        writeln!(f, "{:<22} {:>8} {:>9} {:>12}", "all", all[0], all[1], all[2])?;
        writeln!(f, "{:<40} {:>8}", "fault", "times")?;
        for (name, times) in &counts.faults {
            writeln!(f, "{name:<40} {times:>8}")?;
        }
        write!(f, "{:<40} {:>8}", "all", counts.faults.values().sum::<u64>())
    }
}
