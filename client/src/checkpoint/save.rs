//! Saving: chunks, then the manifest, then the root.

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::attempt::{Attempt, Next};
use super::cut::{Cut, Holders};
use super::manifest::{Manifest, Parent};
use super::prune::References;
use super::store::{MANIFEST, RootVersion, Swapped, json, name_in};
use super::{CheckpointError, Checkpoints, Entry, Root, SaveId};
use crate::Digest;

/// Chunks that are written at the same time.
const IN_FLIGHT: usize = 4;
/// How often the root is tried to be moved, and an attempt begun anew.
pub(super) const TRIES: usize = 32;

/// The one who saves a run's checkpoints: it knows the one before, and builds on it.
///
/// There should be one for each run. Of two, the second to save is told
/// ([`CheckpointError::Raced`]).
#[derive(Debug)]
pub struct Saver {
    pub(super) checkpoints: Checkpoints,
    /// The root as it was last seen, and as which file.
    pub(super) root: Option<Root>,
    pub(super) version: Option<RootVersion>,
    /// The latest as this trainer read or wrote it.
    latest: Option<SaveId>,
    /// What the next one follows.
    parent: Option<Followed>,
    /// What checkpoints refer to, as far as it was looked up.
    pub(super) references: References,
}

/// A checkpoint of which every byte is known to be in the store.
#[derive(Debug)]
struct Followed {
    save: SaveId,
    parent: Parent,
    chunks: Holders,
}

impl Followed {
    fn of(entry: &Entry, manifest: &Manifest) -> Self {
        let chunks = manifest.parts.values().flat_map(|part| &part.chunks);
        Self {
            save: entry.save,
            parent: Parent { checkpoint: entry.id, manifest: entry.manifest },
            chunks: chunks.map(|chunk| (chunk.blake3, chunk.save)).collect(),
        }
    }
}

/// A checkpoint that was saved.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    /// How the root lists it.
    pub entry: Entry,
    /// Bytes that had to be written; the rest was there.
    pub written: u64,
}

impl Saver {
    /// A saver for a run with this root, which goes on from `follows`.
    pub(super) fn new(
        checkpoints: Checkpoints,
        root: Option<Root>,
        version: Option<RootVersion>,
        follows: Option<(&Entry, &Manifest)>,
    ) -> Self {
        let latest = root.as_ref().map(|root| root.latest().save);
        let parent = follows.map(|(entry, manifest)| Followed::of(entry, manifest));
        let references = References::default();
        Self { checkpoints, root, version, latest, parent, references }
    }

    /// Saves a checkpoint and makes it the run's latest. When this returns, all of it is
    /// acknowledged. `progress` is told the bytes of each chunk that is in the store.
    ///
    /// # Errors
    /// If the store refuses something, or another trainer has saved to the run. Either way, the
    /// checkpoints that there were are as before.
    pub async fn save(
        &mut self,
        cut: &Cut,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Saved, CheckpointError> {
        for _ in 0..TRIES {
            let (attempt, manifest, written) = self.write(cut, progress).await?;
            if self.list(&attempt).await? {
                let entry = attempt.entry;
                self.latest = Some(entry.save);
                self.parent = Some(Followed::of(&entry, &manifest));
                return Ok(Saved { entry, written });
            }
        }
        Err(self.checkpoints.busy())
    }

    /// Writes chunks and manifest.
    async fn write(
        &self,
        cut: &Cut,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(Attempt, Manifest, u64), CheckpointError> {
        let save = SaveId::random().map_err(CheckpointError::Random)?;
        let root = self.root.as_ref();
        let listed = |save| root.is_some_and(|root| root.saved_by(save).is_some());
        let nothing = Holders::new();
        let followed = self.parent.as_ref().filter(|parent| listed(parent.save));
        let held = followed.map_or(&nothing, |parent| &parent.chunks);

        let missing = cut.missing(held);
        let size = |content: &Bytes| u64::try_from(content.len()).unwrap_or(u64::MAX);
        let written = missing.iter().map(|(_, content)| size(content)).sum();
        progress(cut.bytes().saturating_sub(written));
        let writes = missing.into_iter().map(|(blake3, content)| async move {
            let bytes = size(&content);
            self.checkpoints.write(&name_in(save, blake3), content).await?;
            progress(bytes);
            Ok::<_, CheckpointError>(())
        });
        stream::iter(writes).buffer_unordered(IN_FLIGHT).try_collect::<()>().await?;

        let parent = self.parent.as_ref().map(|followed| followed.parent);
        let manifest = cut.manifest(save, held, parent);
        let name = name_in(save, MANIFEST);
        let content = json(&manifest, || self.checkpoints.place.address_of(&name))?;
        let entry = Entry::of(&manifest, Digest::of(&content), save);
        self.checkpoints.write(&name, content).await?;
        let attempt = Attempt {
            entry,
            best: cut.best(),
            latest: self.latest,
            refers_to: followed.map(|parent| parent.save),
            sweeps: root.map_or(0, Root::sweeps),
        };
        Ok((attempt, manifest, written))
    }

    /// Makes the root list what `attempt` has written; false if that can't be had any more.
    async fn list(&mut self, attempt: &Attempt) -> Result<bool, CheckpointError> {
        for _ in 0..TRIES {
            match attempt.next(self.root.as_ref()) {
                Next::Done => return Ok(true),
                Next::Again => return Ok(false),
                Next::Raced => return Err(self.checkpoints.raced(self.root.as_ref())),
                Next::Swap(next) => {
                    let swapped = self.checkpoints.swap_root(self.version.as_ref(), &next).await?;
                    if let Swapped::Done(version) = swapped {
                        (self.root, self.version) = (Some(next), Some(version));
                        return Ok(true);
                    }
                }
            }
            (self.root, self.version) = self.checkpoints.current().await?.unzip();
        }
        Err(self.checkpoints.busy())
    }
}
