//! Mixtures of operations.

use crate::data::Dice;
use crate::measure::Operation;
use std::fmt;
use std::str::FromStr;

/// What a mixture may consist of.
const KINDS: [Operation; 6] = [
    Operation::Get,
    Operation::Range,
    Operation::Stat,
    Operation::List,
    Operation::Put,
    Operation::Delete,
];

/// Operations with weights, as `get=45,stat=30,put=15,delete=10`.
#[derive(Debug, Clone, PartialEq)]
pub struct Mix(Vec<(Operation, f64)>);

/// Why a text is no mixture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` in the mixture is not OPERATION=WEIGHT with one of get, range, stat, list, put, delete, \
     once each, and a weight above 0: such as get=45,stat=30,put=15,delete=10"
)]
pub struct MixError(String);

impl FromStr for Mix {
    type Err = MixError;

    fn from_str(text: &str) -> Result<Self, MixError> {
        let mut parts: Vec<(Operation, f64)> = Vec::new();
        for part in text.split(',') {
            let refused = || MixError(part.to_owned());
            let (name, weight) = part.split_once('=').ok_or_else(refused)?;
            let kind = KINDS.into_iter().find(|kind| kind.name() == name.trim());
            let kind = kind.ok_or_else(refused)?;
            let weight: f64 = weight.trim().parse().map_err(|_| refused())?;
            if !(weight.is_finite() && weight > 0.0) || parts.iter().any(|(had, _)| *had == kind) {
                return Err(refused());
            }
            parts.push((kind, weight));
        }
        Ok(Self(parts))
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (operation, weight)) in self.0.iter().enumerate() {
            let gap = if at == 0 { "" } else { "," };
            write!(f, "{gap}{}={weight}", operation.name())?;
        }
        Ok(())
    }
}

impl Mix {
    /// Draws an operation.
    pub fn draw(&self, dice: &mut Dice) -> Operation {
        let total: f64 = self.0.iter().map(|(_, weight)| weight).sum();
        let mut left = dice.unit() * total;
        let chosen = self.0.iter().find(|(_, weight)| {
            left -= weight;
            left < 0.0
        });
        chosen.or(self.0.last()).map_or(Operation::Get, |(operation, _)| *operation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn draws_by_weight() {
        let mix: Mix = "get=3, put=1".parse().unwrap();
        let mut dice = Dice::new(1);
        let gets = (0..10_000).filter(|_| mix.draw(&mut dice) == Operation::Get).count();
        assert!((7_300..7_700).contains(&gets), "{gets}");
    }

    #[test]
    fn says_what_is_wrong() {
        for text in ["", "get", "get=0", "get=1,get=2", "burst=1", "get=NaN", "get=1,"] {
            assert!(text.parse::<Mix>().is_err(), "{text}");
        }
        let error = "get=1,fetch=2".parse::<Mix>().unwrap_err().to_string();
        assert!(error.contains("`fetch=2`"), "{error}");
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "\\PC*|((get|put|list)=[0-9.]{0,4},?){0,4}") {
            if let Ok(mix) = text.parse::<Mix>() {
                prop_assert_eq!(mix.to_string().parse::<Mix>(), Ok(mix));
            }
        }
    }
}
