//! What must be so, kept apart from the code that is tested: what was written, which versions there
//! are, where live shards are, and what has been deleted.

use crate::trace::Invariant;
use coffer_core::catalog::records::BlobOwner;
use coffer_core::catalog::{CatalogError, Command, Kv, Machine, Outcome};
use coffer_core::erasure::Code;
use coffer_core::ids::{BlobId, BucketName, NodeId, ObjectKey, PartNumber, UploadId, VersionId};
use coffer_core::manifest::Part;
use coffer_core::shard::ShardKey;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// An object's name.
pub type Name = (BucketName, ObjectKey);

/// A promise that is broken, the blob that it is about, and how.
pub type Broken = (Invariant, Option<BlobId>, String);

/// What must be so.
#[derive(Debug, Default)]
pub struct Oracle {
    /// What was written as each version.
    pub contents: BTreeMap<VersionId, Rc<Vec<u8>>>,
    /// The versions of each name, the newest last; `None` is a delete marker.
    pub versions: BTreeMap<Name, Vec<Option<VersionId>>>,
    /// For each name, what was current after which length of the log.
    history: BTreeMap<Name, Vec<(usize, Option<VersionId>)>>,
    uploads: BTreeMap<UploadId, (Name, BTreeMap<PartNumber, u64>)>,
    /// Live blobs and where they are, by the log.
    pub live: BTreeMap<BlobId, Part>,
    condemned: BTreeSet<BlobId>,
    deleted: BTreeSet<(NodeId, ShardKey)>,
    /// Blobs that are being written, and how many shards of each were destroyed meanwhile.
    pub pending: BTreeMap<BlobId, usize>,
    /// Shards that were written ahead of a relocation.
    pub ahead: BTreeMap<BlobId, Vec<(NodeId, ShardKey)>>,
}

impl Oracle {
    /// A node has stored a shard.
    pub fn stored(&mut self, node: NodeId, key: ShardKey) {
        self.deleted.remove(&(node, key));
        if let Some(part) = self.live.get(&key.blob)
            && part.chunk(key.chunk).is_some_and(|c| key.generation > c.key(key.index).generation)
        {
            self.ahead.entry(key.blob).or_default().push((node, key));
        }
    }

    /// A node has deleted a shard.
    pub fn deleted(&mut self, node: NodeId, key: ShardKey) {
        self.deleted.insert((node, key));
    }

    /// Whether a live blob's manifest names this shard on this node.
    pub fn needs(&self, node: NodeId, key: ShardKey, name: impl Fn(ShardKey) -> ShardKey) -> bool {
        let chunk = self.live.get(&key.blob).and_then(|p| p.chunk(key.chunk));
        chunk.is_some_and(|c| c.placed().any(|(n, k)| n == node && name(k) == key))
    }

    /// What was current after `length` entries of the log.
    pub fn current_at(&self, name: &Name, length: usize) -> Option<VersionId> {
        let history = self.history.get(name)?;
        history.iter().rev().find(|(at, _)| *at <= length).and_then(|(_, v)| *v)
    }

    /// Whether `version` was current after some length of the log in a range.
    pub fn was_current(
        &self,
        name: &Name,
        from: usize,
        to: usize,
        version: Option<VersionId>,
    ) -> bool {
        let then = self.current_at(name, from) == version;
        let changes = self.history.get(name).into_iter().flatten();
        then || changes.into_iter().any(|(at, v)| (from..=to).contains(at) && *v == version)
    }

    /// Whether a version is there by now.
    pub fn has(&self, name: &Name, version: VersionId) -> bool {
        self.versions.get(name).is_some_and(|all| all.contains(&Some(version)))
    }

    /// Bytes of plaintext and versions that a bucket must count.
    pub fn usage(&self, bucket: &BucketName) -> (u64, u64) {
        let of_bucket = self.versions.iter().filter(|((b, _), _)| b == bucket);
        let objects: Vec<VersionId> =
            of_bucket.flat_map(|(_, all)| all.iter().flatten().copied()).collect();
        let sizes = objects.iter().map(|v| self.contents.get(v).map_or(0, |c| c.len() as u64));
        let parts = self.uploads.values().filter(|((b, _), _)| b == bucket);
        let in_parts: u64 = parts.flat_map(|(_, parts)| parts.values()).sum();
        (objects.len() as u64, sizes.sum::<u64>() + in_parts)
    }

