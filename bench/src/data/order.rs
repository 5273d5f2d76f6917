//! Epochs: every item once, in an order of its own for each epoch.

use super::dice::{Dice, mix};
use std::sync::{Mutex, PoisonError};

/// The order of `count` items over any number of epochs.
#[derive(Debug)]
pub struct Epochs {
    seed: u64,
    count: usize,
    /// The epoch that was asked for last, and its order.
    current: Mutex<(u64, Vec<usize>)>,
}

impl Epochs {
    /// Orders of `count` items (at least one), from a seed.
    pub fn new(seed: u64, count: usize) -> Self {
        let count = count.max(1);
        Self { seed, count, current: Mutex::new((0, shuffled(seed, 0, count))) }
    }

    /// The item at a position counted through all epochs from 0.
    pub fn at(&self, position: u64) -> usize {
        let count = u64::try_from(self.count).unwrap_or(u64::MAX);
        let (epoch, place) = (position / count, position % count);
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0 != epoch {
            *current = (epoch, shuffled(self.seed, epoch, self.count));
        }
        current.1[usize::try_from(place).unwrap_or(0)]
    }
}

/// Fisher and Yates.
fn shuffled(seed: u64, epoch: u64, count: usize) -> Vec<usize> {
    let mut dice = Dice::new(mix(seed) ^ epoch);
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        let other = dice.below(u64::try_from(last + 1).unwrap_or(u64::MAX));
        order.swap(last, usize::try_from(other).unwrap_or(0));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_has_every_item_once_in_another_order() {
        let epochs = Epochs::new(3, 50);
        let epoch = |n: u64| (n * 50..(n + 1) * 50).map(|at| epochs.at(at)).collect::<Vec<_>>();
        let (first, second) = (epoch(0), epoch(1));
        assert_ne!(first, second);
        for mut order in [first.clone(), second] {
            order.sort_unstable();
            assert_eq!(order, (0..50).collect::<Vec<_>>());
        }
        assert_eq!(epoch(0), first, "the same seed gives the same order");
        assert_eq!(Epochs::new(3, 0).at(9), 0);
    }
}
