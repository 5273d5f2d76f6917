//! The JSON files of a checkpoint.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use coffer_client::Digest;
use serde::{Deserialize, Serialize};

use crate::stream::Cursor;
use crate::train::{EpochRecord, TrainConfig};

/// Format that this code writes and reads.
pub(super) const FORMAT: u32 = 1;
/// Name of the pointer to the newest checkpoint.
pub(super) const LATEST: &str = "latest";
/// Name of the manifest within a checkpoint.
pub(super) const MANIFEST: &str = "manifest.json";
/// Name of the state within a checkpoint.
pub(super) const STATE: &str = "state.json";

/// A checkpoint's name: the number of epochs that it has seen, as `epoch-0003`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CheckpointId(pub u64);

impl fmt::Display for CheckpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch-{:04}", self.0)
    }
}

impl FromStr for CheckpointId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_prefix("epoch-").and_then(|digits| digits.parse().ok());
        number
            .map(Self)
            .filter(|id| id.to_string() == text)
            .ok_or_else(|| format!("{text:?} is no checkpoint's name, such as epoch-0003"))
    }
}

impl TryFrom<String> for CheckpointId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<CheckpointId> for String {
    fn from(id: CheckpointId) -> Self {
        id.to_string()
    }
}

/// Where a run stands: `state.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Steps taken since the beginning.
    pub step: u64,
    /// The next sample to learn from.
    pub cursor: Cursor,
    /// What the run's numbers follow from.
    pub config: TrainConfig,
    /// All epochs so far.
    pub history: Vec<EpochRecord>,
    /// The checkpoint with the least validation loss so far, if samples are held out for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<CheckpointId>,
}

/// The newest checkpoint: `latest`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Latest {
    pub(super) checkpoint: CheckpointId,
    /// BLAKE3 of its manifest, which holds the hashes of all else.
    pub(super) manifest: Digest,
}

/// What belongs to a checkpoint: `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) format: u32,
    pub(super) checkpoint: CheckpointId,
    pub(super) parts: BTreeMap<String, Part>,
}

/// One file of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    pub(super) bytes: u64,
    pub(super) blake3: Digest,
}

impl Part {
    /// The entry for `content`.
    pub(super) fn of(content: &[u8]) -> Self {
        let bytes = u64::try_from(content.len()).unwrap_or(u64::MAX);
        Self { bytes, blake3: Digest::of(content) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names() {
        assert_eq!(CheckpointId(3).to_string(), "epoch-0003");
        for id in [0, 3, 9_999, 123_456] {
            assert_eq!(CheckpointId(id).to_string().parse(), Ok(CheckpointId(id)));
        }
        for text in ["epoch-3", "epoch-", "latest", "epoch-00003", "epoch-+003"] {
            assert!(text.parse::<CheckpointId>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_names_and_manifests_never_panic(name: String, json: String, n: u64) {
            if let Ok(id) = name.parse::<CheckpointId>() {
                prop_assert_eq!(id.to_string(), name.clone());
            }
            prop_assert_eq!(CheckpointId(n).to_string().parse(), Ok(CheckpointId(n)));
            let part = Part::of(json.as_bytes());
            let parts = BTreeMap::from([(name, part)]);
            let manifest = Manifest { format: 1, checkpoint: CheckpointId(n), parts };
            let text = serde_json::to_string(&manifest).unwrap();
            prop_assert_eq!(serde_json::from_str::<Manifest>(&text).unwrap(), manifest);
            let cut = text.len() - 1;
            prop_assert!(serde_json::from_str::<Manifest>(&text[..cut]).is_err());
            prop_assert!(serde_json::from_str::<Manifest>(&json).is_err());
            prop_assert!(serde_json::from_str::<Latest>(&json).is_err());
            prop_assert!(serde_json::from_str::<State>(&json).is_err());
        }
    }
}
