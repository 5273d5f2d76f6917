//! When a run has converged, and which of its epochs was the best: by the loss on the samples that
//! are held out for validation, never by the test set.

use std::num::NonZeroUsize;

use super::record::EpochRecord;

/// For how long a run goes on without getting better.
///
/// Whether it's over follows from the history alone, which is part of every checkpoint: so a
/// resumed run stops where an uninterrupted one would have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Patience {
    /// Epochs without improvement after which the run ends.
    pub epochs: NonZeroUsize,
    /// By how much the validation loss must fall below the least so far to count as one.
    pub improvement: f64,
}

impl Patience {
    /// Whether the run has converged. A run without validation never does.
    pub fn is_over(self, history: &[EpochRecord]) -> bool {
        let mut least = f64::INFINITY;
        let mut waited = 0;
        for loss in history.iter().filter_map(validation_loss) {
            if loss < least - self.improvement || least.is_infinite() {
                (least, waited) = (loss, 0);
            } else {
                waited += 1;
            }
        }
        waited >= self.epochs.get()
    }
}

/// The epoch with the least validation loss, the earliest if there are several; none without
/// validation.
pub(super) fn best(history: &[EpochRecord]) -> Option<u64> {
    let losses = history.iter().filter_map(|record| Some((validation_loss(record)?, record.epoch)));
    losses.reduce(|least, next| if next.0 < least.0 { next } else { least }).map(|best| best.1)
}

fn validation_loss(record: &EpochRecord) -> Option<f64> {
    record.validation.as_ref().map(|losses| losses.total())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::{Losses, Timing};

    fn history(values: &[f64]) -> Vec<EpochRecord> {
        let losses = |loss: f64| Losses([("loss".to_owned(), loss)].into());
        let record = |(epoch, loss)| EpochRecord {
            epoch,
            steps: 1,
            train: Losses::default(),
            validation: Some(losses(loss)),
            test: Losses::default(),
            confusion: None,
            timing: Timing::default(),
        };
        (1..).zip(values.iter().copied()).map(record).collect()
    }

    fn is_over(epochs: usize, improvement: f64, losses: &[f64]) -> bool {
        let epochs = NonZeroUsize::new(epochs).unwrap();
        Patience { epochs, improvement }.is_over(&history(losses))
    }

    #[test]
    fn patience_ends_after_epochs_without_improvement() {
        assert!(!is_over(2, 0.0, &[]));
        assert!(!is_over(2, 0.0, &[3.0, 2.0, 2.5]));
        assert!(is_over(2, 0.0, &[3.0, 2.0, 2.5, 2.0]));
        assert!(!is_over(2, 0.0, &[3.0, 2.0, 2.5, 1.9]));
        // Improvements that are too small don't count, but add up.
        assert!(is_over(2, 0.3, &[3.0, 2.8, 2.75]));
        assert!(!is_over(2, 0.3, &[3.0, 2.8, 2.6]));
    }

    #[test]
    fn the_best_epoch_is_the_earliest_with_the_least_loss() {
        assert_eq!(best(&history(&[3.0, 2.0, 2.5, 2.0])), Some(2));
        assert_eq!(best(&[]), None);
        let mut without = history(&[1.0]);
        without[0].validation = None;
        assert_eq!(best(&without), None);
    }
}
