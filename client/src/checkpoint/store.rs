//! The files of a run's checkpoints in their store.

use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error as ObjectError, ObjectStore, ObjectStoreExt, PutMode, UpdateVersion};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{CheckpointError, FORMAT, Root, SaveId};
use crate::place::{Place, PlaceError};

/// Folder of the checkpoints within a run.
const FOLDER: &str = "checkpoints";
/// Name of the root.
pub(super) const ROOT: &str = "index.json";
/// Folder of the attempts.
pub(super) const SAVES: &str = "saves";
/// Name of the manifest within an attempt's folder.
pub(super) const MANIFEST: &str = "manifest.json";
/// Largest JSON file that is read.
pub(super) const JSON_LIMIT: u64 = 64 << 20;
/// How long an answer is waited for: longer than the client takes to give up by itself.
const PATIENCE: Duration = Duration::from_secs(300);

/// The checkpoints of one run. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    pub(super) place: Place,
    patience: Duration,
}

/// A root file: how it's told from others.
#[derive(Debug, Clone)]
pub(super) struct RootVersion {
    /// For stores that can compare and swap.
    pub(super) update: UpdateVersion,
    /// For those that can't.
    pub(super) content: Bytes,
}

/// How an attempt to move the root ended.
#[derive(Debug)]
pub(super) enum Swapped {
    /// It's moved, and is this file now.
    Done(RootVersion),
    /// It isn't: it was moved by somebody else.
    Conflict,
}

impl Checkpoints {
    /// The checkpoints of the run at `run`; nothing is read yet.
    pub fn open(run: &Place) -> Self {
        Self { place: run.child(FOLDER), patience: PATIENCE }
    }

    /// With another limit for how long the store's answer to a single request is waited for.
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Where they are.
    pub fn address(&self) -> &str {
        self.place.address()
    }

    /// What the run has; none if there is no checkpoint yet.
    ///
    /// # Errors
    /// If the root can't be read or is damaged.
    pub async fn root(&self) -> Result<Option<Root>, CheckpointError> {
        let found = self.read_root().await?;
        found.map(|version| self.parse_root(&version.content)).transpose()
    }

    /// The root file as it is now.
    pub(super) async fn read_root(&self) -> Result<Option<RootVersion>, CheckpointError> {
        let object = || self.place.address_of(ROOT);
        let read = async {
            let failed = |source| PlaceError::Read { object: object(), source };
            let found = match self.place.store().get(&Path::from(ROOT)).await {
                Err(ObjectError::NotFound { .. }) => return Ok(None),
                other => other.map_err(failed)?,
            };
            let (bytes, limit) = (found.meta.size, JSON_LIMIT);
            if bytes > limit {
                return Err(PlaceError::TooLarge { object: object(), bytes, limit });
            }
            let (e_tag, version) = (found.meta.e_tag.clone(), found.meta.version.clone());
            let content = found.bytes().await.map_err(failed)?;
            Ok(Some(RootVersion { update: UpdateVersion { e_tag, version }, content }))
        };
        self.patiently(ROOT, read).await
    }

    /// The root as it is now, with its file; none if there isn't any.
    pub(super) async fn current(&self) -> Result<Option<(Root, RootVersion)>, CheckpointError> {
        let found = self.read_root().await?;
        found.map(|version| Ok((self.parse_root(&version.content)?, version))).transpose()
    }

    /// The root as it is now, with its file.
    pub(super) async fn required(&self) -> Result<(Root, RootVersion), CheckpointError> {
        let current = self.current().await?;
        current.ok_or_else(|| CheckpointError::NoRun(self.address().to_owned()))
    }

