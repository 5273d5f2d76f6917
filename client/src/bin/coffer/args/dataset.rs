//! `coffer dataset`: datasets of WebDataset shards.

use clap::{Args, Subcommand};
use coffer_client::dataset::{ShardName, SplitName};
use coffer_client::parse_size;
use coffer_client::place::{Address, PlaceError};
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;

pub(super) const HELP: &str = "\
A dataset is a PLACE, s3://BUCKET/PREFIX or file:///DIRECTORY, that holds tar shards and an
index.json with their sizes and hashes. Python's webdataset reads the shards as they are.";

const PACK_HELP: &str = "\
Files with the same key are one sample: the key is a file's path within its folder up to the first
dot of its name, and what follows is the field, so that 0001.jpg and 0001.cls are two fields of 0001.
Hidden files and those without an extension are passed over.

The shards depend on the files' names and contents alone: the same data gives the same version.

Examples:
  coffer dataset pack ./flowers s3://datasets/flowers --labels-from-folders --shuffle-seed 1
  coffer dataset pack s3://datasets/cifar --split train=./train --split test=./test
  coffer dataset pack ./new s3://datasets/flowers --replace";

const VERIFY_HELP: &str = "\
Exit codes, beside the common ones:
  0  every shard is as the index says
  6  shards, or the index, are damaged or missing; each is named";

#[derive(Debug, Subcommand)]
pub(crate) enum Dataset {
    /// Pack files into shards, with an index
    #[command(after_help = PACK_HELP)]
    Pack(Pack),
    /// Read all shards, and compare them with the index
    #[command(after_help = VERIFY_HELP)]
    Verify(Verify),
    /// List the shards, or the samples of one
    Ls(LsDataset),
    /// Show what a dataset holds
    Stat {
        /// s3://BUCKET/PREFIX or file:///DIRECTORY
        place: Address,
    },
}

impl Dataset {
    /// Whether it reads or writes a whole dataset.
    pub(crate) fn is_long(&self) -> bool {
        matches!(self, Self::Pack(_) | Self::Verify(_))
    }
}

#[derive(Debug, Args)]
pub(crate) struct Pack {
    /// Folders and files to pack, as the split `train`; and at the end where to, as
    /// s3://BUCKET/PREFIX or file:///DIRECTORY
    #[arg(value_name = "DIR|FILE... PLACE", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Pack a folder or file as the split of that name. May be repeated, also for one split
    #[arg(long = "split", value_name = "NAME=DIR")]
    pub(crate) splits: Vec<SplitSource>,
    /// Size of shards; only a sample that is larger makes a larger one
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = shard_size)]
    pub(crate) shard_size: NonZeroU64,
    /// Samples per shard, instead of a size
    #[arg(long, value_name = "COUNT", conflicts_with = "shard_size")]
    pub(crate) shard_samples: Option<NonZeroUsize>,
    /// Put the samples in a random order that this number determines; by key if absent
    #[arg(long, value_name = "SEED")]
    pub(crate) shuffle_seed: Option<u64>,
    /// Make each sample's folder its class: a field `cls` with its number, and the names in the index
    #[arg(long)]
    pub(crate) labels_from_folders: bool,
    /// What the index calls the source; the place's last name if absent
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Replace the dataset that is there. It stays whole until the new one is; runs that still read
    /// it end then
    #[arg(long)]
    pub(crate) replace: bool,
    /// Shards that are packed at a time
    #[arg(long, value_name = "COUNT", default_value = "4")]
    pub(crate) parallel: NonZeroUsize,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// s3://BUCKET/PREFIX or file:///DIRECTORY
    pub(crate) place: Address,
    /// Only this split. May be repeated
    #[arg(long = "split", value_name = "NAME")]
    pub(crate) splits: Vec<SplitName>,
    /// Shards that are read at a time; each is in memory
    #[arg(long, value_name = "COUNT", default_value = "4")]
    pub(crate) parallel: NonZeroUsize,
}

#[derive(Debug, Args)]
pub(crate) struct LsDataset {
    /// s3://BUCKET/PREFIX or file:///DIRECTORY
    pub(crate) place: Address,
    /// Only this split
    #[arg(long, value_name = "NAME")]
    pub(crate) split: Option<SplitName>,
    /// List the samples of this shard, with the sizes of their fields
    #[arg(long, value_name = "SHARD", conflicts_with = "split")]
    pub(crate) samples: Option<ShardName>,
    /// Sizes as 1.50 MiB
    #[arg(long)]
    pub(crate) human_readable: bool,
}

impl Pack {
    /// What is to be packed, and where to.
    ///
    /// # Errors
    /// If there is nothing to pack, or the last path is no place.
    pub(crate) fn sources_and_place(&self) -> Result<(Vec<SplitSource>, Address), String> {
        let Some((place, paths)) = self.paths.split_last() else {
            return Err("name a place to pack to".to_owned());
        };
        let place: Address = place.to_string_lossy().parse().map_err(|error: PlaceError| {
            format!("{error}; it comes last, after what is to be packed")
        })?;
        let mut sources = self.splits.clone();
        for path in paths {
            sources.push(SplitSource { split: SplitName::train(), path: path.clone() });
        }
        if sources.is_empty() {
            return Err(format!("name what is to be packed: coffer dataset pack DIR {place}"));
        }
        Ok((sources, place))
    }
}

/// A folder or file, and the split that it's packed as.
#[derive(Debug, Clone)]
pub(crate) struct SplitSource {
    pub(crate) split: SplitName,
    pub(crate) path: PathBuf,
}

impl FromStr for SplitSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (split, path) = text.split_once('=').ok_or("write NAME=DIR, as train=./train")?;
        let split = split.parse::<SplitName>().map_err(|error| error.to_string())?;
        if path.is_empty() {
            return Err("write NAME=DIR, as train=./train".to_owned());
        }
        Ok(Self { split, path: path.into() })
    }
}

fn shard_size(text: &str) -> Result<NonZeroU64, String> {
    let size = parse_size(text)?;
    NonZeroU64::new(size).ok_or_else(|| "it must not be zero".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::{Cli, Command};
    use super::*;
    use clap::Parser;

    fn pack(args: &[&str]) -> Result<(Vec<SplitSource>, Address), String> {
        let args = ["coffer", "dataset", "pack"].iter().chain(args);
        match Cli::try_parse_from(args).map_err(|error| error.to_string())?.command {
            Command::Dataset(Dataset::Pack(pack)) => pack.sources_and_place(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_last_path_is_the_place() {
        let (many, place) = pack(&["a", "b", "file:///c", "--shard-samples", "5"]).unwrap();
        let of = |sources: &[SplitSource]| -> Vec<String> {
            sources.iter().map(|s| format!("{}={}", s.split, s.path.display())).collect()
        };
        assert_eq!(of(&many), ["train=a", "train=b"]);
        assert_eq!(place.to_string(), "file:///c");
        let splits = ["s3://data/c", "--split", "train=x", "--split", "val=y"];
        assert_eq!(of(&pack(&splits).unwrap().0), ["train=x", "val=y"]);
        for bad in [
            &["s3://data/c"][..],
            &["a", "b"],
            &[],
            &["file:///c", "--split", "x"],
            &["a", "file:///c", "--shard-samples", "5", "--shard-size", "1MiB"],
        ] {
            assert!(pack(bad).is_err(), "{bad:?}");
        }
    }
}
