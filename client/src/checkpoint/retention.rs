//! Which checkpoints a run keeps.
//!
//! A pure function of what is there: [`Retention::plan`] says for each checkpoint why it stays, or
//! that it goes. `latest`, `best` and pinned ones always stay.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;
use std::num::{NonZeroU64, NonZeroUsize};
use std::str::FromStr;

use super::{CheckpointId, Entry, Root};

/// The rules of a run. Without any, every checkpoint stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Keep this many of the newest.
    pub last: Option<NonZeroUsize>,
    /// Keep some of the older ones, at even distances.
    pub every: Option<Every>,
}

/// A distance between checkpoints: `5epochs` or `1000steps`.
///
/// The first checkpoint at or after each multiple is meant, so that one stays even where none was
/// saved at the very multiple. Which one that is doesn't change as later ones come: a run that is
/// pruned often ends with the same as one that is pruned once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Every {
    /// Of the checkpoints at the end of an epoch, one for each so many epochs.
    Epochs(NonZeroU64),
    /// One for each so many steps.
    Steps(NonZeroU64),
}

/// A checkpoint, as far as retention looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The step that it was saved at: the greater, the newer.
    pub step: u64,
    /// The number of epochs that were done, if it was saved at the end of one.
    pub end_of_epoch: Option<u64>,
    /// Whether somebody asked to keep it.
    pub pinned: bool,
    /// Whether it is the best.
    pub best: bool,
    /// Whether it is the one to go on from.
    pub latest: bool,
}

/// Why a checkpoint stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It is the one to go on from.
    Latest,
    /// It is the best.
    Best,
    /// Somebody asked to keep it.
    Pinned,
    /// It is among the newest so many.
    Last(NonZeroUsize),
    /// It stands for so many epochs or steps.
    Every(Every),
    /// There are no rules.
    NoRules,
}

impl Candidate {
    /// The checkpoint that `root` lists as `entry`.
    pub fn of(root: &Root, entry: &Entry) -> Self {
        Self {
            step: entry.id.0,
            end_of_epoch: entry.position.ended_epoch(),
            pinned: entry.pinned,
            best: root.best().is_some_and(|best| best.id == entry.id),
            latest: root.latest().id == entry.id,
        }
    }
}

impl Retention {
    /// Why each of the checkpoints in `root` stays; one without a reason goes.
    pub fn judge<'a>(&self, root: &'a Root) -> Vec<(&'a Entry, Vec<Reason>)> {
        let entries = root.checkpoints();
        let candidates: Vec<_> = entries.iter().map(|entry| Candidate::of(root, entry)).collect();
        entries.iter().zip(self.plan(&candidates)).collect()
    }

    /// The checkpoints in `root` that go.
    pub fn removes(&self, root: &Root) -> BTreeSet<CheckpointId> {
        let judged = self.judge(root).into_iter();
        judged.filter(|(_, reasons)| reasons.is_empty()).map(|(entry, _)| entry.id).collect()
    }

    /// Why each of `candidates` stays, in their order; one without a reason goes.
    pub fn plan(&self, candidates: &[Candidate]) -> Vec<Vec<Reason>> {
        let last = self.last.map(|count| (count, newest(candidates, count)));
        let every = self.every.map(|every| (every, every.first_of_each(candidates)));
        let reasons = |at: usize, candidate: &Candidate| {
            let among = |chosen: &BTreeSet<usize>| chosen.contains(&at);
            [
                candidate.latest.then_some(Reason::Latest),
                candidate.best.then_some(Reason::Best),
                candidate.pinned.then_some(Reason::Pinned),
                last.as_ref().filter(|(_, set)| among(set)).map(|(n, _)| Reason::Last(*n)),
                every.as_ref().filter(|(_, set)| among(set)).map(|(k, _)| Reason::Every(*k)),
                (*self == Self::default()).then_some(Reason::NoRules),
            ]
        };
        let reasons = candidates.iter().enumerate().map(|(at, one)| reasons(at, one));
        reasons.map(|reasons| reasons.into_iter().flatten().collect()).collect()
    }
}

/// Places of the newest `count`.
fn newest(candidates: &[Candidate], count: NonZeroUsize) -> BTreeSet<usize> {
    let mut places: Vec<usize> = (0..candidates.len()).collect();
    places.sort_by_key(|&at| Reverse(candidates[at].step));
    places.into_iter().take(count.get()).collect()
}

impl Every {
    /// Places of those that are the first at or after a multiple.
    fn first_of_each(self, candidates: &[Candidate]) -> BTreeSet<usize> {
        let mut places: Vec<(u64, u64, usize)> = candidates
            .iter()
            .enumerate()
            .filter_map(|(at, one)| Some((self.span(one)?, one.step, at)))
            .filter(|(span, ..)| *span > 0)
            .collect();
        places.sort_unstable();
        places.dedup_by_key(|(span, ..)| *span);
        places.into_iter().map(|(.., at)| at).collect()
    }

    /// How many multiples a checkpoint has passed, if it is of the kind that counts.
    fn span(self, candidate: &Candidate) -> Option<u64> {
        match self {
            Self::Epochs(distance) => candidate.end_of_epoch.map(|epoch| epoch / distance),
            Self::Steps(distance) => Some(candidate.step / distance),
        }
    }
}

impl FromStr for Every {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let usage = || format!("`{text}` is no distance: write such as 5epochs or 1000steps");
        let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
        let number = text[..text.len() - unit.len()].parse().map_err(|_| usage())?;
        match unit {
            "epochs" | "epoch" => Ok(Self::Epochs(number)),
            "steps" | "step" => Ok(Self::Steps(number)),
            _ => Err(usage()),
        }
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Epochs(distance) => write!(f, "{distance} epochs"),
            Self::Steps(distance) => write!(f, "{distance} steps"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Best => f.write_str("best"),
            Self::Pinned => f.write_str("pinned"),
            Self::Last(count) => write!(f, "one of the last {count}"),
            Self::Every(every) => write!(f, "one for every {every}"),
            Self::NoRules => f.write_str("no rule says that any goes"),
        }
    }
}

#[cfg(test)]
mod tests;