    /// Puts `next` in the place of the root, if that is still the file `before`.
    pub(super) async fn swap_root(
        &self,
        before: Option<&RootVersion>,
        next: &Root,
    ) -> Result<Swapped, CheckpointError> {
        let content = json(next, || self.place.address_of(ROOT))?;
        let update = before.map(|version| version.update.clone());
        let mode = update.map_or(PutMode::Create, PutMode::Update);
        let moved = match self.put_root(mode, &content).await? {
            // A local directory: there it's compared first and written then.
            Err(ObjectError::NotImplemented { .. }) => {
                let found = self.read_root().await?;
                if found.map(|found| found.content) != before.map(|before| before.content.clone()) {
                    return Ok(Swapped::Conflict);
                }
                self.put_root(PutMode::Overwrite, &content).await?
            }
            other => other,
        };
        match moved {
            Ok(update) => Ok(Swapped::Done(RootVersion { update, content })),
            // Not found: it has been deleted.
            Err(
                ObjectError::AlreadyExists { .. }
                | ObjectError::Precondition { .. }
                | ObjectError::NotFound { .. },
            ) => {
                // A write whose answer got lost and which was sent again meets its own result.
                let found = self.read_root().await?;
                let own = found.filter(|found| found.content == content);
                Ok(own.map_or(Swapped::Conflict, Swapped::Done))
            }
            Err(source) => {
                Err(PlaceError::Write { object: self.place.address_of(ROOT), source }.into())
            }
        }
    }

    async fn put_root(
        &self,
        mode: PutMode,
        content: &Bytes,
    ) -> Result<Result<UpdateVersion, ObjectError>, CheckpointError> {
        let path = Path::from(ROOT);
        let put = self.place.store().put_opts(&path, content.clone().into(), mode.into());
        let done = self.patiently(ROOT, async { Ok(put.await) }).await?;
        Ok(done.map(|done| UpdateVersion { e_tag: done.e_tag, version: done.version }))
    }

    /// The error for a root that others change too often.
    pub(super) fn busy(&self) -> CheckpointError {
        CheckpointError::Busy(self.place.address_of(ROOT))
    }

    /// The error for a root that was moved to `found` by another trainer.
    pub(super) fn raced(&self, found: Option<&Root>) -> CheckpointError {
        let latest = found.map(|root| format!("it is at {} now", root.latest().id));
        CheckpointError::Raced {
            root: self.place.address_of(ROOT),
            found: latest.unwrap_or_else(|| "it is gone".to_owned()),
        }
    }

    pub(super) fn parse_root(&self, content: &[u8]) -> Result<Root, CheckpointError> {
        parse(content, || self.place.address_of(ROOT))
    }

    /// Reads object `name` whole, unless it's larger than `limit` bytes.
    pub(super) async fn read(&self, name: &str, limit: u64) -> Result<Bytes, CheckpointError> {
        self.patiently(name, self.place.read(name, limit)).await
    }

    /// Writes object `name`; when this returns, the store has acknowledged it.
    pub(super) async fn write(&self, name: &str, content: Bytes) -> Result<(), CheckpointError> {
        self.patiently(name, self.place.write(name, content)).await
    }

    /// Waits for the store's answer about object `name`, but not forever.
    pub(super) async fn patiently<T>(
        &self,
        name: &str,
        work: impl Future<Output = Result<T, PlaceError>>,
    ) -> Result<T, CheckpointError> {
        match tokio::time::timeout(self.patience, work).await {
            Ok(answer) => Ok(answer?),
            Err(_) => {
                let object = self.place.address_of(name);
                Err(CheckpointError::Silent { object, seconds: self.patience.as_secs() })
            }
        }
    }
}

/// Name of `file` of attempt `save`.
pub(super) fn name_in(save: SaveId, file: impl std::fmt::Display) -> String {
    format!("{SAVES}/{save}/{file}")
}

/// Writes `value` as a JSON file; `object` is its full address.
pub(super) fn json<T: Serialize>(
    value: &T,
    object: impl Fn() -> String,
) -> Result<Bytes, CheckpointError> {
    let json = serde_json::to_vec_pretty(value)
        .map_err(|source| CheckpointError::Json { object: object(), source })?;
    Ok(Bytes::from(json))
}

/// Reads a JSON file that says which format it is of; `object` is its full address.
pub(super) fn parse<T: DeserializeOwned>(
    content: &[u8],
    object: impl Fn() -> String,
) -> Result<T, CheckpointError> {
    #[derive(Deserialize)]
    struct Format {
        format: String,
    }
    let failed = |source| CheckpointError::Json { object: object(), source };
    let Format { format } = serde_json::from_slice(content).map_err(failed)?;
    if format != FORMAT {
        return Err(CheckpointError::Format { object: object(), found: format, known: FORMAT });
    }
    serde_json::from_slice(content).map_err(failed)
}
