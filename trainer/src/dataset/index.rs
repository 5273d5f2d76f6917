//! The index of a packed dataset: `index.json` beside its shards.

use std::collections::BTreeMap;

use coffer_client::Digest;
use serde::{Deserialize, Serialize};

use super::{CLASSES, SIDE, Split};

/// Name of the index within a dataset's prefix.
pub const INDEX: &str = "index.json";
/// Format and version that this code writes and reads.
pub const FORMAT: &str = "coffer-webdataset/1";

/// One shard as the index describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardEntry {
    /// Object name, relative to the index.
    pub name: String,
    /// Samples in it.
    pub samples: usize,
    /// Size in bytes.
    pub bytes: u64,
    /// BLAKE3 of its bytes.
    pub blake3: Digest,
}

/// The index of a packed dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// Always [`FORMAT`].
    pub format: String,
    /// Where the samples come from, such as "mnist".
    pub source: String,
    /// Dataset version: a hash over every shard's name, split, sample count and content hash.
    pub version: Digest,
    /// Width and height of the pictures.
    pub side: usize,
    /// Number of classes.
    pub classes: u8,
    /// The shards of each split, in order.
    pub splits: BTreeMap<Split, Vec<ShardEntry>>,
}

/// Why an index can't be used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// Not JSON, or not of this layout.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A format that this release doesn't know.
    #[error("format `{0}`, and this release reads `{FORMAT}`: pack the dataset again")]
    Format(String),
    /// Pictures or classes that the trainer can't use.
    #[error("pictures of side {side} in {classes} classes, wanted {SIDE} and {CLASSES}")]
    Shape {
        /// Side length found.
        side: usize,
        /// Classes found.
        classes: u8,
    },
    /// A shard's name isn't a plain file name.
    #[error("shard name {0:?}: wanted a plain file name, without folders")]
    Name(String),
    /// The version doesn't match the entries: the index was edited or damaged.
    #[error("says version {stated}, but its entries hash to {computed}: it was changed")]
    Version {
        /// The version written in it.
        stated: Digest,
        /// The version of its entries.
        computed: Digest,
    },
}

impl Index {
    /// An index of `splits`, with its version.
    pub fn new(source: &str, splits: BTreeMap<Split, Vec<ShardEntry>>) -> Self {
        let version = version(&splits);
        let (format, source) = (FORMAT.to_owned(), source.to_owned());
        Self { format, source, version, side: SIDE, classes: CLASSES, splits }
    }

    /// Reads and checks an index.
    ///
    /// # Errors
    /// If it isn't one, is of another format, or was changed after it was written.
    pub fn parse(json: &[u8]) -> Result<Self, IndexError> {
        let index: Self = serde_json::from_slice(json)?;
        if index.format != FORMAT {
            return Err(IndexError::Format(index.format));
        }
        if (index.side, index.classes) != (SIDE, CLASSES) {
            return Err(IndexError::Shape { side: index.side, classes: index.classes });
        }
        let plain = |name: &str| !name.is_empty() && !name.contains('/') && !name.starts_with('.');
        if let Some(bad) = index.splits.values().flatten().find(|shard| !plain(&shard.name)) {
            return Err(IndexError::Name(bad.name.clone()));
        }
        let computed = version(&index.splits);
        if computed != index.version {
            return Err(IndexError::Version { stated: index.version, computed });
        }
        Ok(index)
    }

    /// The index as JSON, always the same for the same content.
    ///
    /// # Errors
    /// Never in practice: every field has a JSON form.
    pub fn to_json(&self) -> Result<Vec<u8>, IndexError> {
        let mut json = serde_json::to_vec_pretty(self)?;
        json.push(b'\n');
        Ok(json)
    }

    /// The shards of `split`.
    pub fn shards(&self, split: Split) -> &[ShardEntry] {
        self.splits.get(&split).map_or(&[], Vec::as_slice)
    }

    /// Number of samples in `split`.
    pub fn samples(&self, split: Split) -> usize {
        self.shards(split).iter().map(|shard| shard.samples).sum()
    }
}

fn version(splits: &BTreeMap<Split, Vec<ShardEntry>>) -> Digest {
    let lines: String = splits
        .iter()
        .flat_map(|(split, shards)| shards.iter().map(move |shard| (split, shard)))
        .map(|(split, s)| format!("{split} {} {} {} {}\n", s.name, s.samples, s.bytes, s.blake3))
        .collect();
    Digest::of(lines.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn index() -> Index {
        let shard = |name: &str| ShardEntry {
            name: name.into(),
            samples: 2,
            bytes: 9,
            blake3: Digest::of(name.as_bytes()),
        };
        let train = vec![shard("train-000000.tar"), shard("train-000001.tar")];
        let splits =
            BTreeMap::from([(Split::Train, train), (Split::Test, vec![shard("test-000000.tar")])]);
        Index::new("mnist", splits)
    }

    #[test]
    fn round_trip() {
        let index = index();
        assert_eq!(Index::parse(&index.to_json().unwrap()).unwrap(), index);
        assert_eq!((index.samples(Split::Train), index.samples(Split::Test)), (4, 2));
    }

    #[test]
    fn changes_are_noticed() {
        let text = String::from_utf8(index().to_json().unwrap()).unwrap();
        let parse = |text: &str| Index::parse(text.as_bytes());
        let edited = text.replacen("\"samples\": 2", "\"samples\": 3", 1);
        assert!(matches!(parse(&edited), Err(IndexError::Version { .. })));
        let newer = text.replace(FORMAT, "coffer-webdataset/2");
        assert!(matches!(parse(&newer), Err(IndexError::Format(_))));
        let outside = text.replace("test-000000.tar", "../secret");
        assert!(matches!(parse(&outside), Err(IndexError::Name(_))));
        assert!(matches!(parse(&text[..40]), Err(IndexError::Json(_))));
    }

    proptest! {
        #[test]
        fn damaged_indices_never_panic_and_what_is_accepted_reads_back(
            at: prop::sample::Index, byte: u8, cut: prop::sample::Index, noise: Vec<u8>,
        ) {
            let whole = index().to_json().unwrap();
            let mut changed = whole.clone();
            changed[at.index(whole.len())] = byte;
            for bytes in [&changed[..], &whole[..cut.index(whole.len())], &noise[..]] {
                if let Ok(read) = Index::parse(bytes) {
                    prop_assert_eq!(Index::parse(&read.to_json().unwrap()).unwrap(), read);
                }
            }
        }
    }
}
