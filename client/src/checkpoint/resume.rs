//! Finding the checkpoint to go on from: the newest that is whole.

use std::collections::HashMap;

use super::garbage::{Stored, chunks};
use super::save::TRIES;
use super::store::{JSON_LIMIT, MANIFEST, ROOT, RootVersion, name_in, parse};
use super::{CheckpointError, Checkpoints, Entry, Loaded, Manifest, Root, SaveId, Saver, Selector};
use crate::Digest;

/// A checkpoint that was found, and of which every byte was checked.
#[derive(Debug, Clone)]
pub struct Found {
    /// The checkpoint.
    pub loaded: Loaded,
    /// What was wrong with newer ones, which were passed over, and with the root.
    pub passed_over: Vec<String>,
}

impl Found {
    fn alone(loaded: Loaded) -> Self {
        Self { loaded, passed_over: Vec::new() }
    }
}

impl Checkpoints {
    /// The checkpoint that is wanted. In place of a latest that is damaged, the newest that is
    /// whole.
    ///
    /// # Errors
    /// If it isn't there, can't be read or is damaged.
    pub async fn choose(&self, wanted: Selector) -> Result<Found, CheckpointError> {
        if wanted != Selector::Latest {
            let entry = self.find(wanted).await?;
            return match self.load(&entry).await {
                // Deleted while it was read, for instance: what is wanted may be another one now.
                Err(error) if error.is_corruption() => match self.find(wanted).await? {
                    same if same.save == entry.save => Err(error),
                    other => Ok(Found::alone(self.load(&other).await?)),
                },
                loaded => Ok(Found::alone(loaded?)),
            };
        }
        let (_, found) = self.resume().await?;
        found.ok_or_else(|| CheckpointError::NoRun(self.address().to_owned()))
    }

    /// The newest checkpoint that is whole, or none if the run has none at all; and what saves the
    /// ones that follow it.
    ///
    /// Should the root be damaged or missing, the manifests tell which checkpoints there are; the
    /// next save then writes a new root, and pins are lost.
    ///
    /// # Errors
    /// If the store can't be read, or there are checkpoints but none can be used.
    pub async fn resume(&self) -> Result<(Saver, Option<Found>), CheckpointError> {
        for _ in 0..TRIES {
            let version = self.read_root().await?;
            let before = version.as_ref().map(|version| version.content.clone());
            let outcome = self.resume_from(version).await;
            let damaged = match &outcome {
                Ok((_, found)) => found.iter().any(|found| !found.passed_over.is_empty()),
                Err(error) => error.is_corruption(),
            };
            // Others may have saved and deleted meanwhile: then what was read says nothing.
            if !damaged || self.read_root().await?.map(|now| now.content) == before {
                return outcome;
            }
        }
        Err(self.busy())
    }

    async fn resume_from(
        &self,
        version: Option<RootVersion>,
    ) -> Result<(Saver, Option<Found>), CheckpointError> {
        let mut problems = Vec::new();
        match self.recover(version.as_ref(), &mut problems).await? {
            Some(root) => self.newest(root, version, problems).await,
            None => Ok((Saver::new(self.clone(), None, version, None), None)),
        }
    }

    /// What the run has, as far as it can be told: should the root be damaged or missing, by the
    /// manifests, and what is wrong is told with it. None if there is no checkpoint yet.
    ///
    /// For those who only read. What is saved, pinned or pruned goes by the root itself.
    ///
    /// # Errors
    /// If the store can't be read, or the root is damaged and there is no manifest either.
    pub async fn recovered_root(
        &self,
    ) -> Result<(Option<Root>, Vec<CheckpointError>), CheckpointError> {
        let version = self.read_root().await?;
        let mut problems = Vec::new();
        let root = self.recover(version.as_ref(), &mut problems).await?;
        Ok((root, problems))
    }

