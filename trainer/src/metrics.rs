//! How well classes are told: the confusion matrix, and the figures that follow from it.

use serde::{Deserialize, Serialize};

use crate::dataset::CLASSES;

/// Number of classes, as a size.
const COUNT: usize = CLASSES as usize;

/// How many samples of each class were taken for which: rows are the true classes, columns the
/// told ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Confusion([[u64; COUNT]; COUNT]);

/// Figures of one class, or their means over classes; each in `[0, 1]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Share of the samples that were taken for the class that are of it; 0 if there were none.
    pub precision: f64,
    /// Share of the class's samples that were taken for it; 0 if there are none.
    pub recall: f64,
    /// Harmonic mean of precision and recall; 0 if both are.
    pub f1: f64,
}

/// Figures of a whole split.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scores {
    /// Share of the samples whose class was told right.
    pub accuracy: f64,
    /// Means over the classes, each with the same weight (macro averages).
    pub mean: Figures,
    /// Figures of each class.
    pub classes: [Figures; COUNT],
}

impl Confusion {
    /// Counts one sample of class `truth` that was taken for class `told`. Classes that don't exist
    /// are left out.
    pub fn add(&mut self, truth: u8, told: u8) {
        let row = self.0.get_mut(usize::from(truth));
        if let Some(count) = row.and_then(|row| row.get_mut(usize::from(told))) {
            *count += 1;
        }
    }

    /// Counts by true class, then by told class.
    pub fn rows(&self) -> &[[u64; COUNT]; COUNT] {
        &self.0
    }

    /// Samples in it.
    pub fn samples(&self) -> u64 {
        self.0.iter().flatten().sum()
    }

    /// The figures that follow from it.
    pub fn scores(&self) -> Scores {
        let column = |class: usize| self.0.iter().filter_map(|row| row.get(class)).sum::<u64>();
        let mut classes = [Figures::default(); COUNT];
        let mut right = 0;
        for ((class, figures), row) in classes.iter_mut().enumerate().zip(&self.0) {
            let hits = row.get(class).copied().unwrap_or_default();
            right += hits;
            let precision = share(hits, column(class));
            let recall = share(hits, row.iter().sum());
            let sum = precision + recall;
            let f1 = if sum > 0.0 { 2.0 * precision * recall / sum } else { 0.0 };
            *figures = Figures { precision, recall, f1 };
        }
        let mean = |of: fn(&Figures) -> f64| classes.iter().map(of).sum::<f64>() / COUNT as f64;
        Scores {
            accuracy: share(right, self.samples()),
            mean: Figures {
                precision: mean(|figures| figures.precision),
                recall: mean(|figures| figures.recall),
                f1: mean(|figures| figures.f1),
            },
            classes,
        }
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confusion(entries: &[(u8, u8, u32)]) -> Confusion {
        let mut confusion = Confusion::default();
        for (truth, told, count) in entries {
            (0..*count).for_each(|_| confusion.add(*truth, *told));
        }
        confusion
    }

    #[test]
    fn figures_worked_out_by_hand() {
        // Class 0: 8 of 10 found, and 2 of class 1 taken for it. Class 1: 3 of 5. Class 2: none of
        // 1, and none taken for it but 2 of class 0. The other seven classes don't occur.
        let confusion = confusion(&[(0, 0, 8), (0, 2, 2), (1, 0, 2), (1, 1, 3), (2, 1, 1)]);
        let scores = confusion.scores();
        let close = |found: f64, wanted: f64| assert!((found - wanted).abs() < 1e-12, "{found}");
        assert_eq!(confusion.samples(), 16);
        close(scores.accuracy, 11.0 / 16.0);
        let wanted = [(0.8, 0.8, 0.8), (0.75, 0.6, 2.0 / 3.0), (0.0, 0.0, 0.0)];
        for (found, (precision, recall, f1)) in scores.classes.iter().zip(wanted) {
            close(found.precision, precision);
            close(found.recall, recall);
            close(found.f1, f1);
        }
        close(scores.mean.precision, 1.55 / 10.0);
        close(scores.mean.recall, 1.4 / 10.0);
        close(scores.mean.f1, (0.8 + 2.0 / 3.0) / 10.0);
    }

    #[test]
    fn perfect_and_empty() {
        let perfect = confusion(&(0..10).map(|class| (class, class, 3)).collect::<Vec<_>>());
        let scores = perfect.scores();
        assert_eq!((scores.accuracy, scores.mean.f1), (1.0, 1.0));
        let empty = Confusion::default().scores();
        assert_eq!((empty.accuracy, empty.mean), (0.0, Figures::default()));
    }

    #[test]
    fn survives_json() {
        let one = confusion(&[(9, 3, 2)]);
        let json = serde_json::to_string(&one).unwrap();
        assert_eq!(serde_json::from_str::<Confusion>(&json).unwrap(), one);
    }
}
