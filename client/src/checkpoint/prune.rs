//! Deleting checkpoints: the root first, then what no other one refers to; and pins against it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error as ObjectError, ObjectStore};
use time::OffsetDateTime;

use super::garbage::{Garbage, Stored, chunks, garbage};
use super::manifest::Chunk;
use super::save::TRIES;
use super::store::{RootVersion, SAVES, Swapped, name_in};
use super::{CheckpointError, CheckpointId, Checkpoints, Entry, Root, SaveId, Saver};
use crate::place::PlaceError;

/// How long an attempt to save that has been silent is taken for alive. It only spares attempts that
/// go on from beginning anew: none of them can list a checkpoint that has lost something.
pub const GRACE: Duration = Duration::from_secs(24 * 60 * 60);
/// Manifests that are read at the same time.
const IN_FLIGHT: usize = 8;

/// Decides which checkpoints are to go. Those that are pinned, the latest and the best stay anyway.
pub type Choice<'a> = &'a (dyn Fn(&Root) -> BTreeSet<CheckpointId> + Send + Sync);

/// What a prune did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pruned {
    /// The checkpoints that aren't listed any more.
    pub removed: Vec<Entry>,
    /// Objects that were deleted, leftovers of attempts that came to nothing included.
    pub objects: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl Pruned {
    fn of(removed: Vec<Entry>, garbage: &Garbage) -> Self {
        let objects = || garbage.released.iter().chain(&garbage.orphans);
        let bytes = objects().map(|object| object.bytes).sum();
        Self { removed, objects: objects().count(), bytes }
    }
}

/// Which chunks checkpoints refer to, remembered from prune to prune.
#[derive(Debug, Default)]
pub(super) struct References(HashMap<SaveId, Arc<HashSet<Chunk>>>);

impl Checkpoints {
    /// Takes the checkpoints that `choice` names off the root, and then deletes what no other one
    /// refers to. Leftovers of attempts that came to nothing go, too, once they're older than
    /// `grace` ([`GRACE`], usually).
    ///
    /// Should it end before everything is deleted, a later prune deletes the rest after `grace`.
    ///
    /// # Errors
    /// If the store fails, or the manifest of a checkpoint that stays is damaged: then it's unknown
    /// what it refers to, and nothing is deleted.
    pub async fn prune(
        &self,
        choice: Choice<'_>,
        grace: Duration,
    ) -> Result<Pruned, CheckpointError> {
        let current = self.required().await?;
        let (_, pruned) =
            self.prune_from(current, &mut References::default(), choice, grace).await?;
        Ok(pruned)
    }

    /// What [`Self::prune`] would do now. Nothing is changed.
    ///
    /// # Errors
    /// As there.
    pub async fn would_prune(
        &self,
        choice: Choice<'_>,
        grace: Duration,
    ) -> Result<Pruned, CheckpointError> {
        let (root, _) = self.required().await?;
        let (next, removed) = root.without(&choice(&root));
        let garbage = self.garbage(&next, &removed, &mut References::default(), grace).await?;
        Ok(Pruned::of(removed, &garbage))
    }

    /// Pins checkpoint `id`, or takes the pin off. Returns how it's listed now.
    ///
    /// # Errors
    /// If it isn't there, or the root can't be moved.
    pub async fn pin(&self, id: CheckpointId, pinned: bool) -> Result<Entry, CheckpointError> {
        let missing =
            || CheckpointError::Missing { run: self.address().to_owned(), wanted: id.to_string() };
        for _ in 0..TRIES {
            let (root, version) = self.required().await?;
            let next = root.with_pin(id, pinned).map_err(|_| missing())?;
            let entry = next.get(id).cloned().ok_or_else(missing)?;
            if next == root {
                return Ok(entry);
            }
            if let Swapped::Done(_) = self.swap_root(Some(&version), &next).await? {
                return Ok(entry);
            }
        }
        Err(self.busy())
    }

    /// As [`Self::prune`], on a root that was read as this file; returns what it is then.
    async fn prune_from(
        &self,
        current: (Root, RootVersion),
        references: &mut References,
        choice: Choice<'_>,
        grace: Duration,
    ) -> Result<((Root, RootVersion), Pruned), CheckpointError> {
        let (mut root, mut version) = current;
        for _ in 0..TRIES {
            let (next, removed) = root.without(&choice(&root));
            let garbage = match self.garbage(&next, &removed, references, grace).await {
                // Deleted meanwhile, maybe.
                Err(error) if error.is_corruption() => {
                    let (now, file) = self.required().await?;
                    if file.content == version.content {
                        return Err(error);
                    }
                    (root, version) = (now, file);
                    continue;
                }
                other => other?,
            };
            let next = if garbage.orphans.is_empty() { next } else { next.swept() };
            // Whoever saves meanwhile finds the root changed, and looks whether all is still there.
            if next != root {
                let Swapped::Done(moved) = self.swap_root(Some(&version), &next).await? else {
                    (root, version) = self.required().await?;
                    continue;
                };
                (root, version) = (next, moved);
            }
            let pruned = Pruned::of(removed, &garbage);
            for objects in [garbage.released, garbage.orphans] {
                self.delete(objects).await?;
            }
            return Ok(((root, version), pruned));
        }
        Err(self.busy())
    }

