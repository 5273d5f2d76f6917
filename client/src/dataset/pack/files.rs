//! Packs files: those with the same key are one sample, as WebDataset has it.
//!
//! The key is a file's path below its folder, up to the first dot of its name; what follows is the
//! field. Samples come in the order of their keys, or in one that a seed determines; where files
//! were found plays no part.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use super::cut::{ShardLimit, cut};
use super::group::{Content, Planned, group};
use super::{PackError, Packed, Packing};
use crate::Error;
use crate::dataset::index::{Index, Meta};
use crate::dataset::name::SplitName;
use crate::dataset::seeded::{PACK_ORDER, shuffle, stream};
use crate::dataset::shard::ShardWriter;
use crate::transfer::LocalFile;

/// The field that holds a sample's class.
pub const CLASS: &str = "cls";
/// The entry of the index's `meta` that holds the names of the classes, by number.
pub const CLASSES: &str = "classes";

/// Why files make no samples.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// Two files for the same field of a sample.
    #[error(
        "{} and {} are both the field {field} of sample {key}: rename one, or pack them as \
         different splits", one.display(), other.display()
    )]
    Twice {
        /// The sample's key.
        key: String,
        /// The field.
        field: String,
        /// One file.
        one: PathBuf,
        /// The other one.
        other: PathBuf,
    },
    /// A file that is in no folder has no class.
    #[error("{} is in no folder, so it has no class: labels from folders need one each", .0.display())]
    NoFolder(PathBuf),
    /// A label was to be written where there is one.
    #[error("sample {0} has a .cls already: leave out the labels from folders, or remove it")]
    Labelled(String),
}

/// The samples of a dataset that is to be packed of files.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    splits: BTreeMap<SplitName, Vec<Planned>>,
    meta: Meta,
    passed_over: Vec<PathBuf>,
}

impl Plan {
    /// Makes samples of the files of each split.
    ///
    /// # Errors
    /// If two files are the same field of the same sample.
    pub fn new(files: BTreeMap<SplitName, Vec<LocalFile>>) -> Result<Self, FilesError> {
        let mut plan = Self::default();
        for (split, files) in files {
            let samples = group(files, &mut plan.passed_over)?;
            plan.splits.insert(split, samples);
        }
        Ok(plan)
    }

    /// Gives each sample the name of its first folder as its class: the field `cls` holds its
    /// number, counted from 0 in the order of all names of all splits, and the index has the names.
    ///
    /// # Errors
    /// If a sample is in no folder, or has a class.
    pub fn label_by_folders(&mut self) -> Result<(), FilesError> {
        let mut names = BTreeSet::new();
        for sample in self.splits.values().flatten() {
            match (sample.key.split_once('/'), sample.fields.first()) {
                (Some((folder, _)), _) => names.insert(folder.to_owned()),
                (None, Some((_, Content::File { path, .. }))) => {
                    return Err(FilesError::NoFolder(path.clone()));
                }
                (None, _) => return Err(FilesError::NoFolder(sample.key.clone().into())),
            };
        }
        let numbers: BTreeMap<&str, usize> =
            names.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
        for sample in self.splits.values_mut().flatten() {
            let folder = sample.key.split_once('/').map_or("", |(folder, _)| folder);
            let number = numbers.get(folder).copied().unwrap_or_default();
            match sample.fields.binary_search_by(|(field, _)| field.as_str().cmp(CLASS)) {
                Ok(_) => return Err(FilesError::Labelled(sample.key.clone())),
                Err(at) => {
                    sample.fields.insert(at, (CLASS.to_owned(), Content::Text(number.to_string())));
                }
            }
        }
        self.meta.insert(CLASSES.to_owned(), names.into_iter().collect());
        Ok(())
    }

    /// Puts the samples of each split in a random order.
    pub fn shuffle(&mut self, seed: u64) {
        for samples in self.splits.values_mut() {
            shuffle(&mut stream(seed, PACK_ORDER, &[]), samples);
        }
    }

    /// Files that are in no sample, since they're hidden or have no extension.
    pub fn passed_over(&self) -> &[PathBuf] {
        &self.passed_over
    }

    /// Samples of all splits.
    pub fn samples(&self) -> usize {
        self.splits.values().map(Vec::len).sum()
    }

    /// Bytes of all shards, at most.
    pub fn bytes(&self) -> u64 {
        self.splits.values().flatten().map(Planned::bytes).sum()
    }

