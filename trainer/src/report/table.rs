//! Figures of a classifier as text.

use std::fmt::Write;

use crate::metrics::{Confusion, Figures};

/// A table of precision, recall, F1 and number of samples of each class, their means and the
/// accuracy, and the confusion matrix.
pub fn score_table(confusion: &Confusion) -> String {
    let scores = confusion.scores();
    let mut out = String::from("class  precision  recall      F1  samples\n");
    let mut line = |name: &str, of: Figures, samples: u64| {
        let Figures { precision, recall, f1 } = of;
        // Writing to a string can't fail.
        let _ = writeln!(out, "{name:<5}  {precision:>9.4}  {recall:.4}  {f1:.4}  {samples:>7}");
    };
    for (class, (figures, row)) in scores.classes.iter().zip(confusion.rows()).enumerate() {
        line(&class.to_string(), *figures, row.iter().sum());
    }
    line("mean", scores.mean, confusion.samples());
    let _ = writeln!(out, "accuracy {:.4}\n", scores.accuracy);
    out.push_str("true\\told");
    (0..confusion.rows().len()).for_each(|class| {
        let _ = write!(out, "{class:>6}");
    });
    for (class, row) in confusion.rows().iter().enumerate() {
        let _ = write!(out, "\n{class:>9}");
        row.iter().for_each(|count| {
            let _ = write!(out, "{count:>6}");
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_columns_line_up() {
        let mut confusion = Confusion::default();
        confusion.add(4, 9);
        confusion.add(4, 4);
        let table = score_table(&confusion);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[5], "4         1.0000  0.5000  0.6667        2");
        assert_eq!(lines[11], "mean      0.1000  0.0500  0.0667        2");
        assert_eq!(lines[12], "accuracy 0.5000");
        assert_eq!(lines[14].len(), lines[15].len());
        assert!(lines[19].ends_with("     1     0     0     0     0     1"), "{}", lines[19]);
    }
}
