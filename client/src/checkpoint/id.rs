//! Names of checkpoints, of attempts to save one, and of runs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A checkpoint's name within its run: the steps that were taken before it, as `step-00005625`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CheckpointId(pub u64);

impl fmt::Display for CheckpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step-{:08}", self.0)
    }
}

impl FromStr for CheckpointId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_prefix("step-").and_then(|digits| digits.parse().ok());
        number
            .map(Self)
            .filter(|id| id.to_string() == text)
            .ok_or_else(|| format!("{text:?} is no checkpoint's name, such as step-00005625"))
    }
}

/// One attempt to save a checkpoint, and the folder of what it wrote: 16 hexadecimal digits, drawn
/// at random and never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SaveId(pub u64);

/// A run, from its start on through all its attempts: 16 hexadecimal digits, drawn at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(pub u64);

impl SaveId {
    /// A new one.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn random() -> Result<Self, getrandom::Error> {
        getrandom::u64().map(Self)
    }
}

impl RunId {
    /// A new one.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn random() -> Result<Self, getrandom::Error> {
        getrandom::u64().map(Self)
    }
}

fn hexadecimal(text: &str) -> Result<u64, String> {
    let digits = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let number = (text.len() == 16 && text.bytes().all(digits))
        .then(|| u64::from_str_radix(text, 16).ok())
        .flatten();
    number.ok_or_else(|| format!("{text:?} isn't 16 hexadecimal digits"))
}

impl fmt::Display for SaveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for SaveId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        hexadecimal(text).map(Self)
    }
}

impl FromStr for RunId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        hexadecimal(text).map(Self)
    }
}

macro_rules! as_strings {
    ($($name:ident),*) => {$(
        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    )*};
}

as_strings!(CheckpointId, SaveId, RunId);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names() {
        assert_eq!(CheckpointId(5625).to_string(), "step-00005625");
        assert_eq!(SaveId(0xab).to_string(), "00000000000000ab");
        for text in ["step-3", "step-", "latest", "step-000000003", "step-+0000003"] {
            assert!(text.parse::<CheckpointId>().is_err(), "{text}");
        }
        for text in ["", "ab", "00000000000000AB", "+0000000000000ab", "../../etc/passwd"] {
            assert!(text.parse::<SaveId>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn names_are_read_as_they_are_written(n: u64, text: String) {
            prop_assert_eq!(CheckpointId(n).to_string().parse(), Ok(CheckpointId(n)));
            prop_assert_eq!(SaveId(n).to_string().parse(), Ok(SaveId(n)));
            prop_assert_eq!(RunId(n).to_string().parse(), Ok(RunId(n)));
            if let Ok(id) = text.parse::<CheckpointId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
