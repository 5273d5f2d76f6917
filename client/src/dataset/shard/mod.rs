//! One shard: a tar of files named `{key}.{field}`, those of a sample next to each other, the
//! layout of WebDataset.
//!
//! Python reads it as it is: `webdataset.WebDataset(url)`. The bytes depend on the samples alone: no
//! times, no owners, fields in the order of their names.

mod read;
mod write;

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;

pub use read::samples;
pub use write::{ShardWriter, Written, member_bytes};

/// One sample: its key, and its fields by extension.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    /// Its key, unique within a split. Its last segment has no dot.
    pub key: String,
    /// Its fields by name, which is what stands after the first dot of a file's name, in lower
    /// case: "png", "cls", "seg.png".
    pub fields: BTreeMap<String, Bytes>,
}

/// Why a shard can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// The tar is damaged, or can't be written.
    #[error("broken tar: {0}")]
    Tar(#[from] io::Error),
    /// A file of a kind whose content doesn't stand in the tar as it is.
    #[error("{0} is a sparse file: pack the dataset by a tool that writes plain ones")]
    Sparse(String),
    /// A field that a sample has twice.
    #[error("sample {key}: has the field {field} twice, or its files don't stand in order")]
    Field {
        /// The sample's key.
        key: String,
        /// The field.
        field: String,
    },
    /// A key or field that can't be the name of a file in a shard.
    #[error("a sample can't have the key {key:?} and the field {field:?}")]
    Name {
        /// The key.
        key: String,
        /// The field.
        field: String,
    },
    /// A sample without a field wouldn't be in the shard at all.
    #[error("sample {0}: has no fields")]
    NoFields(String),
    /// The shard doesn't hold as many samples as the index says.
    #[error("holds {found} samples where the index says {wanted}")]
    Count {
        /// Samples found.
        found: usize,
        /// Samples announced.
        wanted: usize,
    },
}

/// Splits the name of a file, with `/` between folders, into key and field: at the first dot of its
/// last segment, as WebDataset does. `None` if it has no field, or is hidden.
pub fn split_name(name: &str) -> Option<(&str, String)> {
    let base = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = base + name.get(base..)?.find('.')?;
    let (key, field) = (name.get(..dot)?, name.get(dot + 1..)?);
    (dot > base && !field.is_empty()).then(|| (key, field.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(key: &str, fields: &[(&str, &str)]) -> Sample {
        let owned = |(name, content): &(&str, &str)| {
            ((*name).to_owned(), Bytes::from((*content).to_owned()))
        };
        Sample { key: key.to_owned(), fields: fields.iter().map(owned).collect() }
    }

    fn shard(samples: &[Sample]) -> Bytes {
        let mut writer = ShardWriter::new(Vec::new());
        samples.iter().for_each(|sample| writer.push(sample).unwrap());
        let (content, written) = writer.finish().unwrap();
        assert_eq!(written.bytes, u64::try_from(content.len()).unwrap());
        assert_eq!(written.blake3, crate::Digest::of(&content));
        assert_eq!(written.samples, samples.len());
        content.into()
    }

    fn two() -> Vec<Sample> {
        vec![
            sample("a/0001", &[("cls", "3"), ("png", "first"), ("seg.png", "")]),
            sample(&"long/".repeat(60), &[("txt", "x")]).with_last_segment("0002"),
        ]
    }

    impl Sample {
        fn with_last_segment(mut self, name: &str) -> Self {
            self.key.push_str(name);
            self
        }
    }

    #[test]
    fn round_trip_and_same_bytes_each_time() {
        let content = shard(&two());
        assert_eq!(content, shard(&two()));
        assert_eq!(samples(&content, 2).unwrap(), two());
    }

    #[test]
    fn names_are_split_as_webdataset_does() {
        for (name, key, field) in [
            ("0001.png", "0001", "png"),
            ("a.b/0001.seg.PNG", "a.b/0001", "seg.png"),
            ("./x.cls", "./x", "cls"),
        ] {
            assert_eq!(split_name(name), Some((key, field.to_owned())));
        }
        for name in ["", "README", ".hidden", "a/.DS_Store", "x.", "a.b/c"] {
            assert_eq!(split_name(name), None, "{name}");
        }
    }

    #[test]
    fn damage_is_named() {
        let content = shard(&two());
        let error = samples(&content, 3).unwrap_err();
        assert!(matches!(error, ShardError::Count { found: 2, wanted: 3 }));
        assert!(samples(&content.slice(..700), 2).is_err(), "cut within the header of a file");
        assert!(samples(&content.slice(..1030), 2).is_err(), "cut within a file");
    }

    #[test]
    fn what_could_not_be_read_back_is_not_written() {
        let mut writer = ShardWriter::new(Vec::new());
        for bad in [
            sample("", &[("png", "")]),
            sample("a.b", &[("png", "")]),
            sample("/a", &[("png", "")]),
            sample("../a", &[("png", "")]),
            sample("a", &[("PNG", "")]),
            sample("a", &[("", "")]),
            sample("a", &[("x/y", "")]),
        ] {
            assert!(matches!(writer.push(&bad), Err(ShardError::Name { .. })), "{bad:?}");
        }
        assert!(matches!(writer.push(&sample("a", &[])), Err(ShardError::NoFields(_))));
        writer.push(&sample("b", &[("png", "")])).unwrap();
        let again = writer.push(&sample("b", &[("png", "")]));
        assert!(matches!(again, Err(ShardError::Field { .. })), "{again:?}");
        let short = writer.field("c", "png", 5, &b"four"[..]);
        assert!(short.unwrap_err().to_string().contains("shorter"));
    }

    proptest! {
        #[test]
        fn any_sample_comes_back(
            keys in prop::collection::btree_set("[a-z0-9_]{1,8}(/[a-zü]{1,70}){0,3}", 1..6),
            fields in prop::collection::btree_map("[a-z0-9.]{0,6}[a-z]", prop::collection::vec(any::<u8>(), 0..1500), 1..4),
        ) {
            let fields: BTreeMap<String, Bytes> = fields.into_iter()
                .filter(|(name, _)| !name.starts_with('.'))
                .map(|(name, content)| (name, content.into()))
                .collect();
            prop_assume!(!fields.is_empty());
            let all: Vec<Sample> =
                keys.into_iter().map(|key| Sample { key, fields: fields.clone() }).collect();
            let content = shard(&all);
            prop_assert_eq!(samples(&content, all.len()).unwrap(), all.clone());
            // What is planned with, before anything is read, is no less than what is written.
            let planned: u64 = all.iter().flat_map(|sample| {
                sample.fields.iter().map(|(name, content)| {
                    member_bytes(&sample.key, name, u64::try_from(content.len()).unwrap())
                })
            }).sum();
            prop_assert!(u64::try_from(content.len()).unwrap() <= planned + 1024);
        }

        #[test]
        fn damaged_shards_never_panic_and_give_whole_samples_or_none(
            at: prop::sample::Index, byte: u8, cut: prop::sample::Index, noise: Vec<u8>,
        ) {
            let whole = shard(&two());
            let mut changed = whole.to_vec();
            changed[at.index(whole.len())] = byte;
            for bytes in [Bytes::from(changed), whole.slice(..cut.index(whole.len())), noise.into()]
            {
                if let Ok(read) = samples(&bytes, 2) {
                    prop_assert!(read.len() == 2 && read.iter().all(|s| !s.fields.is_empty()));
                }
            }
        }
    }
}
