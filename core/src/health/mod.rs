//! How well a node and its disks are: raw figures over some time become a score with reasons.
//!
//! All of it is arithmetic on integers: the same figures give the same score everywhere, and worse
//! figures never give a better one. Sources of the thresholds:
//!
//! * sectors: E. Pinheiro, W.-D. Weber, L. A. Barroso, "Failure Trends in a Large Disk Drive
//!   Population", FAST 2007: within 60 days after its first scan error a disk is 39 times as likely
//!   to fail as one without, after its first offline reallocation 21 times, after its first sector
//!   on probation (pending) 16 times, after its first reallocation 14 times. So one is a reason to
//!   watch, and tens are a reason to leave.
//! * slowness: H. S. Gunawi et al., "Fail-Slow at Scale", FAST 2018: disks that fail slowly answer
//!   all the same, later by factors of ten and more, and only their peers show it.
//! * wear and warnings: NVM Express base specification, SMART / health information log.
//! * stalls: 30 s is the time after which Linux gives a command to a disk up by default.
//!
//! The penalties, and the scores at which a verdict changes, are our own judgement.
//!
//! What was seen of a node is kept in a [`History`]; [`Steady`], [`DamageWatch`] and [`Space`] make
//! of what is seen again and again what is worth telling once; [`drained`] says whether a failing
//! node can be drained.

mod damage;
mod drain;
mod figures;
mod history;
mod reason;
mod space;
mod steady;
#[cfg(test)]
mod tests;

pub use damage::{DamageNews, DamageWatch};
pub use drain::{Capacity, HeldBack, drained};
pub use figures::{MeanLatency, Sample};
pub use history::History;
pub use reason::{Operation, Reason};
pub use space::Space;
pub use steady::{Patience, Steady};

use crate::shard::{DiskReport, NodeStat};
use figures::Figures;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Below this score a node is watched.
const WATCH_BELOW: u32 = 80;
/// Below this score, not counting reasons that are about space, a node is failing.
const FAILING_BELOW: u32 = 40;
/// Latencies under this, in microseconds, are those of caches and flash: a disk that is many times
/// slower than *that* is not yet slow.
const FAST_US: u64 = 1000;
/// Fewer peers than this show nothing.
const MIN_PEERS: usize = 3;
/// From how many times the usual latency on a disk is slow.
const SLOW_TIMES: u64 = 3;
/// Milliseconds without any progress after which operations that are under way have stalled.
const STALL_MS: u64 = 30_000;
/// Hours within which a disk that will be full is worth telling.
const FULL_SOON_HOURS: u64 = 72;
/// Milliseconds of history from which on the rate of fill means something.
const FILL_HISTORY_MS: u64 = 600_000;
/// Temperature from which on a disk is hot: the limit of most hard disks.
const HOT_CELSIUS: u64 = 60;
/// Wear from which on a disk is worn, in percent.
const WORN_PERCENT: u64 = 90;

/// How a node is doing, for those who must act.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing to do.
    #[default]
    Healthy,
    /// Something is not as it should be: look at the reasons.
    Watch,
    /// It is likely to lose data soon: drain it.
    Failing,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Healthy => "healthy",
            Self::Watch => "watch",
            Self::Failing => "failing",
        })
    }
}

/// A judgement of a node, or of one of its disks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// 100 is without fault, 0 is lost.
    pub score: u8,
    /// What the score amounts to.
    pub verdict: Verdict,
    /// Why the score is not 100; the worst first.
    pub reasons: Vec<Reason>,
}

/// Judges a node by what was seen of it, the oldest first, and by its peers' latencies over about the
/// same time ([`MeanLatency::of`] their histories). A day of samples, one every few minutes, is about
/// right. With no samples a node is healthy: that it does not answer is for others to judge.
pub fn assess(history: &[Sample], peers: &[MeanLatency]) -> Health {
    let mut reasons = Vec::new();
    if let Some(last) = history.last() {
        let figures = Figures::new(history);
        reasons.extend(last.stat.disks.iter().flat_map(of_disk));
        reasons.extend(of_errors(&figures));
        reasons.extend(of_latency(&figures, peers));
        reasons.extend(of_space(history, &last.stat));
    }
    judge(reasons)
}

