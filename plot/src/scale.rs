//! Scales of an axis: linear, or logarithmic where values span decades.

/// From this ratio between the largest and the least on, values are shown by their logarithm: on a
/// linear scale, the lower half of the decades would be a flat line.
const DECADES: f64 = 30.0;

/// How values are laid out along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// By themselves.
    Linear,
    /// By their decimal logarithm.
    Log,
}

impl Scale {
    /// The scale that shows `values` best.
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = ends(values);
        if low > 0.0 && high / low >= DECADES { Self::Log } else { Self::Linear }
    }

    /// Where a value is on the axis. A logarithmic one has no place for 0 and less: they are where
    /// the least number is that counts.
    pub fn place(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Log => value.max(1e-9).log10(),
        }
    }

    /// The value at a place.
    pub fn value(self, place: f64) -> f64 {
        match self {
            Self::Linear => place,
            Self::Log => 10f64.powf(place),
        }
    }

    /// The least and the largest place of an axis for `values`, with `room` (a share of the whole)
    /// on both sides.
    pub fn range(self, values: impl Iterator<Item = f64>, room: f64) -> (f64, f64) {
        let (low, high) = ends(values.map(|value| self.place(value)));
        let (low, high) =
            if low.is_finite() && high.is_finite() { (low, high) } else { (0.0, 1.0) };
        let room = if high > low { (high - low) * room } else { 0.5 };
        (low - room, high + room)
    }
}

fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[f64]) -> Scale {
        Scale::of(values.iter().copied())
    }

    #[test]
    fn decades_of_positive_values_get_a_logarithmic_scale() {
        assert_eq!(of(&[0.02, 2.0]), Scale::Log);
        assert_eq!(of(&[0.2, 2.0]), Scale::Linear);
        assert_eq!(of(&[0.0, 100.0]), Scale::Linear);
        assert_eq!(of(&[-1.0, 100.0]), Scale::Linear);
        assert_eq!(of(&[]), Scale::Linear);
    }

    proptest! {
        #[test]
        fn every_value_has_its_place_on_the_axis(
            values in prop::collection::vec(-1e6f64..1e6, 0..20),
            log: bool,
        ) {
            let scale = if log { Scale::Log } else { Scale::Linear };
            let (low, high) = scale.range(values.iter().copied(), 0.05);
            prop_assert!(low < high);
            for value in values {
                let place = scale.place(value);
                prop_assert!((low..=high).contains(&place));
                if !log || value > 1e-9 {
                    prop_assert!((scale.value(place) - value).abs() <= 1e-9 * value.abs());
                }
            }
        }
    }
}