    /// Packs the samples, `parallel` shards at a time, and publishes the dataset. `progress` hears
    /// of each shard, in order.
    ///
    /// # Errors
    /// If a file can't be read or has changed, or the store refuses a shard.
    pub async fn pack(
        self,
        packing: Packing,
        source: &str,
        limit: ShardLimit,
        parallel: NonZeroUsize,
        mut progress: impl FnMut(&SplitName, &Packed) -> Result<(), PackError>,
    ) -> Result<Index, PackError> {
        let mut packed = BTreeMap::new();
        for (split, samples) in self.splits {
            let ranges = cut(samples.iter().map(Planned::bytes), limit);
            let samples: Arc<[Planned]> = samples.into();
            let mut shards = stream::iter(ranges.into_iter().enumerate())
                .map(|(number, range)| {
                    let samples = Arc::clone(&samples);
                    let fill = move |shard: &mut ShardWriter<_>| {
                        let chosen = samples.get(range).unwrap_or_default();
                        chosen.iter().try_for_each(|sample| write(shard, sample))
                    };
                    packing.shard::<PackError>(&split, number, fill)
                })
                .buffered(parallel.get());
            let mut done = Vec::new();
            while let Some(shard) = shards.try_next().await? {
                progress(&split, &shard)?;
                done.push(shard);
            }
            drop(shards);
            packed.insert(split, done);
        }
        packing.publish(source, self.meta, packed).await
    }
}

fn write<W: std::io::Write>(shard: &mut ShardWriter<W>, sample: &Planned) -> Result<(), PackError> {
    for (field, content) in &sample.fields {
        match content {
            Content::Text(text) => shard
                .field(&sample.key, field, content.size(), text.as_bytes())
                .map_err(|source| PackError::Shard { what: sample.key.clone(), source })?,
            Content::File { path, size } => {
                let file = File::open(path).map_err(Error::file("open", path))?;
                let now = file.metadata().map_err(Error::file("look at", path))?.len();
                if now != *size {
                    return Err(Error::SourceChanged(path.clone()).into());
                }
                shard.field(&sample.key, field, *size, file).map_err(|source| {
                    PackError::Shard { what: path.display().to_string(), source }
                })?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(relative: &str) -> LocalFile {
        let path = PathBuf::from(format!("/data/{relative}"));
        LocalFile { path, relative: relative.to_owned(), size: 1 }
    }

    fn plan(names: &[&str]) -> Result<Plan, FilesError> {
        let files = names.iter().map(|name| file(name)).collect();
        Plan::new(BTreeMap::from([("train".parse().unwrap(), files)]))
    }

    fn shape(plan: &Plan) -> Vec<(String, Vec<String>)> {
        let of = |sample: &Planned| {
            let fields = sample.fields.iter().map(|(field, content)| match content {
                Content::Text(text) => format!("{field}={text}"),
                Content::File { .. } => field.clone(),
            });
            (sample.key.clone(), fields.collect())
        };
        plan.splits.values().flatten().map(of).collect()
    }

    #[test]
    fn files_with_the_same_key_are_a_sample() {
        let found = plan(&["b/1.txt", "a.JPG", "b/1.jpg", "a.seg.png", "README", ".x.y"]).unwrap();
        let of = |key: &str, fields: [&str; 2]| (key.to_owned(), fields.map(str::to_owned).into());
        assert_eq!(shape(&found), [of("a", ["jpg", "seg.png"]), of("b/1", ["jpg", "txt"])]);
        let names: Vec<_> = found.passed_over().iter().map(|path| path.file_name()).collect();
        assert_eq!(names, [Some("README".as_ref()), Some(".x.y".as_ref())]);
        let twice = plan(&["a.jpg", "a.JPG"]).unwrap_err().to_string();
        assert!(twice.contains("/data/a.jpg and /data/a.JPG"), "{twice}");
    }

    #[test]
    fn folders_are_classes_in_all_splits_alike() {
        let files = |names: &[&str]| names.iter().map(|name| file(name)).collect();
        let mut found = Plan::new(BTreeMap::from([
            ("train".parse().unwrap(), files(&["dog/a/1.jpg", "ant/2.jpg"])),
            ("test".parse().unwrap(), files(&["cat/3.jpg", "dog/4.jpg", "dog/4.axt"])),
        ]))
        .unwrap();
        found.label_by_folders().unwrap();
        let of = |key: &str, fields: &[&str]| {
            (key.to_owned(), fields.iter().map(|f| (*f).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(
            shape(&found),
            [
                of("cat/3", &["cls=1", "jpg"]),
                of("dog/4", &["axt", "cls=2", "jpg"]),
                of("ant/2", &["cls=0", "jpg"]),
                of("dog/a/1", &["cls=2", "jpg"]),
            ]
        );
        assert_eq!(found.meta[CLASSES], serde_json::json!(["ant", "cat", "dog"]));

        let labelled = plan(&["a/1.cls"]).unwrap().label_by_folders().unwrap_err();
        assert!(matches!(labelled, FilesError::Labelled(_)));
        let loose = plan(&["1.jpg"]).unwrap().label_by_folders().unwrap_err();
        assert!(loose.to_string().contains("/data/1.jpg"), "{loose}");
    }

    proptest! {
        #[test]
        fn the_plan_depends_on_the_files_alone(
            names in prop::collection::btree_set("[ab]/[a-c]{1,2}\\.[xyz]", 1..12), seed: u64,
            shuffled: bool,
        ) {
            let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
            let make = |names: &[&str]| {
                let mut plan = plan(names).unwrap();
                plan.label_by_folders().unwrap();
                if shuffled {
                    plan.shuffle(seed);
                }
                plan.splits
            };
            let one = make(&names);
            names.reverse();
            prop_assert_eq!(one, make(&names));
        }
    }
}
