//! The root: which checkpoints a run has. Pure.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::manifest::{Manifest, Metrics, Position};
use super::{CheckpointId, FORMAT, SaveId};
use crate::Digest;
use crate::timestamp::Timestamp;

/// The checkpoints of a run: `index.json`. There is at least one; a run that has none yet has no
/// root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "File", into = "File")]
pub struct Root {
    latest: CheckpointId,
    best: Option<CheckpointId>,
    sweeps: u64,
    checkpoints: Vec<Entry>,
}

/// One checkpoint, as the root lists it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its name.
    pub id: CheckpointId,
    /// The attempt that wrote it.
    pub save: SaveId,
    /// BLAKE3 of its manifest.
    pub manifest: Digest,
    /// How far the run was.
    pub position: Position,
    /// When it was taken.
    pub created: Timestamp,
    /// Bytes of all its parts, those that it shares with others included.
    pub bytes: u64,
    /// Figures of it, such as losses.
    pub metrics: Metrics,
    /// Whether it is kept until somebody says otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
}

impl Entry {
    /// The entry for what `save` wrote: `manifest`, whose bytes have the hash `digest`.
    pub fn of(manifest: &Manifest, digest: Digest, save: SaveId) -> Self {
        Self {
            id: manifest.checkpoint,
            save,
            manifest: digest,
            position: manifest.position,
            created: manifest.created,
            bytes: manifest.bytes(),
            metrics: manifest.metrics.clone(),
            pinned: false,
        }
    }
}

/// The root as it is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    latest: CheckpointId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    best: Option<CheckpointId>,
    sweeps: u64,
    checkpoints: Vec<Entry>,
}

impl TryFrom<File> for Root {
    type Error = String;

    fn try_from(file: File) -> Result<Self, String> {
        let File { format, latest, best, sweeps, checkpoints } = file;
        if format != FORMAT {
            return Err(format!("format {format:?}, where {FORMAT:?} is known"));
        }
        let (mut ids, mut saves) = (BTreeSet::new(), BTreeSet::new());
        if !checkpoints.iter().all(|entry| ids.insert(entry.id) && saves.insert(entry.save)) {
            return Err("a checkpoint is listed twice".to_owned());
        }
        if let Some(id) = best.iter().chain([&latest]).find(|id| !ids.contains(id)) {
            return Err(format!("{id} isn't listed, but said to be the latest or best"));
        }
        Ok(Self { latest, best, sweeps, checkpoints })
    }
}

impl From<Root> for File {
    fn from(root: Root) -> Self {
        let Root { latest, best, sweeps, checkpoints } = root;
        Self { format: FORMAT.to_owned(), latest, best, sweeps, checkpoints }
    }
}

/// The checkpoint isn't listed (any more).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unlisted;

impl Root {
    /// All checkpoints, in the order in which they were saved.
    pub fn checkpoints(&self) -> &[Entry] {
        &self.checkpoints
    }

    /// Checkpoint `id`, if it's listed.
    pub fn get(&self, id: CheckpointId) -> Option<&Entry> {
        self.checkpoints.iter().find(|entry| entry.id == id)
    }

    /// What attempt `save` wrote, if it's listed.
    pub fn saved_by(&self, save: SaveId) -> Option<&Entry> {
        self.checkpoints.iter().find(|entry| entry.save == save)
    }

    /// The one that the run goes on from.
    #[expect(clippy::expect_used, reason = "every way to make a root sees to it")]
    pub fn latest(&self) -> &Entry {
        self.get(self.latest).expect("the latest is listed")
    }

    /// The best one, if any has been called so.
    pub fn best(&self) -> Option<&Entry> {
        self.best.and_then(|id| self.get(id))
    }

    /// How often leftovers of attempts that seemed to be given up have been deleted. An attempt
    /// that began before the last time may have been among them, and mustn't be listed.
    pub fn sweeps(&self) -> u64 {
        self.sweeps
    }

    /// Whether a prune has to leave `entry` alone: it's the latest, the best, or pinned.
    pub fn is_protected(&self, entry: &Entry) -> bool {
        entry.pinned || entry.id == self.latest || Some(entry.id) == self.best
    }

    /// `root` with `entry` as the latest, and as the best if it's that. It takes the place of an
    /// earlier checkpoint of the same name, and inherits its pin.
    pub fn with(root: Option<&Self>, entry: Entry, best: bool) -> Self {
        let mut next = root.cloned().unwrap_or_else(|| Self {
            latest: entry.id,
            best: None,
            sweeps: 0,
            checkpoints: Vec::new(),
        });
        let pinned = entry.pinned || next.get(entry.id).is_some_and(|before| before.pinned);
        next.checkpoints.retain(|other| other.id != entry.id);
        next.latest = entry.id;
        if best {
            next.best = Some(entry.id);
        }
        next.checkpoints.push(Entry { pinned, ..entry });
        next
    }

