//! How the shards of an epoch are dealt over many workers.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One of the workers that share each epoch's shards: every sample of an epoch goes to exactly one
/// of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Workers {
    index: usize,
    count: NonZeroUsize,
}

/// A text that names no worker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no worker: write I/N, from 0/N to N-1/N, such as 0/4")]
pub struct WorkersError(String);

impl Workers {
    /// A single worker, which gets everything.
    pub const ALONE: Self = Self { index: 0, count: NonZeroUsize::MIN };

    /// Worker `index` of `count`, counted from 0; `None` unless `index` is less than `count`.
    pub fn new(index: usize, count: NonZeroUsize) -> Option<Self> {
        (index < count.get()).then_some(Self { index, count })
    }

    /// How many there are.
    pub fn count(self) -> NonZeroUsize {
        self.count
    }

    /// Which one of `items`, in the order in which they're dealt, are this worker's.
    pub(super) fn deal<T>(self, items: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
        items.into_iter().skip(self.index).step_by(self.count.get())
    }
}

impl Default for Workers {
    fn default() -> Self {
        Self::ALONE
    }
}

impl fmt::Display for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Workers {
    type Err = WorkersError;

    fn from_str(text: &str) -> Result<Self, WorkersError> {
        let parse = || {
            let (index, count) = text.split_once('/')?;
            Self::new(index.parse().ok()?, count.parse().ok()?)
        };
        parse().ok_or_else(|| WorkersError(text.to_owned()))
    }
}

impl TryFrom<String> for Workers {
    type Error = WorkersError;

    fn try_from(text: String) -> Result<Self, WorkersError> {
        text.parse()
    }
}

impl From<Workers> for String {
    fn from(workers: Workers) -> Self {
        workers.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_written_as_fractions_below_one() {
        assert_eq!("0/1".parse(), Ok(Workers::ALONE));
        assert_eq!("3/4".parse::<Workers>().unwrap().to_string(), "3/4");
        for text in ["", "4/4", "1", "0/0", "-1/4", "1/", "a/b"] {
            assert!(text.parse::<Workers>().is_err(), "{text}");
        }
    }
}
