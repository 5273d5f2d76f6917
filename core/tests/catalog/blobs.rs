//! Whose blobs are, and where their shards go, under random commands.

use crate::support::*;
use coffer_core::bucket::{Tags, Versioning};
use coffer_core::catalog::records::{
    BlobOwner, GarbageId, GarbageRecord, PartRecord, UploadRecord,
};
use coffer_core::catalog::records::{Encryption, Lock};
use coffer_core::catalog::{CatalogError, Command, Machine, MemoryKv, Outcome};
use coffer_core::erasure::Code;
use coffer_core::ids::{BlobId, NodeId, PartNumber, UploadId};
use coffer_core::layout::ChunkShape;
use coffer_core::manifest::{Chunk, Content, ETag, Move, ObjectHeaders, Part};
use coffer_core::shard::ShardKey;
use proptest::prelude::*;
use std::collections::BTreeSet;

const NODES: u8 = 8;

#[derive(Debug, Clone)]
enum Op {
    Put(String),
    Delete(String),
    Begin,
    PutPart(u8),
    Complete,
    Abort,
    /// The so-many-eth live blob's shard to a node, as seen, or as it no longer is.
    Relocate {
        blob: usize,
        index: u8,
        to: u8,
        stale: bool,
    },
    /// A blob that nobody has claimed, or one that somebody has.
    Condemn(u8),
    /// Puts an object made of a blob that was condemned.
    PutCondemned(u8),
    Forget(usize),
}

fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => "[ab]".prop_map(Op::Put),
        2 => "[ab]".prop_map(Op::Delete),
        1 => Just(Op::Begin),
        3 => (1u8..4).prop_map(Op::PutPart),
        1 => Just(Op::Complete),
        1 => Just(Op::Abort),
        8 => (0usize..8, 0u8..3, 0..NODES, prop::bool::weighted(0.2))
            .prop_map(|(blob, index, to, stale)| Op::Relocate { blob, index, to, stale }),
        1 => (0u8..3).prop_map(Op::Condemn),
        1 => (0u8..3).prop_map(Op::PutCondemned),
        2 => (0usize..4).prop_map(Op::Forget),
    ]
}

fn blob(id: u64) -> BlobId {
    BlobId::from_bytes(u128::from(id).to_be_bytes())
}

/// Ids of blobs that only orphans have.
fn unclaimed(n: u8) -> BlobId {
    blob(u64::MAX - u64::from(n))
}

fn node(n: u8) -> NodeId {
    NodeId::from_bytes([n; 16])
}

/// A part of one chunk with three shards, the last of which may be owed.
fn sharded(blob: BlobId, id: u64, size: u64) -> Part {
    let shape = ChunkShape::new(u32::try_from(size).unwrap(), Code::new(1, 2).unwrap()).unwrap();
    let placed = vec![Some(0), Some(1), (!id.is_multiple_of(3)).then_some(2)];
    let nodes = (0..NODES).map(|n| node((n + u8::try_from(id % 7).unwrap()) % NODES)).take(3);
    let chunks = vec![Chunk { shape, placed, generations: vec![] }];
    let content = Content::Sharded { nodes: nodes.collect(), chunks };
    Part { blob, content, ..part(id, size) }
}

fn put_sharded(name: &str, id: u64, blob: BlobId) -> Command {
    let mut command = put(0, name, id, vec![]);
    if let Command::PutObject { manifest, record, .. } = &mut command {
        manifest.parts = vec![sharded(blob, id, 2000)];
        record.size = 2000;
    }
    command
}

struct World {
    machine: Machine<MemoryKv>,
    upload: Option<UploadId>,
    /// Names that have been garbage on a node.
    dead: BTreeSet<(NodeId, ShardKey)>,
}

impl World {
    fn live(&self) -> Vec<(BlobId, BlobOwner, Part)> {
        let all = self.machine.blobs(None, usize::MAX).unwrap();
        let live = all.into_iter().filter(|(_, owner)| owner.is_live());
        live.map(|(blob, _)| {
            let (owner, part) = self.machine.blob_part(blob).unwrap().unwrap();
            (blob, owner, part)
        })
        .collect()
    }

    fn garbage(&self) -> Vec<(GarbageId, GarbageRecord)> {
        self.machine.garbage(None, u64::MAX, usize::MAX).unwrap()
    }

    fn relocate(&self, id: u64, n: usize, index: u8, to: u8, stale: bool) {
        let live = self.live();
        let Some((blob, _, part)) = live.get(n % live.len().max(1)) else { return };
        let chunk = part.chunk(0).unwrap();
        let generation = chunk.key(index).generation;
        let mut step =
            Move { chunk: 0, index, from: chunk.node_of(index.into()), generation, to: node(to) };
        if stale {
            step.generation += 1;
        }
        let mut garbage = [0; 16];
        garbage[..8].copy_from_slice(&id.to_be_bytes());
        let command = Command::Relocate { blob: *blob, moves: vec![step], garbage, at_ms: id };
        let outcome = self.machine.apply(command);
        if stale {
            assert_eq!(outcome, Err(CatalogError::Moved(*blob)));
            assert_eq!(self.machine.blob_part(*blob).unwrap().unwrap().1, *part);
            return;
        }
        assert_eq!(outcome, Ok(Outcome::Done));
        let (_, moved) = self.machine.blob_part(*blob).unwrap().unwrap();
        let now = moved.chunk(0).unwrap();
        assert_eq!(now.node_of(index.into()), Some(node(to)));
        assert_eq!(now.key(index).generation, generation + 1);
        for other in (0..3).filter(|i| *i != index) {
            assert_eq!(now.node_of(other.into()), chunk.node_of(other.into()), "others stay");
            assert_eq!(now.key(other), chunk.key(other));
        }
    }

