//! Writing a checkpoint: its files, then its manifest, then `latest`.

use bytes::Bytes;
use coffer_client::Digest;
use coffer_client::place::PlaceError;
use object_store::path::Path;
use object_store::{Error as ObjectError, ObjectStore, ObjectStoreExt, PutMode, UpdateVersion};
use serde::Serialize;

use super::format::{FORMAT, LATEST, Latest, MANIFEST, Manifest, Part, STATE};
use super::{Checkpoint, CheckpointError, CheckpointId, Checkpoints, JSON_LIMIT};

impl Checkpoints {
    /// Writes `checkpoint`, named after the epochs in its history, and moves `latest` to it.
    ///
    /// Call [`Self::newest`] once before the first save, so that `latest` moves only from where it
    /// stood then.
    ///
    /// # Errors
    /// If the store refuses a file, or another trainer moved `latest`.
    pub async fn save(&mut self, checkpoint: &Checkpoint) -> Result<CheckpointId, CheckpointError> {
        let epochs = checkpoint.state.history.len();
        let id = CheckpointId(u64::try_from(epochs).unwrap_or(u64::MAX));
        // A run that resumed before this point may find its former attempt here.
        self.hide(id).await?;

        let folder = self.place.child(&id.to_string());
        let state = json(&checkpoint.state, &folder.address_of(STATE))?;
        let mut parts = checkpoint.parts.clone();
        parts.insert(STATE.to_owned(), state);
        for (name, content) in &parts {
            folder.write(name, content.clone()).await?;
        }
        let entries = parts.iter().map(|(name, content)| (name.clone(), Part::of(content)));
        let manifest = Manifest { format: FORMAT, checkpoint: id, parts: entries.collect() };
        let manifest = json(&manifest, &folder.address_of(MANIFEST))?;
        folder.write(MANIFEST, manifest.clone()).await?;
        self.move_latest(Latest { checkpoint: id, manifest: Digest::of(&manifest) }).await?;
        Ok(id)
    }

    /// Makes checkpoint `id` invisible by deleting its manifest, if it has one.
    async fn hide(&self, id: CheckpointId) -> Result<(), CheckpointError> {
        let name = format!("{id}/{MANIFEST}");
        match self.place.store().delete(&Path::from(name.as_str())).await {
            Ok(()) | Err(ObjectError::NotFound { .. }) => Ok(()),
            Err(source) => {
                Err(PlaceError::Write { object: self.place.address_of(&name), source }.into())
            }
        }
    }

    async fn move_latest(&mut self, latest: Latest) -> Result<(), CheckpointError> {
        let object = self.place.address_of(LATEST);
        let content = json(&latest, &object)?;
        let mode = self.latest.clone().map_or(PutMode::Create, PutMode::Update);
        let path = Path::from(LATEST);
        let store = self.place.store();
        let put = |mode: PutMode| store.put_opts(&path, content.clone().into(), mode.into());
        let moved = match put(mode).await {
            // Local directories can't compare and swap: there, the last writer wins.
            Err(ObjectError::NotImplemented { .. }) => put(PutMode::Overwrite).await,
            other => other,
        };
        match moved {
            Ok(done) => {
                self.latest = Some(UpdateVersion { e_tag: done.e_tag, version: done.version });
                Ok(())
            }
            Err(ObjectError::AlreadyExists { .. } | ObjectError::Precondition { .. }) => {
                self.confirm_own(&content, object).await
            }
            Err(source) => Err(PlaceError::Write { object, source }.into()),
        }
    }

    /// A write whose answer got lost and which was sent again meets its own result: that's no race.
    async fn confirm_own(
        &mut self,
        content: &Bytes,
        object: String,
    ) -> Result<(), CheckpointError> {
        let (found, version) = self.read_latest().await?;
        if found.as_ref() != Some(content) {
            return Err(CheckpointError::Raced(object));
        }
        self.latest = version;
        Ok(())
    }

    /// The bytes of `latest` and its version, if it's there.
    pub(super) async fn read_latest(
        &self,
    ) -> Result<(Option<Bytes>, Option<UpdateVersion>), CheckpointError> {
        let object = || self.place.address_of(LATEST);
        let failed = |source| PlaceError::Read { object: object(), source };
        let found = match self.place.store().get(&Path::from(LATEST)).await {
            Err(ObjectError::NotFound { .. }) => return Ok((None, None)),
            other => other.map_err(failed)?,
        };
        let bytes = found.meta.size;
        if bytes > JSON_LIMIT {
            return Err(PlaceError::TooLarge { object: object(), bytes, limit: JSON_LIMIT }.into());
        }
        let version =
            UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
        Ok((Some(found.bytes().await.map_err(failed)?), Some(version)))
    }
}

fn json<T: Serialize>(value: &T, object: &str) -> Result<Bytes, CheckpointError> {
    let json = serde_json::to_vec_pretty(value)
        .map_err(|source| CheckpointError::Json { object: object.to_owned(), source })?;
    Ok(Bytes::from(json))
}
