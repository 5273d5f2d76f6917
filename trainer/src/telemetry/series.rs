//! A curve of bounded size.

/// Points over a growing axis. When there are too many, neighbours are joined to their mean: the
/// curve keeps its whole length, and gets coarser.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    limit: usize,
    /// How many values make a point.
    stride: usize,
    points: Vec<(f64, f64)>,
    /// The sums of the point that isn't full yet, and its values.
    open: (f64, f64, usize),
}

impl Series {
    /// A series of at most `limit` points, and at least two.
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(2), stride: 1, points: Vec::new(), open: (0.0, 0.0, 0) }
    }

    /// Adds a value.
    pub fn push(&mut self, at: f64, value: f64) {
        let (x, y, values) = self.open;
        self.open = (x + at, y + value, values + 1);
        if self.open.2 < self.stride {
            return;
        }
        if self.points.len() == self.limit {
            self.stride *= 2;
            let joined = self.points.chunks(2).map(mean).collect();
            self.points = joined;
        }
        // After a join, a point of half as many values as the others is still one of them.
        let (x, y, values) = std::mem::take(&mut self.open);
        self.points.push((x / values as f64, y / values as f64));
    }

    /// The points, by the axis.
    pub fn points(&self) -> &[(f64, f64)] {
        &self.points
    }
}

fn mean(points: &[(f64, f64)]) -> (f64, f64) {
    let sum = points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
    (sum.0 / points.len() as f64, sum.1 / points.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_stays_bounded_ordered_and_within_its_values(
            values in prop::collection::vec(-5.0f64..5.0, 1..400),
            limit in 0usize..40,
        ) {
            let mut series = Series::new(limit);
            for (at, value) in values.iter().enumerate() {
                series.push(at as f64, *value);
                let points = series.points();
                prop_assert!(points.len() <= limit.max(2));
                prop_assert!(points.windows(2).all(|pair| pair[0].0 < pair[1].0));
                prop_assert!(points.iter().all(|point| (-5.0..=5.0).contains(&point.1)));
                // The newest point is never further away than those before it.
                let newest = points.last().map_or(0.0, |point| point.0);
                prop_assert!(at as f64 - newest <= 2.0 * series.stride as f64);
            }
        }
    }
}