    /// The entry `index` of the log was applied to the catalog `truth`.
    ///
    /// # Errors
    /// What is not as it must be.
    pub fn observe<K: Kv>(
        &mut self,
        index: usize,
        command: &Command,
        outcome: &Result<Outcome, CatalogError>,
        truth: &Machine<K>,
    ) -> Result<(), Broken> {
        let failed = |e: CatalogError| (Invariant::Catalog, None, e.to_string());
        if outcome.is_ok() {
            self.record(index, command, truth)?;
        }
        let relocated = match command {
            Command::Relocate { blob, .. } => Some(*blob),
            _ => None,
        };
        let rows = truth.blobs(None, usize::MAX).map_err(failed)?;
        let mut live = BTreeMap::new();
        self.condemned.clear();
        for (blob, owner) in rows {
            if let BlobOwner::Condemned { .. } = owner {
                self.condemned.insert(blob);
            }
            if !owner.is_live() {
                continue;
            }
            if let Some(part) = self.live.remove(&blob).filter(|_| relocated != Some(blob)) {
                live.insert(blob, part);
                continue;
            }
            let (_, part) = truth.blob_part(blob).map_err(failed)?.ok_or_else(|| {
                (Invariant::Catalog, Some(blob), format!("blob {blob} is live and nowhere"))
            })?;
            self.claimed(&part, relocated.is_none())?;
            live.insert(blob, part);
        }
        self.live = live;
        self.pending.retain(|blob, _| !self.live.contains_key(blob));
        let live = &self.live;
        self.ahead.retain(|blob, shards| {
            let Some(part) = live.get(blob) else { return false };
            shards.retain(|(_, k)| {
                part.chunk(k.chunk).is_some_and(|c| k.generation > c.key(k.index).generation)
            });
            !shards.is_empty()
        });
        Ok(())
    }

    /// A blob has become live, or its shards have new places.
    fn claimed(&self, part: &Part, is_new: bool) -> Result<(), Broken> {
        let blob = part.blob;
        for chunk in part.chunks() {
            for (node, key) in chunk.placed() {
                if self.deleted.contains(&(node, key)) {
                    let what = format!("{key} on {node} was deleted, and is claimed now");
                    return Err((Invariant::DeadNameClaimed, Some(blob), what));
                }
            }
            let (placed, code) = (chunk.placed().count(), chunk.chunk.shape.code());
            if is_new && placed < quorum(code) {
                let what = format!("{placed} shards of a chunk with code {code} were acknowledged");
                return Err((Invariant::Durable, Some(blob), what));
            }
        }
        Ok(())
    }

    fn record<K: Kv>(
        &mut self,
        index: usize,
        command: &Command,
        truth: &Machine<K>,
    ) -> Result<(), Broken> {
        let versioned = |b: &BucketName| b.as_str().starts_with("versioned");
        let name = match command {
            Command::PutObject { bucket, key, record, .. } => {
                self.push((bucket, key), Some(record.version), versioned(bucket))
            }
            Command::CompleteUpload { bucket, key, upload, version, .. } => {
                self.uploads.remove(upload);
                self.push((bucket, key), Some(*version), versioned(bucket))
            }
            Command::DeleteObject { bucket, key, .. } => {
                self.push((bucket, key), None, versioned(bucket))
            }
            Command::DeleteVersion { bucket, key, version, .. } => {
                let name = (bucket.clone(), key.clone());
                let all = self.versions.entry(name.clone()).or_default();
                if let coffer_core::ids::VersionName::Id { version, .. } = version {
                    all.retain(|v| *v != Some(*version));
                }
                name
            }
            Command::CreateUpload { bucket, key, upload, .. } => {
                let name = (bucket.clone(), key.clone());
                self.uploads.insert(*upload, (name, BTreeMap::new()));
                return Ok(());
            }
            Command::PutPart { upload, number, record, .. } => {
                let upload = self.uploads.get_mut(upload);
                upload.map(|(_, parts)| parts.insert(*number, record.part.size));
                return Ok(());
            }
            Command::DeleteBucket { bucket, .. } => {
                self.uploads.retain(|_, ((b, _), _)| b != bucket);
                let held = |((b, _), all): (&Name, &Vec<_>)| b == bucket && !all.is_empty();
                if self.versions.iter().any(held) {
                    let what = format!("{bucket} was removed, and had objects");
                    return Err((Invariant::Catalog, None, what));
                }
                return Ok(());
            }
            Command::AbortUpload { upload, .. } => {
                self.uploads.remove(upload);
                return Ok(());
            }
            _ => return Ok(()),
        };
        let current = self.versions.get(&name).and_then(|all| all.last().copied()).flatten();
        self.history.entry(name.clone()).or_default().push((index + 1, current));
        let says = truth.current(&name.0, &name.1);
        let says = says.map(|c| c.map(|c| c.record.version));
        if says != Ok(current) {
            let what = format!(
                "{}/{}: {current:?} should be current, not {says:?}",
                name.0,
                name.1.as_str()
            );
            return Err((Invariant::Catalog, None, what));
        }
        Ok(())
    }

    fn push(
        &mut self,
        (bucket, key): (&BucketName, &ObjectKey),
        version: Option<VersionId>,
        keep: bool,
    ) -> Name {
        let name = (bucket.clone(), key.clone());
        let all = self.versions.entry(name.clone()).or_default();
        if !keep {
            all.clear();
        }
        if keep || version.is_some() {
            all.push(version);
        }
        name
    }
}

/// How many shards must be durable before a write is acknowledged, said apart from the code.
fn quorum(code: Code) -> usize {
    code.k() + code.m().div_ceil(2)
}
