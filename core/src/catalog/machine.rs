//! The state machine: what each command does, and what can be looked up.

use super::CatalogError;
use super::command::{Command, Outcome};
use super::kv::{Batch, Kv, KvError, Rows, Table};
use super::records::{self, BucketRecord, GarbageId, GarbageRecord, Usage};
use super::upload_listing::{UploadEntry, UploadQuery};
use super::uploads::Completion;
use crate::bucket::{Setting, Versioning};
use crate::ids::BucketName;
use crate::placement::ClusterMap;

/// Rows that are read at a time when many are visited.
const PAGE: usize = 512;

/// The catalog over a store. Commands must be applied one at a time; queries may run beside them.
/// A command commits one batch at most.
#[derive(Debug, Clone)]
pub struct Machine<K> {
    pub(super) kv: K,
}

impl<K: Kv> Machine<K> {
    /// The catalog in `kv`, which may be empty.
    pub fn new(kv: K) -> Self {
        Self { kv }
    }

    /// Makes all applied commands durable.
    ///
    /// # Errors
    /// When durability can't be promised.
    pub fn sync(&self) -> Result<(), CatalogError> {
        Ok(self.kv.sync()?)
    }

    /// Applies a command: all of it or nothing.
    ///
    /// # Errors
    /// [`CatalogError`]; nothing has changed then.
    pub fn apply(&self, command: Command) -> Result<Outcome, CatalogError> {
        match command {
            Command::CreateBucket { bucket, record } => self.create_bucket(&bucket, &record),
            Command::DeleteBucket { bucket, at_ms } => self.delete_bucket(&bucket, at_ms),
            Command::SetBucket { bucket, setting } => self.set_bucket(&bucket, *setting),
            Command::PutObject { bucket, key, record, manifest, preconditions } => {
                let txn = self.begin(&bucket, record.modified_ms)?;
                self.replace(txn, &key, *record, &manifest, &preconditions)
            }
            Command::DeleteObject { bucket, key, preconditions, marker, at_ms } => {
                self.delete_object(self.begin(&bucket, at_ms)?, &key, &preconditions, marker)
            }
            Command::DeleteVersion { bucket, key, version, preconditions, bypass, at_ms } => {
                let txn = self.begin(&bucket, at_ms)?;
                self.delete_version(txn, &key, version, &preconditions, bypass)
            }
            Command::AmendVersion { bucket, key, version, change, at_ms } => {
                self.amend_version(self.begin(&bucket, at_ms)?, &key, version, change)
            }
            Command::CreateUpload { bucket, key, upload, record } => {
                self.create_upload(&bucket, &key, upload, &record)
            }
            Command::PutPart { bucket, key, upload, number, record } => {
                self.put_part(&bucket, &key, upload, number, &record)
            }
            Command::CompleteUpload {
                bucket,
                key,
                upload,
                parts,
                version,
                checksums,
                preconditions,
                at_ms,
            } => {
                let request = Completion { parts, version, checksums, preconditions };
                self.complete_upload(self.begin(&bucket, at_ms)?, &key, upload, request)
            }
            Command::AbortUpload { bucket, key, upload, at_ms } => {
                self.abort_upload(&bucket, &key, upload, at_ms)
            }
            Command::ForgetGarbage { ids } => self.forget_garbage(ids),
            Command::Relocate { blob, moves, garbage, at_ms } => {
                self.relocate(blob, &moves, GarbageId { since_ms: at_ms, id: garbage })
            }
            Command::Condemn { blobs, at_ms } => self.condemn(blobs, at_ms),
            Command::ChangeCluster { expected, map } => self.change_cluster(expected, &map),
        }
    }

    pub(super) fn done(&self, batch: Batch) -> Result<Outcome, CatalogError> {
        self.kv.commit(batch)?;
        Ok(Outcome::Done)
    }

    fn change_cluster(&self, expected: u64, map: &ClusterMap) -> Result<Outcome, CatalogError> {
        let before = self.cluster()?;
        let version = before.as_ref().map_or(0, |m| m.version);
        if version != expected {
            return Err(CatalogError::ClusterChanged(version));
        }
        map.check_successor(before.as_ref()).map_err(CatalogError::InvalidCluster)?;
        let mut batch = Batch::default();
        batch.put(Table::Cluster, Vec::new(), records::encode(Table::Cluster, map)?);
        self.done(batch)
    }

    fn create_bucket(
        &self,
        bucket: &BucketName,
        record: &BucketRecord,
    ) -> Result<Outcome, CatalogError> {
        if self.kv.get(Table::Buckets, bucket.as_str().as_bytes())?.is_some() {
            return Err(CatalogError::BucketExists);
        }
        self.write_bucket(bucket, record)
    }

    fn write_bucket(
        &self,
        bucket: &BucketName,
        record: &BucketRecord,
    ) -> Result<Outcome, CatalogError> {
        let mut batch = Batch::default();
        let row = bucket.as_str().as_bytes().to_vec();
        batch.put(Table::Buckets, row, records::encode(Table::Buckets, record)?);
        self.done(batch)
    }

