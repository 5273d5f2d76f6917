//! Packs samples into shards, and writes the index last: a dataset without an index isn't there.
//!
//! [`Packing`] is the one way in which a dataset comes to be: [`files`] are packed by it, and
//! samples that a program makes. What is durable when: a shard, once [`Packing::shard`] returns; the
//! dataset, once [`Packing::publish`] does. A packing that breaks off leaves shards that no index
//! names; packing again writes over them.

mod cut;
pub mod files;
mod group;
mod upload;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutPayload};
use tokio_util::sync::CancellationToken;

use super::error::DatasetError;
use super::fetch::{Dataset, ReadOptions};
use super::index::{INDEX, Index, IndexError, Meta, ShardEntry, Splits};
use super::name::{ShardName, SplitName};
use super::shard::{ShardError, ShardWriter};
use crate::place::{Place, PlaceError};
use crate::{Error, ErrorKind};

pub use cut::ShardLimit;
pub use upload::Parts;

/// Why a dataset can't be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// There is a dataset already.
    #[error(
        "there is a dataset at {0} already: choose another place, or replace it (--replace); runs \
         that read the old one end then"
    )]
    Exists(String),
    /// Somebody else packed there meanwhile.
    #[error("another dataset was packed at {0} meanwhile: this one was not made; pack it again")]
    Raced(String),
    /// What is there can't be looked at.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// A sample can't be put into a shard.
    #[error("can't pack {what}: {source}")]
    Shard {
        /// The shard, or the file.
        what: String,
        /// Why not.
        source: ShardError,
    },
    /// The store refused an object.
    #[error(transparent)]
    Store(#[from] PlaceError),
    /// A file can't be read.
    #[error(transparent)]
    File(#[from] Error),
    /// The index has no JSON form.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The files don't make samples.
    #[error(transparent)]
    Files(#[from] files::FilesError),
    /// A split has no samples.
    #[error("split {0} has no samples")]
    Empty(SplitName),
    /// Packing was stopped.
    #[error("interrupted")]
    Cancelled,
}

impl PackError {
    /// What the error means to the caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Exists(_) | Self::Raced(_) => ErrorKind::Conflict,
            Self::Dataset(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::File(error) => error.kind(),
            Self::Files(_) | Self::Empty(_) | Self::Shard { .. } => ErrorKind::Invalid,
            Self::Index(_) => ErrorKind::Other,
            Self::Cancelled => ErrorKind::Cancelled,
        }
    }

    /// What the user can do about it, where the message doesn't say.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Dataset(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::File(error) => error.hint(),
            _ => None,
        }
    }
}

/// What to do about a dataset that is at the place already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Existing {
    /// Leave it, and fail.
    #[default]
    Refuse,
    /// Put the new one in its place. Until the new index is written, the old dataset stays whole:
    /// the new shards have other names.
    Replace,
}

/// A dataset that is being packed.
#[derive(Debug)]
pub struct Packing {
    place: Place,
    /// Whether an index is there that is to be replaced.
    replace: bool,
    /// The shards that it names.
    old: BTreeSet<ShardName>,
    tag: String,
    cancel: CancellationToken,
}

/// A shard that was packed.
#[derive(Debug, Clone)]
pub struct Packed {
    /// Its entry for the index.
    pub entry: ShardEntry,
    /// The fields that its samples have.
    pub fields: BTreeSet<String>,
}

