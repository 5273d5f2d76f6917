//! The index of a packed dataset: `index.json` beside its shards.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::name::{ShardName, SplitName};
use crate::Digest;

/// Name of the index within a dataset's place.
pub const INDEX: &str = "index.json";
/// Format and version that this code writes and reads.
pub const FORMAT: &str = "coffer-webdataset/2";

/// One shard as the index describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardEntry {
    /// Object name, relative to the index.
    pub name: ShardName,
    /// Samples in it, at least one.
    pub samples: usize,
    /// Size in bytes.
    pub bytes: u64,
    /// BLAKE3 of its bytes.
    pub blake3: Digest,
}

/// The shards of each split, in order.
pub type Splits = BTreeMap<SplitName, Vec<ShardEntry>>;

/// What else is known of a dataset: free, by name.
pub type Meta = BTreeMap<String, Value>;

/// The index of a packed dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// Always [`FORMAT`].
    pub format: String,
    /// Where the samples come from, such as "mnist".
    pub source: String,
    /// Dataset version: a hash over the contents that the index describes. Neither the shards'
    /// names nor the source count: the same data packed again is the same version.
    pub version: Digest,
    /// The fields that samples have, some or all.
    pub fields: BTreeSet<String>,
    /// What else is known, such as names of classes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: Meta,
    /// The shards of each split, in order.
    pub splits: Splits,
}

/// The part that says how to read the rest.
#[derive(Deserialize)]
struct Head {
    format: String,
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
    /// Two entries with the same name.
    #[error("lists the shard {0} twice")]
    Twice(ShardName),
    /// A shard that holds nothing.
    #[error("says that the shard {0} has no samples")]
    Empty(ShardName),
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
    pub fn new(source: &str, fields: BTreeSet<String>, meta: Meta, splits: Splits) -> Self {
        let version = version(&fields, &meta, &splits);
        let (format, source) = (FORMAT.to_owned(), source.to_owned());
        Self { format, source, version, fields, meta, splits }
    }

    /// Reads and checks an index.
    ///
    /// # Errors
    /// If it isn't one, is of another format, or was changed after it was written.
    pub fn parse(json: &[u8]) -> Result<Self, IndexError> {
        let Head { format } = serde_json::from_slice(json)?;
        if format != FORMAT {
            return Err(IndexError::Format(format));
        }
        let index: Self = serde_json::from_slice(json)?;
        let mut names = BTreeSet::new();
        for ShardEntry { name, samples, .. } in index.splits.values().flatten() {
            if !names.insert(name) {
                return Err(IndexError::Twice(name.clone()));
            }
            if *samples == 0 {
                return Err(IndexError::Empty(name.clone()));
            }
        }
        let computed = version(&index.fields, &index.meta, &index.splits);
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

    /// The shards of `split`; none if there is no such split.
    pub fn shards(&self, split: &SplitName) -> &[ShardEntry] {
        self.splits.get(split).map_or(&[], Vec::as_slice)
    }

    /// Number of samples in `split`.
    pub fn samples(&self, split: &SplitName) -> usize {
        self.shards(split).iter().map(|shard| shard.samples).sum()
    }
}

fn version(fields: &BTreeSet<String>, meta: &Meta, splits: &Splits) -> Digest {
    let mut lines = String::new();
    // Writing to a string does not fail. What is free text is quoted, so that no line can pass for
    // another.
    for (split, shard) in splits.iter().flat_map(|(split, all)| all.iter().map(move |s| (split, s)))
    {
        let _ = writeln!(lines, "{split} {} {} {}", shard.samples, shard.bytes, shard.blake3);
    }
    for field in fields {
        let _ = writeln!(lines, "field {field:?}");
    }
    for (name, value) in meta {
        let _ = writeln!(lines, "meta {name:?} {value}");
    }
    Digest::of(lines.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn split(name: &str) -> SplitName {
        name.parse().unwrap()
    }

    fn shard(name: &str) -> ShardEntry {
        let blake3 = Digest::of(name.as_bytes());
        ShardEntry { name: name.parse().unwrap(), samples: 2, bytes: 9, blake3 }
    }

    fn index() -> Index {
        let train = vec![shard("train-000000.tar"), shard("train-000001.tar")];
        let splits = BTreeMap::from([
            (split("train"), train),
            (split("test"), vec![shard("test-000000.tar")]),
        ]);
        let fields = ["cls", "png"].map(str::to_owned).into();
        let meta = Meta::from([("mean".to_owned(), json!({"r": 0.1307, "g": [1, 1e300]}))]);
        Index::new("mnist", fields, meta, splits)
    }

    #[test]
    fn round_trip() {
        let index = index();
        assert_eq!(Index::parse(&index.to_json().unwrap()).unwrap(), index);
        assert_eq!((index.samples(&split("train")), index.samples(&split("test"))), (4, 2));
        assert_eq!(index.samples(&split("validation")), 0);
    }

    #[test]
    fn changes_are_noticed() {
        let text = String::from_utf8(index().to_json().unwrap()).unwrap();
        let parse = |text: &str| Index::parse(text.as_bytes());
        for (from, to) in
            [("\"samples\": 2", "\"samples\": 3"), ("0.1307", "0.1308"), ("png", "jpg")]
        {
            let edited = text.replacen(from, to, 1);
            assert!(matches!(parse(&edited), Err(IndexError::Version { .. })), "{from}");
        }
        let older = r#"{"format": "coffer-webdataset/1", "side": 28}"#;
        assert!(matches!(parse(older), Err(IndexError::Format(_))));
        let outside = text.replace("test-000000.tar", "../secret");
        assert!(parse(&outside).unwrap_err().to_string().contains("plain file name"));
        let twice = text.replace("train-000001.tar", "train-000000.tar");
        assert!(matches!(parse(&twice), Err(IndexError::Twice(_))));
        let empty = text.replacen("\"samples\": 2", "\"samples\": 0", 1);
        assert!(matches!(parse(&empty), Err(IndexError::Empty(_))));
        assert!(matches!(parse(&text[..40]), Err(IndexError::Json(_))));
    }

    #[test]
    fn the_version_is_of_the_content_alone() {
        let one = index();
        let mut renamed = one.splits.clone();
        for (at, shard) in renamed.values_mut().flatten().enumerate() {
            shard.name = format!("{at}.tar").parse().unwrap();
        }
        let other = Index::new("elsewhere", one.fields.clone(), one.meta.clone(), renamed);
        assert_eq!(one.version, other.version);
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