    fn set_bucket(&self, bucket: &BucketName, setting: Setting) -> Result<Outcome, CatalogError> {
        let mut record = self.bucket(bucket)?;
        let settings = &mut record.settings;
        match &setting {
            Setting::Versioning(Versioning::Unversioned) => {
                let why = "versioning can be suspended, but not taken back";
                return Err(CatalogError::InvalidBucketState(why.into()));
            }
            Setting::Versioning(Versioning::Suspended) if settings.object_lock.is_some() => {
                let why =
                    "the bucket has an Object Lock configuration; versioning can't be suspended";
                return Err(CatalogError::InvalidBucketState(why.into()));
            }
            Setting::ObjectLock(_) if settings.versioning != Versioning::Enabled => {
                let why = "versioning must be enabled on the bucket before Object Lock is";
                return Err(CatalogError::InvalidBucketState(why.into()));
            }
            _ => {}
        }
        settings.set(setting);
        self.write_bucket(bucket, &record)
    }

    fn delete_bucket(&self, bucket: &BucketName, at_ms: u64) -> Result<Outcome, CatalogError> {
        let mut txn = self.begin(bucket, at_ms)?;
        let prefix = records::bucket_prefix(bucket);
        let end = records::after_prefix(&prefix);
        for table in [Table::Objects, Table::Versions] {
            if !self.kv.scan(table, &prefix, &end, 1)?.is_empty() {
                return Err(CatalogError::BucketNotEmpty);
            }
        }
        let mut query = UploadQuery { limit: PAGE, ..UploadQuery::default() };
        loop {
            let page = self.list_uploads(bucket, &query)?;
            for entry in page.entries {
                let UploadEntry::Upload { key, upload, .. } = entry else { continue };
                let parts = self.parts(upload)?;
                self.drop_upload(&mut txn, &key, upload, parts)?;
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        txn.commit_without_bucket().map(|()| Outcome::Done)
    }
}

/// Look-ups.
impl<K: Kv> Machine<K> {
    /// The record of a bucket.
    ///
    /// # Errors
    /// [`CatalogError::NoSuchBucket`].
    pub fn bucket(&self, bucket: &BucketName) -> Result<BucketRecord, CatalogError> {
        let row = self.kv.get(Table::Buckets, bucket.as_str().as_bytes())?;
        Ok(records::decode(Table::Buckets, &row.ok_or(CatalogError::NoSuchBucket)?)?)
    }

    /// All buckets by name.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn buckets(&self) -> Result<Vec<(BucketName, BucketRecord)>, CatalogError> {
        let mut buckets = Vec::new();
        self.visit(Table::Buckets, b"", &[0xFF], |key, value| {
            let name = name_from(Table::Buckets, key, BucketName::new)?;
            buckets.push((name, records::decode(Table::Buckets, value)?));
            Ok(())
        })?;
        Ok(buckets)
    }

    /// The cluster map, once there is one.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn cluster(&self) -> Result<Option<ClusterMap>, CatalogError> {
        let row = self.kv.get(Table::Cluster, &[])?;
        Ok(row.map(|v| records::decode(Table::Cluster, &v)).transpose()?)
    }

    /// What a bucket holds.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn usage(&self, bucket: &BucketName) -> Result<Usage, CatalogError> {
        let row = self.kv.get(Table::Usage, bucket.as_str().as_bytes())?;
        let usage = row.map(|v| records::decode(Table::Usage, &v)).transpose()?;
        Ok(usage.unwrap_or_default())
    }

    /// Garbage after the row `after` (from the start if `None`) and from before `before_ms`, the
    /// oldest first, at most `limit` rows.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn garbage(
        &self,
        after: Option<GarbageId>,
        before_ms: u64,
        limit: usize,
    ) -> Result<Vec<(GarbageId, GarbageRecord)>, CatalogError> {
        let from = after.map_or_else(Vec::new, |id| [&id.to_key()[..], b"\0"].concat());
        let rows = self.kv.scan(Table::Garbage, &from, &before_ms.to_be_bytes(), limit)?;
        rows.into_iter()
            .map(|(key, value)| {
                let id = GarbageId::from_key(&key).ok_or_else(|| corrupt_row(Table::Garbage))?;
                Ok((id, records::decode(Table::Garbage, &value)?))
            })
            .collect()
    }

    /// Calls `each` for all rows from `from` to `until`, reading a page at a time.
    pub(super) fn visit(
        &self,
        table: Table,
        from: &[u8],
        until: &[u8],
        mut each: impl FnMut(&[u8], &[u8]) -> Result<(), CatalogError>,
    ) -> Result<(), CatalogError> {
        let mut from = from.to_vec();
        loop {
            let rows: Rows = self.kv.scan(table, &from, until, PAGE)?;
            for (key, value) in &rows {
                each(key, value)?;
            }
            match rows.last() {
                Some((last, _)) if rows.len() == PAGE => from = [&last[..], b"\0"].concat(),
                _ => return Ok(()),
            }
        }
    }
}

pub(super) fn corrupt_row(table: Table) -> KvError {
    KvError::Corrupt { table, why: "a key is not of the table's form".into() }
}

/// A checked name from the bytes of a row's key.
pub(super) fn name_from<T, E>(
    table: Table,
    bytes: &[u8],
    new: impl Fn(String) -> Result<T, E>,
) -> Result<T, KvError> {
    let text = String::from_utf8(bytes.to_vec()).map_err(|_| corrupt_row(table))?;
    new(text).map_err(|_| corrupt_row(table))
}