    /// What can be deleted once `root` is the root and `removed` aren't listed any more.
    async fn garbage(
        &self,
        root: &Root,
        removed: &[Entry],
        references: &mut References,
        grace: Duration,
    ) -> Result<Garbage, CheckpointError> {
        let unknown = |entry: &&Entry| !references.0.contains_key(&entry.save);
        let unknown: Vec<Entry> = root.checkpoints().iter().filter(unknown).cloned().collect();
        let read = unknown.into_iter().map(|entry| async move {
            let manifest = self.manifest(&entry).await?;
            Ok::<_, CheckpointError>((entry.save, Arc::new(chunks(&manifest))))
        });
        let read: Vec<_> = stream::iter(read).buffer_unordered(IN_FLIGHT).try_collect().await?;
        references.0.extend(read);
        let of = |entries: &[Entry]| {
            let known = entries.iter().filter_map(|entry| references.0.get(&entry.save));
            known.flat_map(|chunks| chunks.iter().copied()).collect::<HashSet<Chunk>>()
        };
        let (needed, mut released) = (of(root.checkpoints()), of(removed));
        for entry in removed.iter().filter(|entry| !references.0.contains_key(&entry.save)) {
            // One whose manifest is damaged can't say; what it alone refers to is an orphan then.
            match self.manifest(entry).await {
                Ok(manifest) => released.extend(chunks(&manifest)),
                Err(error) if error.is_corruption() => (),
                Err(error) => return Err(error),
            }
        }
        references.0.retain(|save, _| root.saved_by(*save).is_some());
        let gone = removed.iter().map(|entry| entry.save).collect();
        let stored = self.stored().await?;
        let since = OffsetDateTime::now_utc() - grace;
        Ok(garbage(stored, root, &needed, &gone, &released, since))
    }

    /// All objects of all attempts.
    pub(super) async fn stored(&self) -> Result<Vec<Stored>, CheckpointError> {
        let mut found = Vec::new();
        let mut listing = self.place.store().list(Some(&Path::from(SAVES)));
        while let Some(object) = self
            .patiently(SAVES, async {
                let failed =
                    |source| PlaceError::Read { object: self.place.address_of(SAVES), source };
                listing.try_next().await.map_err(failed)
            })
            .await?
        {
            let modified = object.last_modified.timestamp();
            let modified =
                OffsetDateTime::from_unix_timestamp(modified).unwrap_or(OffsetDateTime::UNIX_EPOCH);
            found.extend(Stored::parse(object.location.as_ref(), object.size, modified));
        }
        Ok(found)
    }

    async fn delete(&self, objects: Vec<Stored>) -> Result<(), CheckpointError> {
        let names: Vec<Path> =
            objects.iter().map(|object| Path::from(name_in(object.save, &object.file))).collect();
        let mut deleted = self.place.store().delete_stream(stream::iter(names).map(Ok).boxed());
        let failed = |source| PlaceError::Write { object: self.place.address_of(SAVES), source };
        loop {
            let next = async {
                match deleted.next().await {
                    None => Ok(false),
                    Some(Ok(_) | Err(ObjectError::NotFound { .. })) => Ok(true),
                    Some(Err(source)) => Err(failed(source)),
                }
            };
            if !self.patiently(SAVES, next).await? {
                return Ok(());
            }
        }
    }
}

impl Saver {
    /// As [`Checkpoints::prune`], between saves.
    ///
    /// # Errors
    /// As there. The checkpoints are as they were, or as they are to be.
    pub async fn prune(
        &mut self,
        choice: Choice<'_>,
        grace: Duration,
    ) -> Result<Pruned, CheckpointError> {
        let (Some(root), Some(version)) = (self.root.clone(), self.version.clone()) else {
            return Ok(Pruned::default());
        };
        let checkpoints = self.checkpoints.clone();
        let pruned =
            checkpoints.prune_from((root, version), &mut self.references, choice, grace).await;
        let ((root, version), pruned) = pruned?;
        (self.root, self.version) = (Some(root), Some(version));
        Ok(pruned)
    }
}
