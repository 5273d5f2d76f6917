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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;
    use crate::checkpoint::{CheckpointId, Entry, Metrics, Position};
    use proptest::prelude::*;

    fn blake3(number: u8) -> Digest {
        Digest::of(&[number])
    }

    fn listing(saves: &[u64]) -> Root {
        let entry = |save: u64| Entry {
            id: CheckpointId(save),
            save: SaveId(save),
            manifest: blake3(0),
            position: Position::default(),
            created: OffsetDateTime::UNIX_EPOCH.into(),
            bytes: 0,
            metrics: Metrics::default(),
            pinned: false,
        };
        let root = saves.iter().fold(None, |root: Option<Root>, save| {
            Some(Root::with(root.as_ref(), entry(*save), false))
        });
        root.unwrap()
    }

    fn at(second: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(second).unwrap()
    }

    proptest! {
        /// Attempts 1 and 2 are listed, 3 was until now, 4 and 5 never were.
        #[test]
        fn what_is_needed_or_listed_or_young_stays_and_all_else_goes(
            objects in prop::collection::btree_map((1..6_u64, 0..5_u8), 0..100_i64, 0..25),
            needed in prop::collection::hash_set((1..6_u64, 1..5_u8), 0..9),
            released in prop::collection::hash_set((1..6_u64, 1..5_u8), 0..9),
            since in 0..100_i64,
        ) {
            let name = |number: u8| match number {
                0 => MANIFEST.to_owned(),
                number => blake3(number).to_string(),
            };
            let stored = |((save, file), second): (&(u64, u8), &i64)| {
                let path = format!("{SAVES}/{}/{}", SaveId(*save), name(*file));
                Stored::parse(&path, 1, at(*second)).unwrap()
            };
            let all: Vec<Stored> = objects.iter().map(stored).collect();
            let chunk = |(save, number): &(u64, u8)| Chunk { blake3: blake3(*number), save: SaveId(*save) };
            let chunks = |set: &HashSet<(u64, u8)>| set.iter().map(chunk).collect::<HashSet<_>>();
            let found = garbage(
                all, &listing(&[1, 2]), &chunks(&needed), &HashSet::from([SaveId(3)]),
                &chunks(&released), at(since),
            );
            let is_in = |list: &[Stored], key: &(u64, u8)| {
                list.iter().any(|object| object.save.0 == key.0 && object.file == name(key.1))
            };
            for key in objects.keys() {
                let young = objects.iter().any(|(other, second)| other.0 == key.0 && *second >= since);
                let stays = key.0 < 3 || needed.contains(key);
                let goes_now = !stays && (key.0 == 3 || released.contains(key));
                prop_assert_eq!(is_in(&found.released, key), goes_now);
                prop_assert_eq!(is_in(&found.orphans, key), !stays && !goes_now && !young);
            }
            for list in [&found.released, &found.orphans] {
                prop_assert!(list.is_sorted_by_key(|object| !object.is_manifest()));
            }
        }

        #[test]
        fn names_never_panic(name: String, tail in "[a-f0-9/.]{0,40}") {
            Stored::parse(&name, 0, at(0));
            Stored::parse(&format!("{SAVES}/{tail}"), 0, at(0));
        }
    }
}