/// Judges one disk by what it says of itself.
pub fn assess_disk(disk: &DiskReport) -> Health {
    judge(of_disk(disk))
}

fn judge(mut reasons: Vec<Reason>) -> Health {
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.penalty()));
    let left = |counted: &dyn Fn(&Reason) -> bool| {
        let sum: u32 = reasons.iter().filter(|r| counted(r)).map(Reason::penalty).sum();
        100u32.saturating_sub(sum)
    };
    let score = left(&|_| true);
    let verdict = if left(&|reason| !reason.is_about_space()) < FAILING_BELOW {
        Verdict::Failing
    } else if score < WATCH_BELOW {
        Verdict::Watch
    } else {
        Verdict::Healthy
    };
    Health { score: u8::try_from(score).unwrap_or(100), verdict, reasons }
}

fn of_disk(disk: &DiskReport) -> Vec<Reason> {
    let device = || disk.device.clone();
    let some = |figure: Option<u64>, least: u64| figure.filter(|n| *n >= least);
    let mut reasons = Vec::new();
    if disk.passed == Some(false) {
        reasons.push(Reason::SmartFailing { device: device() });
    }
    let reallocated = some(disk.reallocated_sectors, 1);
    reasons
        .extend(reallocated.map(|n| Reason::ReallocatedSectors { device: device(), sectors: n }));
    let pending = some(disk.pending_sectors, 1);
    reasons.extend(pending.map(|n| Reason::PendingSectors { device: device(), sectors: n }));
    let lost = some(disk.uncorrectable_sectors, 1);
    reasons.extend(lost.map(|n| Reason::UncorrectableSectors { device: device(), sectors: n }));
    let media = some(disk.media_errors, 1);
    reasons.extend(media.map(|n| Reason::MediaErrors { device: device(), errors: n }));
    let warning = some(disk.critical_warning, 1);
    reasons.extend(warning.map(|bits| Reason::CriticalWarning { device: device(), bits }));
    let worn = some(disk.percentage_used, WORN_PERCENT);
    reasons.extend(worn.map(|percent| Reason::WornOut { device: device(), percent }));
    let hot = some(disk.temperature_celsius, HOT_CELSIUS);
    reasons.extend(hot.map(|celsius| Reason::Hot { device: device(), celsius }));
    reasons
}

fn of_errors(figures: &Figures<'_>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    for operation in Operation::ALL {
        let (errors, operations) = figures.errors(operation);
        if errors > 0 {
            reasons.push(Reason::ErrorRate { operation, errors, operations });
        }
        let still_for = figures.stalled_for(operation);
        if still_for >= STALL_MS {
            reasons.push(Reason::Stalled { operation, seconds: still_for / 1000 });
        }
    }
    let shards = figures.corrupt();
    if shards > 0 {
        reasons.push(Reason::CorruptShards { shards });
    }
    reasons
}

fn of_latency(figures: &Figures<'_>, peers: &[MeanLatency]) -> Vec<Reason> {
    let mut reasons = Vec::new();
    for operation in Operation::ALL {
        let (usual, recent) = (figures.usual(operation), figures.recent(operation));
        let Some(recent) = recent else { continue };
        let times = |base: u64| Some(recent / base.max(FAST_US)).filter(|n| *n >= SLOW_TIMES);
        if let Some(times) = usual.and_then(times) {
            reasons.push(Reason::LatencyDrift { operation, times });
        }
        let mut others: Vec<u64> = peers.iter().filter_map(|peer| peer.get(operation)).collect();
        others.sort_unstable();
        let median = others.get(others.len() / 2).filter(|_| others.len() >= MIN_PEERS);
        if let Some(times) = median.copied().and_then(times) {
            reasons.push(Reason::SlowerThanPeers { operation, times });
        }
    }
    reasons
}

fn of_space(history: &[Sample], last: &NodeStat) -> Option<Reason> {
    if !last.writable {
        return Some(Reason::DiskFull);
    }
    let hours = figures::hours_until_full(history, FILL_HISTORY_MS)?;
    (hours <= FULL_SOON_HOURS).then_some(Reason::DiskFullSoon { hours })
}
