//! Reading checkpoints: the newest good one, or one by name.

use std::collections::BTreeMap;

use bytes::Bytes;
use coffer_client::Digest;
use coffer_client::place::{Place, PlaceError};
use futures::TryStreamExt;
use object_store::ObjectStore;
use serde::de::DeserializeOwned;

use super::format::{FORMAT, LATEST, Latest, MANIFEST, Manifest, Part, STATE};
use super::{Checkpoint, CheckpointError, CheckpointId, Checkpoints, JSON_LIMIT, PART_LIMIT};

/// A checkpoint that was found and verified.
#[derive(Debug)]
pub struct Found {
    /// Its name.
    pub id: CheckpointId,
    /// Its content.
    pub checkpoint: Checkpoint,
    /// What was wrong with newer ones, which were passed over.
    pub passed_over: Vec<String>,
}

/// Which checkpoint of a run is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Which {
    /// The newest that is sound.
    #[default]
    Newest,
    /// The one with the least validation loss; the newest if no samples were held out.
    Best,
    /// This one.
    Named(CheckpointId),
}

impl Checkpoints {
    /// The checkpoint that is wanted.
    ///
    /// # Errors
    /// If it isn't there, or is damaged.
    pub async fn choose(&mut self, which: Which) -> Result<Found, CheckpointError> {
        let named = |id, checkpoint| Found { id, checkpoint, passed_over: Vec::new() };
        if let Which::Named(id) = which {
            return Ok(named(id, self.load(id).await?));
        }
        let newest = self.newest().await?;
        let newest =
            newest.ok_or_else(|| CheckpointError::Missing(self.place.address().to_owned()))?;
        match newest.checkpoint.state.best.filter(|_| which == Which::Best) {
            Some(best) if best != newest.id => Ok(named(best, self.load(best).await?)),
            _ => Ok(newest),
        }
    }

    /// The newest checkpoint that is complete and undamaged, or none if the run has none at all.
    ///
    /// It's the one that `latest` names; if that is damaged, the newest other one.
    ///
    /// # Errors
    /// If the store can't be read, or there are checkpoints but none can be used.
    pub async fn newest(&mut self) -> Result<Option<Found>, CheckpointError> {
        let (content, version) = self.read_latest().await?;
        self.latest = version;
        let mut problems = Vec::new();
        let mut named = None;
        if let Some(content) = content {
            let latest: Result<Latest, _> = parse(&content, || self.place.address_of(LATEST));
            match latest {
                Ok(latest) => {
                    named = Some(latest.checkpoint);
                    match self.verified(latest.checkpoint, Some(latest.manifest)).await {
                        Ok(checkpoint) => {
                            return Ok(Some(found(latest.checkpoint, checkpoint, problems)));
                        }
                        Err(error) if error.is_corruption() => problems.push(error),
                        Err(error) => return Err(error),
                    }
                }
                Err(error) => problems.push(error),
            }
        }
        for id in self.list().await?.into_iter().rev().filter(|id| Some(*id) != named) {
            match self.verified(id, None).await {
                Ok(checkpoint) => return Ok(Some(found(id, checkpoint, problems))),
                Err(error) if error.is_corruption() => problems.push(error),
                Err(error) => return Err(error),
            }
        }
        let place = self.place.address().to_owned();
        match problems.into_iter().next() {
            None => Ok(None),
            Some(newest) => Err(CheckpointError::NoneUsable { place, newest: Box::new(newest) }),
        }
    }

    /// The checkpoint named `id`.
    ///
    /// # Errors
    /// If it isn't there, or is damaged.
    pub async fn load(&self, id: CheckpointId) -> Result<Checkpoint, CheckpointError> {
        match self.verified(id, None).await {
            Err(CheckpointError::Store(error)) if error.is_not_found() => {
                Err(CheckpointError::Missing(self.place.address_of(&id.to_string())))
            }
            other => other,
        }
    }

    /// The checkpoints that have a manifest, oldest first.
    ///
    /// # Errors
    /// If the store can't list them.
    pub async fn list(&self) -> Result<Vec<CheckpointId>, CheckpointError> {
        let failed = |source| PlaceError::Read { object: self.place.address().to_owned(), source };
        let objects: Vec<_> = self.place.store().list(None).try_collect().await.map_err(failed)?;
        let mut ids: Vec<CheckpointId> = objects
            .iter()
            .filter_map(|object| object.location.as_ref().strip_suffix(MANIFEST))
            .filter_map(|folder| folder.strip_suffix('/')?.parse().ok())
            .collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// Reads checkpoint `id` and checks every byte of it against its manifest, and the manifest
    /// against `expected` if that is known.
    async fn verified(
        &self,
        id: CheckpointId,
        expected: Option<Digest>,
    ) -> Result<Checkpoint, CheckpointError> {
        let folder = self.place.child(&id.to_string());
        let object = folder.address_of(MANIFEST);
        let content = folder.read(MANIFEST, JSON_LIMIT).await?;
        let corrupt = |problem: &str| CheckpointError::Corrupt {
            object: object.clone(),
            problem: problem.to_owned(),
        };
        if expected.is_some_and(|hash| hash != Digest::of(&content)) {
            return Err(corrupt("isn't the manifest that `latest` was written for"));
        }
        let manifest: Manifest = parse(&content, || object.clone())?;
        if manifest.format != FORMAT {
            let (found, known) = (manifest.format, FORMAT);
            return Err(CheckpointError::Format { object, found, known });
        }
        if manifest.checkpoint != id {
            return Err(corrupt("belongs to another checkpoint"));
        }
        let mut parts = BTreeMap::new();
        for (name, part) in manifest.parts {
            let content = read_part(&folder, &name, part).await?;
            parts.insert(name, content);
        }
        let state = parts.remove(STATE).ok_or_else(|| corrupt("lists no state.json"))?;
        let state = parse(&state, || folder.address_of(STATE))?;
        Ok(Checkpoint { state, parts })
    }
}

async fn read_part(folder: &Place, name: &str, part: Part) -> Result<Bytes, CheckpointError> {
    let content = folder.read(name, part.bytes.min(PART_LIMIT)).await?;
    let found = Part::of(&content);
    if found == part {
        return Ok(content);
    }
    let problem = format!(
        "{} bytes with BLAKE3 {} where the manifest says {} bytes with {}",
        found.bytes, found.blake3, part.bytes, part.blake3
    );
    Err(CheckpointError::Corrupt { object: folder.address_of(name), problem })
}

fn found(id: CheckpointId, checkpoint: Checkpoint, problems: Vec<CheckpointError>) -> Found {
    let passed_over = problems.iter().map(CheckpointError::to_string).collect();
    Found { id, checkpoint, passed_over }
}

fn parse<T: DeserializeOwned>(
    content: &[u8],
    object: impl FnOnce() -> String,
) -> Result<T, CheckpointError> {
    serde_json::from_slice(content)
        .map_err(|source| CheckpointError::Json { object: object(), source })
}
