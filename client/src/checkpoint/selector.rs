//! Saying which checkpoint is meant: `s3://bucket/run@epoch-3`.

use std::fmt;
use std::str::FromStr;

use super::{CheckpointId, Entry, Root};
use crate::place::{Address, PlaceError};

/// Which checkpoint of a run is meant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Selector {
    /// `latest`: the one that the run goes on from.
    #[default]
    Latest,
    /// `best`: the best one by the samples held out for validation; the latest if none is known.
    Best,
    /// `step-N`: the one after so many steps.
    Step(u64),
    /// `epoch-N`: the one at the end of epoch N, counted from 1.
    Epoch(u64),
}

/// A text that selects no checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} selects no checkpoint: write latest, best, step-N or epoch-N")]
pub struct SelectorError(String);

impl Selector {
    /// The checkpoint in `root` that is meant, if it's there.
    pub fn find(self, root: &Root) -> Option<&Entry> {
        match self {
            Self::Latest => Some(root.latest()),
            Self::Best => Some(root.best().unwrap_or_else(|| root.latest())),
            Self::Step(step) => root.get(CheckpointId(step)),
            Self::Epoch(epoch) => {
                let ends = |entry: &&Entry| entry.position.ended_epoch() == Some(epoch);
                root.checkpoints().iter().rev().find(ends)
            }
        }
    }
}

impl From<CheckpointId> for Selector {
    fn from(id: CheckpointId) -> Self {
        Self::Step(id.0)
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let number = |prefix: &str| {
            let digits = text.strip_prefix(prefix)?;
            // `parse` alone would take a sign, too.
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
        };
        match text {
            "latest" => Ok(Self::Latest),
            "best" => Ok(Self::Best),
            _ => number("step-")
                .map(Self::Step)
                .or_else(|| number("epoch-").map(Self::Epoch))
                .ok_or_else(|| SelectorError(text.to_owned())),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Best => f.write_str("best"),
            Self::Step(step) => CheckpointId(*step).fmt(f),
            Self::Epoch(epoch) => write!(f, "epoch-{epoch}"),
        }
    }
}

/// A checkpoint of any run: `s3://bucket/run@epoch-3`, or `s3://bucket/run` for its latest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointAddress {
    /// Where the run is.
    pub run: Address,
    /// Which of its checkpoints.
    pub checkpoint: Selector,
}

/// An address that names no checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointAddressError {
    /// What is before the `@` is no place.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// What is behind the `@` is no selector.
    #[error("{source} (if the run's own name ends in `@{text}`, write {address}@latest)")]
    Selector {
        /// The whole address.
        address: String,
        /// What is behind its last `@`.
        text: String,
        /// What is wrong with that.
        source: SelectorError,
    },
}

impl FromStr for CheckpointAddress {
    type Err = CheckpointAddressError;

    fn from_str(text: &str) -> Result<Self, CheckpointAddressError> {
        // A slash behind it: the `@` belongs to a folder's name.
        let Some((run, selector)) = text.rsplit_once('@').filter(|(_, end)| !end.contains('/'))
        else {
            return Ok(Self { run: text.parse()?, checkpoint: Selector::Latest });
        };
        let checkpoint = selector.parse().map_err(|source| CheckpointAddressError::Selector {
            address: text.to_owned(),
            text: selector.to_owned(),
            source,
        })?;
        Ok(Self { run: run.parse()?, checkpoint })
    }
}

impl fmt::Display for CheckpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run = self.run.to_string();
        let last = run.rsplit('/').next().unwrap_or_default();
        if self.checkpoint == Selector::Latest && !last.contains('@') {
            f.write_str(&run)
        } else {
            write!(f, "{run}@{}", self.checkpoint)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses() {
        let parse = |text: &str| text.parse::<CheckpointAddress>().unwrap();
        let one = parse("s3://bkt/runs/vae@epoch-3");
        assert_eq!(one.run.to_string(), "s3://bkt/runs/vae");
        assert_eq!(one.checkpoint, Selector::Epoch(3));
        for (text, wanted) in [
            ("s3://bkt/vae", "s3://bkt/vae"),
            ("s3://bkt/vae@latest", "s3://bkt/vae"),
            ("s3://bkt/vae@step-5625", "s3://bkt/vae@step-00005625"),
            ("s3://bkt@best", "s3://bkt@best"),
            ("file:///d/me@home/vae", "file:///d/me@home/vae"),
            ("file:///d/a@b@latest", "file:///d/a@b@latest"),
        ] {
            assert_eq!(parse(text).to_string(), wanted);
            assert_eq!(parse(wanted), parse(text));
        }
        for text in ["vae", "s3://bkt/vae@epoch-", "s3://bkt/vae@step-+3", "s3://bkt/vae@lates"] {
            assert!(text.parse::<CheckpointAddress>().is_err(), "{text}");
        }
        let error = "s3://bkt/me@home".parse::<CheckpointAddress>().unwrap_err().to_string();
        assert!(error.contains("latest, best, step-N or epoch-N"), "{error}");
        assert!(error.contains("s3://bkt/me@home@latest"), "{error}");
    }

    proptest! {
        #[test]
        fn addresses_never_panic_and_are_read_as_they_are_written(text: String, tail in "[a-z@0-9/-]{0,12}", n: u64) {
            for text in [text, format!("s3://bkt/run{tail}"), format!("s3://bkt/run@step-{n}")] {
                if let Ok(address) = text.parse::<CheckpointAddress>() {
                    prop_assert_eq!(address.to_string().parse::<CheckpointAddress>().unwrap(), address);
                }
            }
        }
    }
}
