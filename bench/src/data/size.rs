//! Sizes of objects: fixed, spread evenly over orders of magnitude, or a mixture.

use super::dice::Dice;
use std::fmt;
use std::str::FromStr;

/// A number of bytes, as people write it: `4096`, `4KiB`, `16MiB`, `2GiB`, `1MB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const UNITS: [(&str, u64); 8] = [
    ("TIB", 1 << 40),
    ("GIB", 1 << 30),
    ("MIB", 1 << 20),
    ("KIB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

impl FromStr for Size {
    type Err = SizesError;

    fn from_str(text: &str) -> Result<Self, SizesError> {
        let upper = text.trim().to_ascii_uppercase();
        let found = UNITS.iter().find_map(|(name, unit)| Some((upper.strip_suffix(name)?, *unit)));
        let (digits, unit) = found.unwrap_or((&upper, 1));
        let number = digits.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
        number.map(Self).ok_or_else(|| SizesError::Size(text.to_owned()))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = |unit: u64| unit.is_power_of_two() && unit > 1 && self.0 > 0;
        match UNITS.iter().find(|(_, unit)| binary(*unit) && self.0.is_multiple_of(*unit)) {
            Some((name, unit)) => write!(f, "{}{}iB", self.0 / unit, &name[..1]),
            None => write!(f, "{}B", self.0),
        }
    }
}

/// How the sizes of objects are distributed.
#[derive(Debug, Clone, PartialEq)]
pub enum Sizes {
    /// All the same.
    Fixed(u64),
    /// The logarithm is uniform between two sizes, both included.
    LogUniform(u64, u64),
    /// Weighted choice among distributions.
    Mixture(Vec<(f64, Sizes)>),
}

/// Why a text is no distribution of sizes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizesError {
    /// Not a number of bytes.
    #[error("`{0}` is no size: write a number of bytes, or such as 4KiB, 16MiB, 2GiB")]
    Size(String),
    /// The range is empty.
    #[error("`{0}` is no range of sizes: write the smaller size first, such as 1KiB..16MiB")]
    Range(String),
    /// A line of a mixture is not one.
    #[error(
        "line {line} of the mixture, `{text}`, is not a weight and a size: such as `70 4KiB` or \
         `30 1MiB..16MiB`"
    )]
    Line {
        /// Counted from 1.
        line: usize,
        /// The line.
        text: String,
    },
    /// There is nothing to choose from.
    #[error("the mixture is empty: give it lines of a weight and a size")]
    Empty,
}

impl FromStr for Sizes {
    type Err = SizesError;

    fn from_str(text: &str) -> Result<Self, SizesError> {
        let Some((low, high)) = text.split_once("..") else {
            return Ok(Self::Fixed(text.parse::<Size>()?.0));
        };
        match (low.parse::<Size>()?.0, high.parse::<Size>()?.0) {
            (low, high) if 0 < low && low <= high => Ok(Self::LogUniform(low, high)),
            _ => Err(SizesError::Range(text.to_owned())),
        }
    }
}

impl Sizes {
    /// A mixture: one line for each part, a weight and a size or range. Empty lines and what follows
    /// a `#` do not count.
    ///
    /// # Errors
    /// [`SizesError`], which names the line.
    pub fn mixture(text: &str) -> Result<Self, SizesError> {
        let mut parts = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let refused = || SizesError::Line { line: number + 1, text: line.to_owned() };
            let (weight, sizes) = line.split_once(char::is_whitespace).ok_or_else(refused)?;
            let weight: f64 = weight.parse().map_err(|_| refused())?;
            if !(weight.is_finite() && weight > 0.0) {
                return Err(refused());
            }
            parts.push((weight, sizes.trim().parse().map_err(|_| refused())?));
        }
        if parts.is_empty() { Err(SizesError::Empty) } else { Ok(Self::Mixture(parts)) }
    }

    /// Draws a size.
    pub fn draw(&self, dice: &mut Dice) -> u64 {
        match self {
            Self::Fixed(size) => *size,
            Self::LogUniform(low, high) => {
                #[expect(clippy::cast_precision_loss, reason = "sizes need no 53 bits")]
                let (from, to) = ((*low as f64).ln(), ((*high + 1) as f64).ln());
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "clamped"
                )]
                let size = (from + dice.unit() * (to - from)).exp() as u64;
                size.clamp(*low, *high)
            }
            Self::Mixture(parts) => {
                let total: f64 = parts.iter().map(|(weight, _)| weight).sum();
                let mut left = dice.unit() * total;
                let chosen = parts.iter().find(|(weight, _)| {
                    left -= weight;
                    left < 0.0
                });
                chosen.or(parts.last()).map_or(0, |(_, sizes)| sizes.draw(dice))
            }
        }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => Size(*size).fmt(f),
            Self::LogUniform(low, high) => write!(f, "{}..{}", Size(*low), Size(*high)),
            Self::Mixture(parts) => {
                for (at, (weight, sizes)) in parts.iter().enumerate() {
                    let gap = if at == 0 { "" } else { ", " };
                    write!(f, "{gap}{weight} {sizes}")?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in
            [("0", 0), ("4KiB", 4096), ("16mib", 16 << 20), ("2 GiB", 2 << 30), ("1MB", 1_000_000)]
        {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "KiB", "-1", "1.5MiB", "4KiBs", "99999999999GiB"] {
            assert_eq!(text.parse::<Size>(), Err(SizesError::Size(text.to_owned())));
        }
        assert!("2MiB..1KiB".parse::<Sizes>().is_err());
        assert!("0..1KiB".parse::<Sizes>().is_err());
    }

    #[test]
    fn a_mixture_has_its_shares() {
        let sizes =
            Sizes::mixture("# small and large\n 75 4KiB\n\n25 1MiB..2MiB # seldom\n").unwrap();
        let mut dice = Dice::new(5);
        let small = (0..10_000).filter(|_| sizes.draw(&mut dice) == 4096).count();
        assert!((7_300..7_700).contains(&small), "{small}");
        let line = |text: &str| Sizes::mixture(text).unwrap_err().to_string();
        assert!(line("1 4KiB\nx 4KiB").contains("line 2"));
        assert!(line("-1 4KiB").contains("line 1"));
        assert_eq!(Sizes::mixture("# nothing"), Err(SizesError::Empty));
    }

    #[test]
    fn orders_of_magnitude_are_equally_likely() {
        let sizes: Sizes = "1KiB..1MiB".parse().unwrap();
        let mut dice = Dice::new(5);
        let small = (0..10_000).filter(|_| sizes.draw(&mut dice) < 32 << 10).count();
        assert!((4_800..5_200).contains(&small), "{small}");
    }

    proptest! {
        #[test]
        fn parsers_never_panic(text in "\\PC*|[0-9]{0,20}[KMGTib]{0,3}(\\.\\.[0-9]{0,9}[kmg]?)?") {
            let _ = text.parse::<Sizes>();
            let _ = Sizes::mixture(&text);
        }

        #[test]
        fn what_is_printed_is_read_back(low in 1u64..1 << 40, more: u32, seed: u64) {
            let high = low + u64::from(more);
            for sizes in [Sizes::Fixed(low), Sizes::LogUniform(low, high)] {
                prop_assert_eq!(sizes.to_string().parse::<Sizes>(), Ok(sizes.clone()));
                prop_assert!((low..=high).contains(&sizes.draw(&mut Dice::new(seed))));
            }
        }
    }
}
