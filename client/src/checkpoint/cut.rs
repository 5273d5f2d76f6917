//! Cutting a checkpoint into the chunks that it is stored as. Pure.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use super::manifest::{CHUNK, Chunk, Energy, Lineage, Manifest, Metrics, Parent, Part, Position};
use super::{CheckpointId, FORMAT, SaveId};
use crate::Digest;
use crate::timestamp::Timestamp;

/// What is to be saved, in memory.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The name: steps taken so far.
    pub id: CheckpointId,
    /// When it was taken.
    pub created: Timestamp,
    /// How far the run is.
    pub position: Position,
    /// Whether it's the best so far.
    pub best: bool,
    /// Its files, by name.
    pub parts: BTreeMap<String, Bytes>,
    /// Where it comes from; who saves it fills in the parent.
    pub lineage: Lineage,
    /// Figures of it, such as losses.
    pub metrics: Metrics,
    /// What the run has consumed, if that is measured.
    pub energy: Option<Energy>,
}

/// A snapshot, cut into chunks that share its memory, and hashed.
#[derive(Debug, Clone)]
pub struct Cut {
    snapshot: Snapshot,
    parts: BTreeMap<String, (Digest, Vec<Piece>)>,
}

#[derive(Debug, Clone)]
struct Piece {
    blake3: Digest,
    content: Bytes,
}

/// The attempts that hold chunks, by the chunks' hashes.
pub(super) type Holders = HashMap<Digest, SaveId>;

impl Cut {
    /// Cuts and hashes `snapshot`: work for a processor, a gigabyte or so per second.
    pub fn of(snapshot: Snapshot) -> Self {
        let cut = |content: &Bytes| {
            let size = usize::try_from(CHUNK).unwrap_or(usize::MAX);
            let piece = |at: usize| {
                let content = content.slice(at..content.len().min(at.saturating_add(size)));
                Piece { blake3: Digest::of(&content), content }
            };
            let pieces: Vec<Piece> = (0..content.len()).step_by(size).map(piece).collect();
            (Digest::of(content), pieces)
        };
        let parts =
            snapshot.parts.iter().map(|(name, content)| (name.clone(), cut(content))).collect();
        Self { snapshot, parts }
    }

    /// The checkpoint's name.
    pub fn id(&self) -> CheckpointId {
        self.snapshot.id
    }

    /// Whether it's the best so far.
    pub(super) fn best(&self) -> bool {
        self.snapshot.best
    }

    /// Bytes of all parts.
    pub fn bytes(&self) -> u64 {
        let sizes = self.snapshot.parts.values().map(Bytes::len);
        u64::try_from(sizes.sum::<usize>()).unwrap_or(u64::MAX)
    }

    /// The chunks that none of `held` has, each once, in the order in which they come.
    pub(super) fn missing(&self, held: &Holders) -> Vec<(Digest, Bytes)> {
        let mut seen = std::collections::HashSet::new();
        self.pieces()
            .filter(|piece| !held.contains_key(&piece.blake3) && seen.insert(piece.blake3))
            .map(|piece| (piece.blake3, piece.content.clone()))
            .collect()
    }

    /// The manifest for attempt `save`, which writes what is missing in `held`.
    pub(super) fn manifest(
        &self,
        save: SaveId,
        held: &Holders,
        parent: Option<Parent>,
    ) -> Manifest {
        let chunk = |piece: &Piece| Chunk {
            blake3: piece.blake3,
            save: held.get(&piece.blake3).copied().unwrap_or(save),
        };
        let part = |(name, (blake3, pieces)): (&String, &(Digest, Vec<Piece>))| {
            let bytes = pieces.iter().map(|piece| piece.content.len()).sum::<usize>();
            let chunks = pieces.iter().map(chunk).collect();
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            (name.clone(), Part { bytes, blake3: *blake3, chunks })
        };
        let Snapshot { id, created, position, best, lineage, metrics, energy, .. } = &self.snapshot;
        Manifest {
            format: FORMAT.to_owned(),
            checkpoint: *id,
            created: *created,
            position: *position,
            best: *best,
            parts: self.parts.iter().map(part).collect(),
            lineage: Lineage { parent, ..lineage.clone() },
            metrics: metrics.clone(),
            energy: energy.clone(),
        }
    }

    fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.parts.values().flat_map(|(_, pieces)| pieces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Program, RunId};
    use proptest::prelude::*;

    fn snapshot(parts: BTreeMap<String, Bytes>) -> Snapshot {
        let program = Program { name: "test".to_owned(), version: "1".to_owned() };
        Snapshot {
            id: CheckpointId(1),
            created: Timestamp::now(),
            position: Position::default(),
            best: false,
            parts,
            lineage: Lineage {
                run: RunId(1),
                parent: None,
                init_from: None,
                dataset: None,
                config: serde_json::Value::Null,
                revision: None,
                program,
            },
            metrics: Metrics::default(),
            energy: None,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// What is missing and what is held make up each part, whatever is held.
        #[test]
        fn the_chunks_make_up_the_parts(
            sizes in prop::collection::vec((0usize..3, -1..2_isize, 0..3_u8), 0..3), held: u8,
        ) {
            let chunk = usize::try_from(CHUNK).unwrap();
            let content = |(chunks, more, byte): (usize, isize, u8)| {
                Bytes::from(vec![byte; (chunks * chunk).saturating_add_signed(more)])
            };
            let parts: BTreeMap<String, Bytes> = (0..).zip(sizes)
                .map(|(at, size): (usize, _)| (at.to_string(), content(size))).collect();
            let cut = Cut::of(snapshot(parts.clone()));
            let all: HashMap<Digest, Bytes> = cut.missing(&Holders::new()).into_iter().collect();
            let held: Holders = all.keys().copied().zip([1, 2, 4, 8, 16])
                .filter(|(_, bit)| held & bit != 0).map(|(blake3, _)| (blake3, SaveId(7))).collect();
            let written: HashMap<Digest, Bytes> = cut.missing(&held).into_iter().collect();
            prop_assert_eq!(written.len() + held.len(), all.len());
            let manifest = cut.manifest(SaveId(8), &held, None);
            prop_assert_eq!(manifest.bytes(), cut.bytes());
            for (name, part) in &manifest.parts {
                let mut whole = Vec::new();
                for (chunk, size) in part.sized_chunks().unwrap() {
                    prop_assert_eq!(chunk.save, if held.contains_key(&chunk.blake3) { SaveId(7) } else { SaveId(8) });
                    prop_assert!(written.contains_key(&chunk.blake3) != held.contains_key(&chunk.blake3));
                    let content = &all[&chunk.blake3];
                    prop_assert_eq!((Digest::of(content), content.len() as u64), (chunk.blake3, size));
                    whole.extend_from_slice(content);
                }
                prop_assert!(whole == parts[name]);
                prop_assert_eq!((part.blake3, part.bytes), (Digest::of(&whole), whole.len() as u64));
            }
        }
    }
}