    async fn recover(
        &self,
        version: Option<&RootVersion>,
        problems: &mut Vec<CheckpointError>,
    ) -> Result<Option<Root>, CheckpointError> {
        match version.map(|version| self.parse_root(&version.content)).transpose() {
            Ok(Some(root)) => Ok(Some(root)),
            Ok(None) => {
                let rebuilt = self.rebuild(problems).await?;
                if rebuilt.is_some() {
                    let object = self.place.address_of(ROOT);
                    let problem = "is missing, but there are checkpoints".to_owned();
                    problems.insert(0, CheckpointError::Corrupt { object, problem });
                }
                Ok(rebuilt)
            }
            Err(error) if error.is_corruption() => {
                problems.push(error);
                match self.rebuild(problems).await? {
                    None => Err(self.none_usable(std::mem::take(problems))),
                    rebuilt => Ok(rebuilt),
                }
            }
            Err(error) => Err(error),
        }
    }

    async fn newest(
        &self,
        root: Root,
        version: Option<RootVersion>,
        mut problems: Vec<CheckpointError>,
    ) -> Result<(Saver, Option<Found>), CheckpointError> {
        let latest = root.latest().clone();
        let earlier = root.checkpoints().iter().rev().filter(|entry| entry.id != latest.id);
        for entry in std::iter::once(&latest).chain(earlier) {
            match self.load(entry).await {
                Ok(loaded) => {
                    let follows = Some((&loaded.entry, &loaded.manifest));
                    let saver = Saver::new(self.clone(), Some(root.clone()), version, follows);
                    let passed_over = problems.iter().map(CheckpointError::to_string).collect();
                    return Ok((saver, Some(Found { loaded, passed_over })));
                }
                Err(error) if error.is_corruption() => problems.push(error),
                Err(error) => return Err(error),
            }
        }
        Err(self.none_usable(problems))
    }

    fn none_usable(&self, problems: Vec<CheckpointError>) -> CheckpointError {
        let place = self.address().to_owned();
        match problems.into_iter().next() {
            Some(newest) => CheckpointError::NoneUsable { place, newest: Box::new(newest) },
            None => CheckpointError::NoRun(place),
        }
    }

    /// A root made from the manifests of which all chunks are there; none if there are none.
    async fn rebuild(
        &self,
        problems: &mut Vec<CheckpointError>,
    ) -> Result<Option<Root>, CheckpointError> {
        let stored = self.stored().await?;
        let sizes: HashMap<(SaveId, &str), u64> = stored
            .iter()
            .map(|object| ((object.save, object.file.as_str()), object.bytes))
            .collect();
        let mut found: Vec<(Entry, bool)> = Vec::new();
        for Stored { save, .. } in stored.iter().filter(|object| object.file == MANIFEST) {
            match self.unlisted(*save).await {
                Ok((entry, manifest)) => {
                    let there = |chunk: &super::Chunk| {
                        sizes.contains_key(&(chunk.save, chunk.blake3.to_string().as_str()))
                    };
                    if chunks(&manifest).iter().all(there) {
                        found.push((entry, manifest.best));
                    }
                }
                Err(error) if error.is_corruption() => problems.push(error),
                Err(error) => return Err(error),
            }
        }
        found.sort_by_key(|(entry, _)| (entry.created, entry.id));
        let root = found
            .into_iter()
            .fold(None, |root, (entry, best)| Some(Root::with(root.as_ref(), entry, best)));
        // A number that no attempt has seen.
        let sweeps = SaveId::random().map_err(CheckpointError::Random)?;
        Ok(root.map(|root| root.with_sweeps(sweeps.0 >> 16)))
    }

    /// What attempt `save` wrote, whether it's listed or not.
    async fn unlisted(&self, save: SaveId) -> Result<(Entry, Manifest), CheckpointError> {
        let name = name_in(save, MANIFEST);
        let content = self.read(&name, JSON_LIMIT).await?;
        let manifest: Manifest = parse(&content, || self.place.address_of(&name))?;
        Ok((Entry::of(&manifest, Digest::of(&content), save), manifest))
    }
}