    /// With checkpoint `id` pinned, or not.
    ///
    /// # Errors
    /// If it isn't listed.
    pub fn with_pin(&self, id: CheckpointId, pinned: bool) -> Result<Self, Unlisted> {
        let mut next = self.clone();
        let entry = next.checkpoints.iter_mut().find(|entry| entry.id == id).ok_or(Unlisted)?;
        entry.pinned = pinned;
        Ok(next)
    }

    /// Without those of the checkpoints `ids` that aren't protected, and those that have gone.
    pub fn without(&self, ids: &BTreeSet<CheckpointId>) -> (Self, Vec<Entry>) {
        let goes = |entry: &Entry| ids.contains(&entry.id) && !self.is_protected(entry);
        let (gone, checkpoints) = self.checkpoints.iter().cloned().partition(goes);
        (Self { checkpoints, ..self.clone() }, gone)
    }

    /// With one sweep more.
    pub(super) fn swept(self) -> Self {
        let sweeps = self.sweeps.wrapping_add(1);
        self.with_sweeps(sweeps)
    }

    /// With another number of sweeps.
    pub(super) fn with_sweeps(self, sweeps: u64) -> Self {
        Self { sweeps, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(step: u64, save: u64) -> Entry {
        Entry {
            id: CheckpointId(step),
            save: SaveId(save),
            manifest: Digest::of(&save.to_le_bytes()),
            position: Position { epoch: step, sample: 0 },
            created: time::OffsetDateTime::UNIX_EPOCH.into(),
            bytes: step,
            metrics: Metrics::from_iter([("loss", 0.5), ("nan", f64::NAN)]),
            pinned: false,
        }
    }

    /// A change to a root.
    #[derive(Debug, Clone)]
    enum Change {
        Add { step: u64, best: bool },
        Pin { step: u64, pinned: bool },
        Remove(BTreeSet<u64>),
        Sweep,
    }

    fn change() -> impl Strategy<Value = Change> {
        let step = || 0..12_u64;
        prop_oneof![
            (step(), any::<bool>()).prop_map(|(step, best)| Change::Add { step, best }),
            (step(), any::<bool>()).prop_map(|(step, pinned)| Change::Pin { step, pinned }),
            prop::collection::btree_set(step(), 0..6).prop_map(Change::Remove),
            Just(Change::Sweep),
        ]
    }

    proptest! {
        #[test]
        fn every_change_leaves_a_root_that_can_be_read_and_keeps_what_is_protected(
            changes in prop::collection::vec(change(), 1..40),
        ) {
            let mut root: Option<Root> = None;
            for (save, change) in (0..).zip(changes) {
                let before = root.clone();
                let protected = |root: &Root| -> Vec<CheckpointId> {
                    let all = root.checkpoints().iter();
                    all.filter(|entry| root.is_protected(entry)).map(|entry| entry.id).collect()
                };
                match (change, before) {
                    (Change::Add { step, best }, before) => {
                        let next = Root::with(before.as_ref(), entry(step, save), best);
                        prop_assert_eq!(next.latest().save, SaveId(save));
                        prop_assert_eq!(next.checkpoints().last(), Some(next.latest()));
                        prop_assert!(!best || next.best() == Some(next.latest()));
                        let pinned = |root: &Root| {
                            let all = root.checkpoints().iter().filter(|entry| entry.pinned);
                            all.map(|entry| entry.id).collect::<BTreeSet<_>>()
                        };
                        prop_assert_eq!(before.as_ref().map(pinned).unwrap_or_default(), pinned(&next));
                        root = Some(next);
                    }
                    (_, None) => (),
                    (Change::Pin { step, pinned }, Some(before)) => {
                        let id = CheckpointId(step);
                        match before.with_pin(id, pinned) {
                            Ok(next) => {
                                prop_assert_eq!(next.get(id).unwrap().pinned, pinned);
                                root = Some(next);
                            }
                            Err(Unlisted) => prop_assert_eq!(before.get(id), None),
                        }
                    }
                    (Change::Remove(steps), Some(before)) => {
                        let ids = steps.into_iter().map(CheckpointId).collect();
                        let (next, gone) = before.without(&ids);
                        prop_assert_eq!(protected(&next), protected(&before));
                        prop_assert!(gone.iter().all(|entry| ids.contains(&entry.id)));
                        let count = next.checkpoints().len() + gone.len();
                        prop_assert_eq!(count, before.checkpoints().len());
                        root = Some(next);
                    }
                    (Change::Sweep, Some(before)) => {
                        let next = before.clone().swept();
                        prop_assert_ne!(next.sweeps(), before.sweeps());
                        root = Some(next);
                    }
                }
                if let Some(root) = &root {
                    let json = serde_json::to_string(root).unwrap();
                    prop_assert_eq!(&serde_json::from_str::<Root>(&json).unwrap(), root);
                    prop_assert!(serde_json::from_str::<Root>(&json[..json.len() - 1]).is_err());
                }
            }
        }

        #[test]
        fn arbitrary_roots_never_panic(json: String) {
            prop_assert!(serde_json::from_str::<Root>(&json).is_err());
        }
    }
}
