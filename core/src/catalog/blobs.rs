//! Whose the sealed data on the nodes is, and where its shards go.
//!
//! Every blob with shards has a row that names its owner. It begins with the commit that claims it
//! and ends when its garbage has been deleted, so a shard that is found on a node can be told from
//! one that nobody needs:
//!
//! | the catalog says | a shard of the blob |
//! |---|---|
//! | owned by a version or a part | is needed where the manifest says, under the name it says |
//! | garbage | is being deleted |
//! | condemned | may be deleted: no commit can claim the blob any more |
//! | nothing | belongs to a write in progress, or was left behind by one: condemn it first |
//!
//! A blob stays condemned for good, at some thirty bytes: a write that stood still for a month may wake
//! up and commit, and no clock of this cluster tells that none will.
//!
//! A shard's name is never used twice: where it goes to another node, its generation grows. What
//! has become garbage can therefore be deleted at any time, however late the deletion arrives.

use super::CatalogError;
use super::command::Outcome;
use super::kv::{Batch, Kv, KvError, Table};
use super::machine::{Machine, corrupt_row};
use super::records::{self, BlobOwner, GarbageId, GarbageRecord, PartRecord};
use crate::ids::BlobId;
use crate::manifest::{Content, Manifest, Move, Part};

/// Notes in `batch` whose a part's data is, and whether shards of it are owed.
pub(super) fn note(batch: &mut Batch, part: &Part, owner: &BlobOwner) -> Result<(), KvError> {
    let Content::Sharded { .. } = part.content else { return Ok(()) };
    let row = || part.blob.as_bytes().to_vec();
    batch.put(Table::Blobs, row(), records::encode(Table::Blobs, owner)?);
    if owner.is_live() && part.owes_shards() {
        batch.put(Table::Owed, row(), Vec::new());
    } else {
        batch.remove(Table::Owed, row());
    }
    Ok(())
}

/// Changes.
impl<K: Kv> Machine<K> {
    pub(super) fn forget_garbage(&self, ids: Vec<GarbageId>) -> Result<Outcome, CatalogError> {
        let mut batch = Batch::default();
        for id in ids {
            let Some(row) = self.kv.get(Table::Garbage, &id.to_key())? else { continue };
            if let GarbageRecord::Data(manifest) = records::decode(Table::Garbage, &row)? {
                for part in manifest.parts {
                    if self.blob(part.blob)? == Some(BlobOwner::Garbage(id)) {
                        batch.remove(Table::Blobs, part.blob.as_bytes().to_vec());
                    }
                }
            }
            batch.remove(Table::Garbage, id.to_key());
        }
        self.done(batch)
    }

    pub(super) fn relocate(
        &self,
        blob: BlobId,
        moves: &[Move],
        garbage: GarbageId,
    ) -> Result<Outcome, CatalogError> {
        let moved = || CatalogError::Moved(blob);
        let found = self.live_blob(blob)?.ok_or_else(moved)?;
        let mut batch = Batch::default();
        let (left, part) = match found {
            Live::Version { key, mut manifest, owner, at } => {
                let part = manifest.parts.get_mut(at).ok_or_else(moved)?;
                let left = part.relocate(moves).map_err(|_| moved())?;
                let part = part.clone();
                batch.put(Table::Manifests, key, records::encode(Table::Manifests, &manifest)?);
                (left, (part, owner))
            }
            Live::Part { key, mut record, owner } => {
                let left = record.part.relocate(moves).map_err(|_| moved())?;
                batch.put(Table::Parts, key, records::encode(Table::Parts, &record)?);
                (left, (record.part, owner))
            }
        };
        note(&mut batch, &part.0, &part.1)?;
        if !left.is_empty() {
            let record = GarbageRecord::Left(left);
            batch.put(Table::Garbage, garbage.to_key(), records::encode(Table::Garbage, &record)?);
        }
        self.done(batch)
    }

    pub(super) fn condemn(&self, blobs: Vec<BlobId>, at_ms: u64) -> Result<Outcome, CatalogError> {
        let mut batch = Batch::default();
        for blob in blobs {
            if self.blob(blob)?.is_none() {
                let owner = records::encode(Table::Blobs, &BlobOwner::Condemned { at_ms })?;
                batch.put(Table::Blobs, blob.as_bytes().to_vec(), owner);
            }
        }
        self.done(batch)
    }
}

