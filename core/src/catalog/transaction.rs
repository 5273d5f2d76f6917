//! What one command changes in one bucket: all of it or nothing, with the bucket's usage kept in
//! step and its quota checked.

use super::CatalogError;
use super::blobs;
use super::kv::{Batch, Kv, Table};
use super::machine::Machine;
use super::records::{self, BlobOwner, BucketRecord, GarbageId, GarbageRecord, PartRecord, Usage};
use crate::bucket::BucketSettings;
use crate::ids::{BucketName, VersionId};
use crate::manifest::{Content, Manifest, Part};
use serde::Serialize;

/// Changes to be committed together.
pub(super) struct Transaction<'a, K> {
    machine: &'a Machine<K>,
    pub(super) bucket: &'a BucketName,
    record: BucketRecord,
    batch: Batch,
    at_ms: u64,
    versions: i128,
    bytes: i128,
}

impl<K: Kv> Machine<K> {
    /// Begins to change what is in a bucket.
    pub(super) fn begin<'a>(
        &'a self,
        bucket: &'a BucketName,
        at_ms: u64,
    ) -> Result<Transaction<'a, K>, CatalogError> {
        let record = self.bucket(bucket)?;
        let batch = Batch::default();
        Ok(Transaction { machine: self, bucket, record, batch, at_ms, versions: 0, bytes: 0 })
    }
}

impl<K: Kv> Transaction<'_, K> {
    /// The bucket's settings.
    pub(super) fn settings(&self) -> &BucketSettings {
        &self.record.settings
    }

    /// Now, as the command says.
    pub(super) fn at_ms(&self) -> u64 {
        self.at_ms
    }

    /// Sets a row.
    pub(super) fn put<T: Serialize>(
        &mut self,
        table: Table,
        key: Vec<u8>,
        record: &T,
    ) -> Result<(), CatalogError> {
        self.batch.put(table, key, records::encode(table, record)?);
        Ok(())
    }

    /// Removes a row.
    pub(super) fn remove(&mut self, table: Table, key: Vec<u8>) {
        self.batch.remove(table, key);
    }

    /// The bucket holds one more version.
    pub(super) fn count_version(&mut self, bytes: u64) {
        self.versions += 1;
        self.bytes += i128::from(bytes);
    }

    /// The bucket holds one more part of an upload.
    pub(super) fn count_part(&mut self, bytes: u64) {
        self.bytes += i128::from(bytes);
    }

    /// A version's data becomes garbage.
    pub(super) fn discard_version(&mut self, version: VersionId) -> Result<(), CatalogError> {
        let manifest = self.machine.manifest(version)?;
        self.remove(Table::Manifests, version.as_bytes().to_vec());
        self.versions -= 1;
        self.discard(*version.as_bytes(), manifest)
    }

    /// A part's data becomes garbage.
    pub(super) fn discard_part(&mut self, record: PartRecord) -> Result<(), CatalogError> {
        let id = *record.part.blob.as_bytes();
        self.discard(id, Manifest { parts: vec![record.part] })
    }

    /// A part goes from its upload into a version, which counts it.
    pub(super) fn move_part(&mut self, bytes: u64) {
        self.bytes -= i128::from(bytes);
    }

    /// A part's data is `owner`'s from now on.
    pub(super) fn claim(&mut self, part: &Part, owner: &BlobOwner) -> Result<(), CatalogError> {
        let Content::Sharded { .. } = part.content else { return Ok(()) };
        match (self.machine.blob(part.blob)?, owner) {
            // A completed upload's parts go into the object.
            (None, _) | (Some(BlobOwner::Part { .. }), BlobOwner::Version { .. }) => {
                Ok(blobs::note(&mut self.batch, part, owner)?)
            }
            (Some(_), _) => Err(CatalogError::BlobRefused(part.blob)),
        }
    }

    fn discard(&mut self, id: [u8; 16], manifest: Manifest) -> Result<(), CatalogError> {
        self.bytes -= i128::from(manifest.size());
        let id = GarbageId { since_ms: self.at_ms, id };
        for part in &manifest.parts {
            blobs::note(&mut self.batch, part, &BlobOwner::Garbage(id))?;
        }
        self.put(Table::Garbage, id.to_key(), &GarbageRecord::Data(manifest))
    }

    /// Commits all changes, and the bucket is no more.
    pub(super) fn commit_without_bucket(mut self) -> Result<(), CatalogError> {
        let row = self.bucket.as_str().as_bytes().to_vec();
        self.remove(Table::Usage, row.clone());
        self.remove(Table::Buckets, row);
        Ok(self.machine.kv.commit(self.batch)?)
    }

    /// Commits all changes.
    ///
    /// # Errors
    /// [`CatalogError::QuotaExceeded`], or the store's; nothing has changed then.
    pub(super) fn commit(mut self) -> Result<(), CatalogError> {
        if self.versions != 0 || self.bytes != 0 {
            let usage = self.machine.usage(self.bucket)?;
            let sum =
                |a: u64, b: i128| u64::try_from((i128::from(a) + b).max(0)).unwrap_or(u64::MAX);
            let new = Usage {
                versions: sum(usage.versions, self.versions),
                bytes: sum(usage.bytes, self.bytes),
            };
            if let Some(quota) = self.settings().quota_bytes
                && new.bytes > quota
                && new.bytes > usage.bytes
            {
                return Err(CatalogError::QuotaExceeded { quota });
            }
            self.put(Table::Usage, self.bucket.as_str().as_bytes().to_vec(), &new)?;
        }
        Ok(self.machine.kv.commit(self.batch)?)
    }
}
