//! What a checkpoint consists of and where it came from: `saves/<save>/manifest.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{CheckpointId, RunId, SaveId};
use crate::Digest;
use crate::timestamp::Timestamp;

/// Bytes of a chunk; the last one of a part may be shorter.
pub const CHUNK: u64 = 4 << 20;

/// The description of one checkpoint. It is written once and never changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The format, [`FORMAT`](super::FORMAT).
    pub format: String,
    /// The checkpoint.
    pub checkpoint: CheckpointId,
    /// When it was taken.
    pub created: Timestamp,
    /// How far the run was.
    pub position: Position,
    /// Whether it was the best so far when it was taken.
    pub best: bool,
    /// Its files, by name.
    pub parts: BTreeMap<String, Part>,
    /// Where it came from.
    pub lineage: Lineage,
    /// Figures of it, such as losses.
    pub metrics: Metrics,
    /// What the run had consumed, if that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy: Option<Energy>,
}

impl Manifest {
    /// Bytes of all its parts.
    pub fn bytes(&self) -> u64 {
        self.parts.values().fold(0, |sum, part| sum.saturating_add(part.bytes))
    }
}

/// A position in the data of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Epochs that are done.
    pub epoch: u64,
    /// Samples of the next epoch that have been used or passed over.
    pub sample: u64,
}

impl Position {
    /// The epoch, counted from 1, at whose end this is; none in the middle of one.
    pub fn ended_epoch(self) -> Option<u64> {
        (self.sample == 0 && self.epoch > 0).then_some(self.epoch)
    }
}

/// One file of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its size.
    pub bytes: u64,
    /// BLAKE3 of the whole.
    pub blake3: Digest,
    /// The chunks that it is cut into, in order, each [`CHUNK`] bytes long but for the last.
    pub chunks: Vec<Chunk>,
}

impl Part {
    /// The chunks with their sizes in bytes; none if their number doesn't go with the part's size.
    pub fn sized_chunks(&self) -> Option<impl Iterator<Item = (Chunk, u64)>> {
        let count = u64::try_from(self.chunks.len()).ok()?;
        (self.bytes.div_ceil(CHUNK) == count).then(|| {
            let left = (0..count).map(|at| self.bytes - at * CHUNK);
            self.chunks.iter().copied().zip(left.map(|left| left.min(CHUNK)))
        })
    }
}

/// A piece of a part, stored as `saves/<save>/<blake3>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chunk {
    /// Its hash, and its name.
    pub blake3: Digest,
    /// The attempt that wrote it: the one that the manifest is of, or an earlier one.
    pub save: SaveId,
}

/// Where a checkpoint came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lineage {
    /// The run.
    pub run: RunId,
    /// The checkpoint that it follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// The checkpoint whose weights the run began with, if it didn't begin at random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_from: Option<Origin>,
    /// What it learned from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<DatasetVersion>,
    /// What the run's numbers follow from, as the program puts it.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub config: Value,
    /// The source that was checked out where the program was started, if any was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// The program that wrote it.
    pub program: Program,
}

/// A checkpoint of the same run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    /// Which.
    pub checkpoint: CheckpointId,
    /// BLAKE3 of its manifest.
    pub manifest: Digest,
}

/// A checkpoint of any run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Its address, as in `s3://bucket/run@step-00005625`.
    pub address: String,
    /// BLAKE3 of its manifest.
    pub manifest: Digest,
}

/// A version of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetVersion {
    /// Where it is.
    pub address: String,
    /// Hash of its content.
    pub version: Digest,
}

/// A state of a git repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revision {
    /// Hash of the commit that was checked out.
    pub commit: String,
    /// Whether tracked files differed from it.
    pub dirty: bool,
}

/// A program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// Energy that a run had consumed, its former attempts included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Energy {
    /// How much.
    pub joules: f64,
    /// Where the figure is from, such as `rapl`, or an estimate.
    pub source: String,
}

/// Finite figures, by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// All figures, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// The figure called `name`.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }
}

impl<S: Into<String>> FromIterator<(S, f64)> for Metrics {
    /// Takes those that are finite: JSON knows no others.
    fn from_iter<T: IntoIterator<Item = (S, f64)>>(figures: T) -> Self {
        let finite = figures.into_iter().filter(|(_, value)| value.is_finite());
        Self(finite.map(|(name, value)| (name.into(), value)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn chunks_make_up_the_whole_or_are_refused(bytes in 0..5 * CHUNK, count in 0usize..7) {
            let chunk = Chunk { blake3: Digest::of(b""), save: SaveId(1) };
            let part = Part { bytes, blake3: Digest::of(b""), chunks: vec![chunk; count] };
            match part.sized_chunks() {
                Some(sized) => {
                    let sizes: Vec<u64> = sized.map(|(_, size)| size).collect();
                    prop_assert_eq!(sizes.iter().sum::<u64>(), bytes);
                    prop_assert!(sizes.iter().rev().skip(1).all(|size| *size == CHUNK));
                    prop_assert!(sizes.last().is_none_or(|size| (1..=CHUNK).contains(size)));
                }
                None => prop_assert_ne!(u64::try_from(count).unwrap(), bytes.div_ceil(CHUNK)),
            }
        }

        #[test]
        fn arbitrary_manifests_never_panic(json: String, bytes: u64) {
            prop_assert!(serde_json::from_str::<Manifest>(&json).is_err());
            let part = Part { bytes, blake3: Digest::of(b""), chunks: Vec::new() };
            prop_assert_eq!(part.sized_chunks().is_some(), bytes == 0);
        }
    }
}