    fn step(&mut self, id: u64, op: Op) {
        let (bucket, key) = (bucket(0), key("up"));
        match op {
            Op::Put(name) => drop(done(&self.machine, put_sharded(&name, id, blob(id)))),
            Op::Delete(name) => drop(done(&self.machine, delete(0, &name, vec![], id))),
            Op::Begin => {
                let upload = UploadId::from_bytes(u128::from(id).to_be_bytes());
                let record = UploadRecord {
                    initiated_ms: id,
                    headers: ObjectHeaders::default(),
                    tags: Tags::default(),
                    lock: Lock::default(),
                    encryption: Encryption::Managed,
                    checksum: None,
                };
                done(&self.machine, Command::CreateUpload { bucket, key, upload, record });
                if let Some(before) = self.upload.replace(upload) {
                    let key = crate::support::key("up");
                    let bucket = crate::support::bucket(0);
                    done(
                        &self.machine,
                        Command::AbortUpload { bucket, key, upload: before, at_ms: id },
                    );
                }
            }
            Op::PutPart(n) => {
                let Some(upload) = self.upload else { return };
                let record =
                    PartRecord { modified_ms: id, part: sharded(blob(id), id, 5 << 20 >> 2) };
                let (number, record) = (PartNumber::new(n.into()).unwrap(), Box::new(record));
                done(&self.machine, Command::PutPart { bucket, key, upload, number, record });
            }
            Op::Complete => {
                let Some(upload) = self.upload else { return };
                let parts = self.machine.parts(upload).unwrap();
                // Only the last may be small.
                let Some((number, last)) = parts.into_iter().next_back() else { return };
                let command = Command::CompleteUpload {
                    bucket,
                    key,
                    upload,
                    parts: vec![(number, ETag::Whole(last.part.md5).to_string())],
                    version: version(id),
                    checksums: Default::default(),
                    preconditions: vec![],
                    at_ms: id,
                };
                done(&self.machine, command);
                self.upload = None;
            }
            Op::Abort => {
                let Some(upload) = self.upload.take() else { return };
                done(&self.machine, Command::AbortUpload { bucket, key, upload, at_ms: id });
            }
            Op::Relocate { blob, index, to, stale } => self.relocate(id, blob, index, to, stale),
            Op::Condemn(n) => {
                let mut blobs = vec![unclaimed(n)];
                blobs.extend(self.live().first().map(|(blob, ..)| *blob));
                let owned = self.live();
                done(&self.machine, Command::Condemn { blobs, at_ms: id });
                assert_eq!(self.live(), owned, "what has an owner is passed over");
            }
            Op::PutCondemned(n) => {
                let blob = unclaimed(n);
                if let Some(BlobOwner::Condemned { .. }) = self.machine.blob(blob).unwrap() {
                    let refusal = refused(&self.machine, put_sharded("a", id, blob));
                    assert_eq!(refusal, CatalogError::BlobRefused(blob));
                }
            }
            Op::Forget(n) => {
                let garbage = self.garbage();
                let Some((garbage, _)) = garbage.get(n) else { return };
                done(&self.machine, Command::ForgetGarbage { ids: vec![*garbage] });
            }
        }
    }

    /// Owners and owed shards are what the manifests say, and a name that was garbage once is never
    /// needed again.
    fn check(&mut self) {
        let live = self.live();
        let mut owing = BTreeSet::new();
        for (blob, owner, part) in &live {
            assert_eq!(part.blob, *blob);
            part.check().unwrap();
            if part.owes_shards() {
                owing.insert(*blob);
            }
            if let BlobOwner::Version { bucket, key, version } = owner {
                let found = self.machine.version_with_manifest(bucket, key, None).unwrap();
                assert_eq!(found.0.record.version, *version);
                assert_eq!(found.1.parts.iter().filter(|p| p.blob == *blob).count(), 1);
            }
            for placed in part.chunks().flat_map(|c| c.placed().collect::<Vec<_>>()) {
                assert!(!self.dead.contains(&placed), "{placed:?} was garbage and is live");
            }
        }
        let owed: BTreeSet<BlobId> =
            self.machine.owed(None, usize::MAX).unwrap().into_iter().collect();
        assert_eq!(owed, owing);
        let garbage = self.garbage();
        for (blob, owner) in self.machine.blobs(None, usize::MAX).unwrap() {
            if let BlobOwner::Garbage(id) = owner {
                let row = garbage.iter().find(|(g, _)| *g == id);
                let Some((_, GarbageRecord::Data(manifest))) = row else {
                    panic!("{blob}: no row")
                };
                assert!(manifest.parts.iter().any(|p| p.blob == blob));
            }
        }
        self.dead.extend(garbage.iter().flat_map(|(_, record)| record.shards()));
    }
}

proptest! {
    #[test]
    fn names_that_were_garbage_are_never_needed_again(ops in prop::collection::vec(ops(), 1..60)) {
        let machine = machine(Versioning::Unversioned);
        let mut world = World { machine, upload: None, dead: BTreeSet::new() };
        for (id, op) in ops.into_iter().enumerate() {
            world.step(id as u64 + 1, op);
            world.check();
        }
    }
}

#[test]
fn the_same_data_can_be_claimed_once_only() {
    let machine = machine(Versioning::Unversioned);
    done(&machine, put_sharded("a", 1, blob(1)));
    let again = refused(&machine, put_sharded("b", 2, blob(1)));
    assert_eq!(again, CatalogError::BlobRefused(blob(1)));
    done(&machine, delete(0, "a", vec![], 3));
    let still = refused(&machine, put_sharded("b", 4, blob(1)));
    assert_eq!(still, CatalogError::BlobRefused(blob(1)), "its shards are being deleted");
}
