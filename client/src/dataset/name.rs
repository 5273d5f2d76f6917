//! Names of splits and shards.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A name that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not the name of a split.
    #[error("split name {0:?}: wanted 1 to 64 of a-z, A-Z, 0-9, `-` and `_`")]
    Split(String),
    /// Not a plain file name.
    #[error("shard name {0:?}: wanted a plain file name, without folders")]
    Shard(String),
}

/// Name of a part of a dataset, such as "train".
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SplitName(String);

impl SplitName {
    /// The usual name of what is learned from.
    pub fn train() -> Self {
        Self("train".to_owned())
    }

    /// The usual name of what is judged by, and never learned from.
    pub fn test() -> Self {
        Self("test".to_owned())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SplitName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if (1..=64).contains(&text.len()) && text.chars().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Split(text.to_owned()))
        }
    }
}

/// Object name of a shard, relative to the index: a plain file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ShardName(String);

impl ShardName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The usual name of shard `number` of `split`; `tag`, if not empty, tells it from the shards
    /// of another packing.
    pub(super) fn new(split: &SplitName, number: usize, tag: &str) -> Self {
        let dash = if tag.is_empty() { "" } else { "-" };
        Self(format!("{split}-{number:06}{dash}{tag}.tar"))
    }
}

impl FromStr for ShardName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let fits = (1..=255).contains(&text.len()) && !text.starts_with('.');
        if fits && !text.contains('/') && !text.chars().any(char::is_control) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Shard(text.to_owned()))
        }
    }
}

macro_rules! as_text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

as_text!(SplitName);
as_text!(ShardName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_name() {
        for text in ["train", "val_2", "A-1"] {
            assert_eq!(text.parse::<SplitName>().unwrap().as_str(), text);
        }
        for text in ["", "a/b", "a b", "..", "ünï", &"x".repeat(65)] {
            assert!(text.parse::<SplitName>().is_err(), "{text}");
        }
        for text in ["", "../x", "a/b.tar", ".hidden", "a\nb", &"x".repeat(256)] {
            assert!(text.parse::<ShardName>().is_err(), "{text}");
        }
        let split = "train".parse().unwrap();
        assert_eq!(ShardName::new(&split, 7, "").as_str(), "train-000007.tar");
        assert_eq!(ShardName::new(&split, 7, "0a1b").as_str(), "train-000007-0a1b.tar");
    }
}
