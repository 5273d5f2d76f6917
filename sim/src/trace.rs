//! What happened in a run: hashed, so that two runs can be compared, and kept for a while, so that a
//! violation can tell its story.

use coffer_core::ids::BlobId;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;

/// Events that are kept.
const KEPT: usize = 20_000;
/// Events that a violation tells.
const TOLD: usize = 40;

/// Simulated time in microseconds.
pub type Time = u64;

/// How often things happened.
pub type Counts = BTreeMap<&'static str, u64>;

/// The story of a run.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    steps: u64,
    verbose: bool,
    kept: VecDeque<(Option<BlobId>, String)>,
    counts: Counts,
}

impl Trace {
    /// An empty story; printed as it happens if `verbose`.
    pub fn new(verbose: bool) -> Self {
        let (hash, kept) = (0xcbf2_9ce4_8422_2325, VecDeque::new());
        Self { hash, steps: 0, verbose, kept, counts: Counts::new() }
    }

    /// Notes an event, and the blob that it is about.
    pub fn note(&mut self, now: Time, blob: Option<BlobId>, event: fmt::Arguments<'_>) {
        self.steps += 1;
        let line = format!("{:>6} {:>10.3} ms  {event}", self.steps, ms(now));
        for byte in line.as_bytes() {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        if self.verbose {
            println!("{line}");
        }
        self.kept.push_back((blob, line));
        if self.kept.len() > KEPT {
            self.kept.pop_front();
        }
    }

    /// Counts something that happened.
    pub fn count(&mut self, what: &'static str, times: usize) {
        *self.counts.entry(what).or_default() += times as u64;
    }

    /// What was counted.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The hash of all events so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many events there were.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The last events that are about a blob, or about all of them.
    pub fn recent(&self, blob: Option<BlobId>) -> Vec<String> {
        let about = |b: &Option<BlobId>| blob.is_none() || *b == blob;
        let mut lines: Vec<String> =
            self.kept.iter().rev().filter(|(b, _)| about(b)).map(|(_, l)| l.clone()).collect();
        lines.truncate(TOLD);
        lines.reverse();
        lines
    }
}

#[allow(clippy::cast_precision_loss)]
fn ms(time: Time) -> f64 {
    time as f64 / 1000.0
}

/// A promise that was broken, with what it takes to see it again.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "seed {seed}, step {step}: {invariant}: {detail}\nthe last events about it:\n{}\nagain: coffer-sim --seed {seed} --verbose",
    .recent.join("\n")
)]
pub struct Violation {
    /// The run.
    pub seed: u64,
    /// Events until then.
    pub step: u64,
    /// Which promise.
    pub invariant: Invariant,
    /// What was seen.
    pub detail: String,
    /// What led there.
    pub recent: Vec<String>,
}

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Invariant {
    /// Reads see a state that the catalog was in while they ran.
    #[error("reads are linearizable")]
    Linearizable,
    /// Reads return the bytes that were written.
    #[error("reads return what was written")]
    RightBytes,
    /// A chunk of an acknowledged object keeps k sound shards.
    #[error("what was acknowledged is kept")]
    Durable,
    /// No shard that a manifest names is deleted from its node.
    #[error("live shards are never deleted")]
    LiveShardDeleted,
    /// A name that was deleted does not become needed.
    #[error("deleted and condemned names never become live")]
    DeadNameClaimed,
    /// The catalogs of all gateways are the same after the same commands.
    #[error("all catalogs that have applied the same log are equal")]
    CatalogsEqual,
    /// The catalog does what commands ask.
    #[error("the catalog does what it says")]
    Catalog,
    /// Without faults, everything is whole and clean after a while.
    #[error("once faults cease, the cluster becomes whole and clean")]
    Settles,
}