/// A live blob, in the row that says where its shards are.
enum Live {
    Version { key: Vec<u8>, manifest: Manifest, owner: BlobOwner, at: usize },
    Part { key: Vec<u8>, record: Box<PartRecord>, owner: BlobOwner },
}

/// Look-ups.
impl<K: Kv> Machine<K> {
    /// Whose a blob is; `None` if no commit has claimed it.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn blob(&self, blob: BlobId) -> Result<Option<BlobOwner>, CatalogError> {
        let row = self.kv.get(Table::Blobs, blob.as_bytes())?;
        Ok(row.map(|v| records::decode(Table::Blobs, &v)).transpose()?)
    }

    /// A live blob's owner and its part, which says where its shards are.
    ///
    /// # Errors
    /// When the store can't be read, or contradicts itself.
    pub fn blob_part(&self, blob: BlobId) -> Result<Option<(BlobOwner, Part)>, CatalogError> {
        // What an owner names may be gone a moment after the owner was read, and the owner with it.
        let mut owner = None;
        let live = loop {
            match self.live_blob(blob) {
                Ok(live) => break live,
                Err(error) => {
                    let now = Some(self.blob(blob)?);
                    if now == owner {
                        return Err(error);
                    }
                    owner = now;
                }
            }
        };
        Ok(match live {
            None => None,
            Some(Live::Part { record, owner, .. }) => Some((owner, record.part)),
            Some(Live::Version { mut manifest, owner, at, .. }) => {
                Some((owner, manifest.parts.swap_remove(at)))
            }
        })
    }

    /// Blobs of which shards are still to be written, those after `after`, at most `limit`.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn owed(&self, after: Option<BlobId>, limit: usize) -> Result<Vec<BlobId>, CatalogError> {
        let rows = self.kv.scan(Table::Owed, &from(after), &END, limit)?;
        rows.into_iter().map(|(key, _)| blob_from(Table::Owed, &key)).collect()
    }

    /// All blobs in the order of their ids, those after `after`, at most `limit`.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn blobs(
        &self,
        after: Option<BlobId>,
        limit: usize,
    ) -> Result<Vec<(BlobId, BlobOwner)>, CatalogError> {
        let rows = self.kv.scan(Table::Blobs, &from(after), &END, limit)?;
        rows.into_iter()
            .map(|(key, v)| {
                Ok((blob_from(Table::Blobs, &key)?, records::decode(Table::Blobs, &v)?))
            })
            .collect()
    }

    fn live_blob(&self, blob: BlobId) -> Result<Option<Live>, CatalogError> {
        let broken = |table: Table| KvError::Corrupt {
            table,
            why: format!("blob {blob} is not where its owner is said to be"),
        };
        Ok(match self.blob(blob)? {
            Some(owner @ BlobOwner::Version { version, .. }) => {
                let manifest = self.manifest(version)?;
                let at = manifest.parts.iter().position(|p| p.blob == blob);
                let at = at.ok_or_else(|| broken(Table::Manifests))?;
                let key = version.as_bytes().to_vec();
                Some(Live::Version { key, manifest, owner, at })
            }
            Some(owner @ BlobOwner::Part { upload, number, .. }) => {
                let key = records::part_key(upload, number);
                let row = self.kv.get(Table::Parts, &key)?.ok_or_else(|| broken(Table::Parts))?;
                let record = Box::new(records::decode(Table::Parts, &row)?);
                Some(Live::Part { key, record, owner })
            }
            _ => None,
        })
    }
}

/// After all blob ids.
const END: [u8; 17] = [0xFF; 17];

fn from(after: Option<BlobId>) -> Vec<u8> {
    after.map_or_else(Vec::new, |id| [&id.as_bytes()[..], b"\0"].concat())
}

fn blob_from(table: Table, key: &[u8]) -> Result<BlobId, CatalogError> {
    let bytes = key.try_into().map_err(|_| corrupt_row(table))?;
    Ok(BlobId::from_bytes(bytes))
}
