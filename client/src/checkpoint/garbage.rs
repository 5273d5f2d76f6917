//! Which objects no checkpoint needs any more. Pure.

use std::collections::{HashMap, HashSet};

use time::OffsetDateTime;

use super::manifest::{Chunk, Manifest};
use super::store::{MANIFEST, SAVES};
use super::{Root, SaveId};

/// An object of an attempt, as the store lists it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stored {
    pub(super) save: SaveId,
    /// Its name within the attempt's folder.
    pub(super) file: String,
    pub(super) bytes: u64,
    pub(super) modified: OffsetDateTime,
}

impl Stored {
    /// Reads a name such as `saves/0123456789abcdef/manifest.json`; none if it's of no attempt.
    pub(super) fn parse(name: &str, bytes: u64, modified: OffsetDateTime) -> Option<Self> {
        let (save, file) = name.strip_prefix(SAVES)?.strip_prefix('/')?.split_once('/')?;
        Some(Self { save: save.parse().ok()?, file: file.to_owned(), bytes, modified })
    }

    fn is_manifest(&self) -> bool {
        self.file == MANIFEST
    }
}

/// The chunks of a checkpoint.
pub(super) fn chunks(manifest: &Manifest) -> HashSet<Chunk> {
    manifest.parts.values().flat_map(|part| part.chunks.iter().copied()).collect()
}

/// What can be deleted.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Garbage {
    /// Objects that belonged to checkpoints which are no longer listed. Manifests come first: what
    /// has lost a chunk mustn't look whole.
    pub(super) released: Vec<Stored>,
    /// Objects of attempts that seem to have been given up. One that is still going on must be kept
    /// from being listed before they are deleted.
    pub(super) orphans: Vec<Stored>,
}

/// Sorts out the objects that nothing needs which `root` lists, and which has the chunks `needed`.
/// `gone` are the attempts whose checkpoints were listed until now, and `released` their chunks.
/// Attempts that nobody lists are left alone if they have written anything since `since`.
pub(super) fn garbage(
    stored: Vec<Stored>,
    root: &Root,
    needed: &HashSet<Chunk>,
    gone: &HashSet<SaveId>,
    released: &HashSet<Chunk>,
    since: OffsetDateTime,
) -> Garbage {
    let mut newest: HashMap<SaveId, OffsetDateTime> = HashMap::new();
    for object in &stored {
        let newest = newest.entry(object.save).or_insert(object.modified);
        *newest = (*newest).max(object.modified);
    }
    let named = |chunks: &HashSet<Chunk>, object: &Stored| {
        let digest = object.file.parse().ok();
        digest.is_some_and(|blake3| chunks.contains(&Chunk { blake3, save: object.save }))
    };
    let mut garbage = Garbage::default();
    for object in stored {
        if root.saved_by(object.save).is_some() || named(needed, &object) {
            continue;
        }
        if gone.contains(&object.save) || named(released, &object) {
            garbage.released.push(object);
        } else if newest.get(&object.save).is_some_and(|newest| *newest < since) {
            garbage.orphans.push(object);
        }
    }
    garbage.released.sort_by_key(|object| !object.is_manifest());
    garbage.orphans.sort_by_key(|object| !object.is_manifest());
    garbage
}