impl Packing {
    /// Begins to pack at `place`. Once `cancel` is cancelled, uploads are aborted.
    ///
    /// # Errors
    /// [`PackError::Exists`] if there is a dataset already, unless it's to be replaced.
    pub async fn begin(
        place: &Place,
        existing: Existing,
        cancel: CancellationToken,
    ) -> Result<Self, PackError> {
        let (place, found) = (place.clone(), Dataset::open(place, ReadOptions::default()).await);
        let old = match found {
            Err(DatasetError::NoDataset(_)) => {
                let (old, tag) = (BTreeSet::new(), String::new());
                return Ok(Self { place, replace: false, old, tag, cancel });
            }
            // Whatever it is, it's to go. Which shards it has can't be told; they stay.
            Err(DatasetError::Index { .. }) => BTreeSet::new(),
            other => {
                let index = other?;
                index.index().splits.values().flatten().map(|entry| entry.name.clone()).collect()
            }
        };
        if existing == Existing::Refuse {
            return Err(PackError::Exists(place.address().to_owned()));
        }
        Ok(Self { place, replace: true, old, tag: tag(), cancel })
    }

    /// Packs one shard: `fill`, on a thread that may block, writes its samples. They're uploaded
    /// while it goes on, so that a few parts of the shard are in memory at a time.
    ///
    /// # Errors
    /// If `fill` fails, or the store does.
    pub async fn shard<E: From<PackError> + Send + 'static>(
        &self,
        split: &SplitName,
        number: usize,
        fill: impl FnOnce(&mut ShardWriter<Parts>) -> Result<(), E> + Send + 'static,
    ) -> Result<Packed, E> {
        let name = ShardName::new(split, number, &self.tag);
        let written = upload::upload(&self.place, name.as_str(), &self.cancel, fill).await?;
        let entry = ShardEntry {
            name,
            samples: written.samples,
            bytes: written.bytes,
            blake3: written.blake3,
        };
        Ok(Packed { entry, fields: written.fields })
    }

    /// Makes a dataset of the shards, by writing the index, and removes those of the dataset that
    /// it replaces.
    ///
    /// # Errors
    /// If a split is empty, the store refuses the index, or somebody else wrote one meanwhile.
    pub async fn publish(
        self,
        source: &str,
        meta: Meta,
        packed: BTreeMap<SplitName, Vec<Packed>>,
    ) -> Result<Index, PackError> {
        let (mut fields, mut splits) = (BTreeSet::new(), Splits::new());
        for (split, shards) in packed {
            if shards.is_empty() {
                return Err(PackError::Empty(split));
            }
            let entries = shards.into_iter().map(|mut shard| {
                fields.append(&mut shard.fields);
                shard.entry
            });
            splits.insert(split, entries.collect());
        }
        let index = Index::new(source, fields, meta, splits);
        self.write_index(&index).await?;
        for name in &self.old {
            // The new dataset is whole without that; what stays is never read.
            if let Err(error) = self.place.store().delete(&Path::from(name.as_str())).await {
                let object = self.place.address_of(name.as_str());
                tracing::warn!("can't delete {object} of the replaced dataset: {error}");
            }
        }
        Ok(index)
    }

    async fn write_index(&self, index: &Index) -> Result<(), PackError> {
        let json = Bytes::from(index.to_json()?);
        if self.replace {
            return Ok(self.place.write(INDEX, json).await?);
        }
        let (path, payload) = (Path::from(INDEX), PutPayload::from(json.clone()));
        match self.place.store().put_opts(&path, payload, PutMode::Create.into()).await {
            Ok(_) => Ok(()),
            Err(object_store::Error::AlreadyExists { .. }) => {
                // An answer that was lost has the client ask again, and find its own index.
                let found = self.place.read(INDEX, u64::MAX).await?;
                let raced = || PackError::Raced(self.place.address().to_owned());
                if found == json { Ok(()) } else { Err(raced()) }
            }
            Err(source) => {
                let object = self.place.address_of(INDEX);
                Err(PlaceError::Write { object, source }.into())
            }
        }
    }
}

/// Tells the shards of one packing from those of all others at the same place.
fn tag() -> String {
    use std::hash::{BuildHasher, RandomState};
    // The standard library seeds its hash maps at random; that is random enough here.
    let random = RandomState::new().hash_one(0) & 0xffff_ffff;
    format!("{random:08x}")
}
