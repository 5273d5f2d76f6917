//! What samples of counters say about the time between them.

use super::Operation;
use crate::shard::{Latencies, NodeStat, OpStat};

/// Operations below which a mean says nothing.
const MIN_OPERATIONS: u64 = 20;

/// A node as it was seen at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// When, in milliseconds by the clock of the one who looked; only differences count.
    pub at_ms: u64,
    /// What the node said.
    pub stat: NodeStat,
}

/// How long a node's operations take of late: means in microseconds, `None` where too few were seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MeanLatency {
    /// Reads.
    pub read_us: Option<u64>,
    /// Reads by the scrub.
    pub scrub_us: Option<u64>,
    /// Writes.
    pub write_us: Option<u64>,
    /// fsyncs.
    pub sync_us: Option<u64>,
}

impl MeanLatency {
    /// The means over the last quarter of a history.
    pub fn of(history: &[Sample]) -> Self {
        let figures = Figures::new(history);
        Self {
            read_us: figures.recent(Operation::Read),
            scrub_us: figures.recent(Operation::Scrub),
            write_us: figures.recent(Operation::Write),
            sync_us: figures.recent(Operation::Sync),
        }
    }

    pub(super) fn get(&self, operation: Operation) -> Option<u64> {
        match operation {
            Operation::Read => self.read_us,
            Operation::Scrub => self.scrub_us,
            Operation::Write => self.write_us,
            Operation::Sync => self.sync_us,
        }
    }
}

/// A history, and where its last quarter begins.
pub(super) struct Figures<'a> {
    history: &'a [Sample],
    split: usize,
}

impl<'a> Figures<'a> {
    pub(super) fn new(history: &'a [Sample]) -> Self {
        let split = match history {
            [first, .., last] => {
                let from = last.at_ms.saturating_sub(last.at_ms.saturating_sub(first.at_ms) / 4);
                let begins = history.iter().position(|sample| sample.at_ms >= from).unwrap_or(0);
                // At least the last interval.
                begins.min(history.len() - 2)
            }
            _ => 0,
        };
        Self { history, split }
    }

    /// Failed operations in the whole history, and all.
    pub(super) fn errors(&self, operation: Operation) -> (u64, u64) {
        let errors = gained(self.history, |stat| of(stat, operation).errors);
        let operations = latencies(self.history, operation).count();
        (errors, operations.max(errors))
    }

    /// Shards found damaged in the whole history, or still damaged.
    pub(super) fn corrupt(&self) -> u64 {
        let open = self.history.last().map_or(0, |last| last.stat.findings);
        gained(self.history, |stat| stat.corrupt).max(open)
    }

    /// The mean before the last quarter.
    pub(super) fn usual(&self, operation: Operation) -> Option<u64> {
        mean(self.history.get(..=self.split)?, operation)
    }

    /// The mean in the last quarter.
    pub(super) fn recent(&self, operation: Operation) -> Option<u64> {
        mean(self.history.get(self.split..)?, operation)
    }

    /// Milliseconds for which operations were under way in every sample and none ended.
    pub(super) fn stalled_for(&self, operation: Operation) -> u64 {
        let Some(last) = self.history.last() else { return 0 };
        let now = of(&last.stat, operation);
        let still = self.history.iter().rev().take_while(|sample| {
            let then = of(&sample.stat, operation);
            sample.stat.started == last.stat.started
                && then.in_flight > 0
                && then.latencies.count() == now.latencies.count()
        });
        still.last().map_or(0, |first| last.at_ms.saturating_sub(first.at_ms))
    }
}

fn of(stat: &NodeStat, operation: Operation) -> &OpStat {
    match operation {
        Operation::Read => &stat.io.reads,
        Operation::Scrub => &stat.io.scrub_reads,
        Operation::Write => &stat.io.writes,
        Operation::Sync => &stat.io.syncs,
    }
}

/// What a counter gained from the first sample to the last. When a node is started, its counters
/// begin at 0.
fn gained(history: &[Sample], counter: impl Fn(&NodeStat) -> u64) -> u64 {
    pairs(history).fold(0, |sum, (then, now)| {
        let before = then.map_or(0, &counter);
        sum.saturating_add(counter(now).saturating_sub(before))
    })
}

/// Each two samples in a row; the first as `None` if the node was started in between.
fn pairs(history: &[Sample]) -> impl Iterator<Item = (Option<&NodeStat>, &NodeStat)> {
    history.windows(2).filter_map(|pair| {
        let [then, now] = pair else { return None };
        let same_run = then.stat.started == now.stat.started;
        Some((same_run.then_some(&then.stat), &now.stat))
    })
}

fn latencies(history: &[Sample], operation: Operation) -> Latencies {
    let mut all = Latencies::default();
    for (then, now) in pairs(history) {
        let now = &of(now, operation).latencies;
        let added =
            then.map_or_else(|| now.clone(), |then| now.since(&of(then, operation).latencies));
        for (sum, n) in all.counts.iter_mut().zip(added.counts) {
            *sum = sum.saturating_add(n);
        }
        all.total_us = all.total_us.saturating_add(added.total_us);
    }
    all
}

fn mean(history: &[Sample], operation: Operation) -> Option<u64> {
    let all = latencies(history, operation);
    all.mean_us().filter(|_| all.count() >= MIN_OPERATIONS)
}

/// Hours until the disk is full if it goes on filling as it did; `None` if it does not fill, or the
/// history is shorter than `least_ms`.
pub(super) fn hours_until_full(history: &[Sample], least_ms: u64) -> Option<u64> {
    let [first, .., last] = history else { return None };
    let passed = last.at_ms.saturating_sub(first.at_ms);
    let filled = first.stat.free_bytes.checked_sub(last.stat.free_bytes)?;
    if passed < least_ms || filled == 0 {
        return None;
    }
    let ms = u128::from(last.stat.free_bytes) * u128::from(passed) / u128::from(filled);
    u64::try_from(ms / 3_600_000).ok()
}
