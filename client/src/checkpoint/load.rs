//! Reading checkpoints; every byte is checked.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use futures::stream::{self, Stream, StreamExt, TryStreamExt};

use super::manifest::{Chunk, Manifest, Part};
use super::store::{JSON_LIMIT, MANIFEST, name_in, parse};
use super::{CheckpointError, Checkpoints, Entry, Selector};
use crate::Digest;

/// Chunks that are read at the same time.
const IN_FLIGHT: usize = 8;

/// A checkpoint in memory.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// How the root lists it.
    pub entry: Entry,
    /// Its description.
    pub manifest: Manifest,
    /// Its files, by name.
    pub parts: BTreeMap<String, Bytes>,
}

/// A thing that is wrong with a checkpoint.
#[derive(Debug)]
pub struct Problem {
    /// The part that it is in; none if the manifest itself can't be used.
    pub part: Option<String>,
    /// What is wrong, with the full address of the object.
    pub error: CheckpointError,
}

impl Checkpoints {
    /// How the root lists the checkpoint that is wanted.
    ///
    /// # Errors
    /// If it isn't there, or the root can't be read.
    pub async fn find(&self, wanted: Selector) -> Result<Entry, CheckpointError> {
        let (root, _) = self.required().await?;
        wanted.find(&root).cloned().ok_or_else(|| CheckpointError::Missing {
            run: self.address().to_owned(),
            wanted: wanted.to_string(),
        })
    }

    /// The manifest of the checkpoint that is listed as `entry`.
    ///
    /// # Errors
    /// If it can't be read, or isn't the one that is listed.
    pub async fn manifest(&self, entry: &Entry) -> Result<Manifest, CheckpointError> {
        let name = name_in(entry.save, MANIFEST);
        let content = self.read(&name, JSON_LIMIT).await?;
        let object = || self.place.address_of(&name);
        let corrupt = |problem: &str| CheckpointError::Corrupt {
            object: object(),
            problem: problem.to_owned(),
        };
        if Digest::of(&content) != entry.manifest {
            return Err(corrupt("isn't the manifest that the root lists"));
        }
        let manifest: Manifest = parse(&content, object)?;
        if manifest.checkpoint != entry.id {
            return Err(corrupt("belongs to another checkpoint"));
        }
        Ok(manifest)
    }

    /// The content of `part`, chunk by chunk in order, each checked; a few are read ahead.
    pub fn chunks<'a>(
        &'a self,
        part: &'a Part,
    ) -> impl Stream<Item = Result<Bytes, CheckpointError>> + Send + 'a {
        let refused = part.sized_chunks().is_none().then(|| Err(self.misfit()));
        let chunks = part.sized_chunks().into_iter().flatten();
        let read = chunks.map(|(chunk, bytes)| self.chunk(chunk, bytes));
        stream::iter(refused).chain(stream::iter(read).buffered(IN_FLIGHT))
    }

    /// Reads the checkpoint that is listed as `entry`, all of it.
    ///
    /// # Errors
    /// If anything of it can't be read or is damaged.
    pub async fn load(&self, entry: &Entry) -> Result<Loaded, CheckpointError> {
        let manifest = self.manifest(entry).await?;
        let mut parts = BTreeMap::new();
        for (name, part) in &manifest.parts {
            parts.insert(name.clone(), self.part(entry, name, part).await?);
        }
        Ok(Loaded { entry: entry.clone(), manifest, parts })
    }

    async fn part(&self, entry: &Entry, name: &str, part: &Part) -> Result<Bytes, CheckpointError> {
        let chunks: Vec<Bytes> = self.chunks(part).try_collect().await?;
        let content = joined(chunks);
        if Digest::of(&content) != part.blake3 {
            return Err(CheckpointError::Corrupt {
                object: self.place.address_of(&name_in(entry.save, MANIFEST)),
                problem: format!("{name}: the chunks don't make up the whole that it describes"),
            });
        }
        Ok(content)
    }

    /// The error for a manifest whose chunks don't make up what it describes.
    pub(super) fn misfit(&self) -> CheckpointError {
        let problem = "a manifest's chunks don't make up the part that it describes".to_owned();
        CheckpointError::Corrupt { object: self.address().to_owned(), problem }
    }

    /// Reads chunk `chunk` of `bytes` bytes, and checks it.
    pub(super) async fn chunk(&self, chunk: Chunk, bytes: u64) -> Result<Bytes, CheckpointError> {
        let name = name_in(chunk.save, chunk.blake3);
        let content = self.read(&name, bytes).await?;
        let found = Digest::of(&content);
        if found != chunk.blake3 {
            return Err(CheckpointError::Corrupt {
                object: self.place.address_of(&name),
                problem: format!("{} bytes with BLAKE3 {found}, of {bytes}", content.len()),
            });
        }
        Ok(content)
    }

    /// Reads all of the checkpoint that is listed as `entry`, and tells everything that is wrong
    /// with it. `progress` is told the bytes of each chunk that was looked at.
    ///
    /// # Errors
    /// If the store is out of reach; damage is no error here.
    pub async fn verify(
        &self,
        entry: &Entry,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<Vec<Problem>, CheckpointError> {
        let manifest = match self.manifest(entry).await {
            Err(error) if error.is_corruption() => {
                return Ok(vec![Problem { part: None, error }]);
            }
            other => other?,
        };
        let mut problems = Vec::new();
        for (name, part) in &manifest.parts {
            let mut hasher = blake3::Hasher::new();
            let mut chunks = std::pin::pin!(self.chunks(part));
            let before = problems.len();
            while let Some(chunk) = chunks.next().await {
                match chunk {
                    Ok(content) => {
                        hasher.update(&content);
                        progress(u64::try_from(content.len()).unwrap_or(u64::MAX));
                    }
                    Err(error) if error.is_corruption() => {
                        problems.push(Problem { part: Some(name.clone()), error });
                    }
                    Err(error) => return Err(error),
                }
            }
            if problems.len() == before && Digest::from(hasher.finalize()) != part.blake3 {
                let object = self.place.address_of(&name_in(entry.save, MANIFEST));
                let problem = format!("{name}: the chunks don't make up the whole");
                let error = CheckpointError::Corrupt { object, problem };
                problems.push(Problem { part: Some(name.clone()), error });
            }
        }
        Ok(problems)
    }
}

/// The pieces, one after the other. A single one, as most parts are, isn't copied.
pub(super) fn joined(pieces: Vec<Bytes>) -> Bytes {
    match <[Bytes; 1]>::try_from(pieces) {
        Ok([only]) => only,
        Err(pieces) => {
            let mut whole = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
            pieces.iter().for_each(|piece| whole.extend_from_slice(piece));
            whole.freeze()
        }
    }
}
