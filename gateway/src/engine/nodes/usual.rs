//! How long a node usually takes to read.

use super::Node;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// What is usual is what all reads but one of this many keep to.
const ONE_OF: u64 = 20;
/// By how much the estimate moves, at most: the `PACE`th part of itself.
const PACE: u64 = 10;
/// Reads of up to so many bytes are compared with each other, and longer ones with each other.
const SHORT: usize = 256 << 10;

/// A kind of read: its latency depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// A few blocks.
    Short,
    /// Most of a shard, or all of it.
    Long,
}

impl Length {
    /// That of a read of so many bytes.
    pub fn of(bytes: usize) -> Self {
        if bytes <= SHORT { Self::Short } else { Self::Long }
    }
}

/// What a node's reads usually need.
#[derive(Debug, Default)]
pub(super) struct Usual {
    short: Quantile,
    long: Quantile,
}

impl Usual {
    fn quantile(&self, length: Length) -> &Quantile {
        match length {
            Length::Short => &self.short,
            Length::Long => &self.long,
        }
    }

    /// What all but a few reads keep to, in nanoseconds; 0 while nothing is known.
    pub(super) fn nanos(&self, length: Length) -> u64 {
        self.quantile(length).0.load(Ordering::Relaxed)
    }
}

/// A moving estimate, in nanoseconds, of what all but one of [`ONE_OF`] reads keep to.
#[derive(Debug, Default)]
struct Quantile(AtomicU64);

impl Quantile {
    /// Learns from a read that took so long. The estimate rises by much when it was too low, which it
    /// seldom should be, and falls by little when it was not: it settles where both come to the same.
    fn learn(&self, took: Duration) {
        let took = nanos(took).max(1);
        let moved = |old: u64| match old {
            0 => took,
            old if took > old => old.saturating_add(old / PACE * (ONE_OF - 1) / ONE_OF),
            old => old - old / (PACE * ONE_OF),
        };
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| Some(moved(old)));
    }

    /// Learns from a read that was given up: it would have taken longer. Nothing is learnt if that was
    /// sooner than is usual.
    fn learn_given_up(&self, after: Duration) {
        if nanos(after) > self.0.load(Ordering::Relaxed) {
            self.learn(after);
        }
    }
}

/// A read that is under way. One that is dropped before it has ended tells something, too.
#[derive(Debug)]
pub struct Reading {
    node: Arc<Node>,
    length: Length,
    began: Instant,
    told: bool,
}

impl Reading {
    pub(super) fn begin(node: Arc<Node>, length: Length) -> Self {
        Self { node, length, began: Instant::now(), told: false }
    }

    /// It has brought what was asked for.
    pub fn succeeded(mut self) {
        self.told = true;
        self.quantile().learn(self.began.elapsed());
    }

    /// It has failed: that says nothing about how long it takes.
    pub fn failed(mut self) {
        self.told = true;
    }

    fn quantile(&self) -> &Quantile {
        self.node.usual.quantile(self.length)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if !self.told {
            self.quantile().learn_given_up(self.began.elapsed());
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_core::random::{Random, SeededRandom};

    fn millis(quantile: &Quantile) -> u64 {
        quantile.0.load(Ordering::Relaxed) / 1_000_000
    }

    #[test]
    fn the_estimate_is_what_all_but_a_few_keep_to() {
        let (random, quantile) = (SeededRandom::new(7), Quantile::default());
        for _ in 0..5000 {
            let mut bytes = [0; 2];
            random.fill(&mut bytes).unwrap();
            // Between 1 and 100 ms, all alike likely.
            let took = 1 + u64::from(u16::from_le_bytes(bytes)) % 100;
            quantile.learn(Duration::from_millis(took));
        }
        assert!((80..=110).contains(&millis(&quantile)), "{} ms", millis(&quantile));
    }

    #[test]
    fn what_has_become_usual_is_soon_known() {
        let quantile = Quantile::default();
        (0..100).for_each(|_| quantile.learn(Duration::from_millis(10)));
        (0..40).for_each(|_| quantile.learn(Duration::from_millis(300)));
        assert!(millis(&quantile) > 200);
    }

    #[test]
    fn what_was_given_up_early_tells_nothing() {
        let quantile = Quantile::default();
        quantile.learn(Duration::from_millis(100));
        quantile.learn_given_up(Duration::from_millis(20));
        assert_eq!(millis(&quantile), 100);
        quantile.learn_given_up(Duration::from_millis(200));
        assert!(millis(&quantile) > 105);
    }
}
