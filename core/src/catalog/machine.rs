//! The state machine: what each command does, and what can be looked up.

use super::CatalogError;
use super::command::{Command, Outcome, Precondition};
use super::kv::{Batch, Kv, KvError, Rows, Table};
use super::records::{
    self, BucketRecord, GarbageId, GarbageRecord, ObjectRecord, PartRecord, UploadRecord,
};
use crate::ids::{BucketName, ObjectKey, PartNumber, UploadId, VersionId};
use crate::manifest::{Checksums, ETag, Manifest};
use md5::{Digest, Md5};
use std::collections::BTreeMap;

/// The least size of a part that is not the last: 5 MiB, as in S3.
pub const MIN_PART: u64 = 5 * 1024 * 1024;

/// Rows that are read at a time when many are visited.
const PAGE: usize = 512;

/// The catalog over a store. Commands must be applied one at a time; queries may run beside them.
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
            Command::PutObject { bucket, key, record, manifest, precondition } => {
                self.bucket(&bucket)?;
                let mut batch = Batch::default();
                self.replace(&mut batch, &bucket, &key, &record, &manifest, &precondition)
            }
            Command::DeleteObject { bucket, key, precondition, at_ms } => {
                self.delete_object(&bucket, &key, &precondition, at_ms)
            }
            Command::CreateUpload { bucket, key, upload, record } => {
                self.bucket(&bucket)?;
                let row = records::upload_key(&bucket, &key, upload);
                let mut batch = Batch::default();
                batch.put(Table::Uploads, row, records::encode(Table::Uploads, &record)?);
                self.done(batch)
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
                precondition,
                at_ms,
            } => {
                let request = Completion { parts, version, checksums, precondition, at_ms };
                self.complete_upload(&bucket, &key, upload, request)
            }
            Command::AbortUpload { bucket, key, upload, at_ms } => {
                self.upload(&bucket, &key, upload)?;
                let mut batch = Batch::default();
                let parts = self.parts(upload)?;
                self.drop_upload(&mut batch, &bucket, &key, upload, parts, at_ms)?;
                self.done(batch)
            }
            Command::ForgetGarbage { ids } => {
                let mut batch = Batch::default();
                for id in ids {
                    batch.remove(Table::Garbage, id.to_key());
                }
                self.done(batch)
            }
        }
    }

    fn done(&self, batch: Batch) -> Result<Outcome, CatalogError> {
        self.kv.commit(batch)?;
        Ok(Outcome::Done)
    }

    fn create_bucket(
        &self,
        bucket: &BucketName,
        record: &BucketRecord,
    ) -> Result<Outcome, CatalogError> {
        let row = bucket.as_str().as_bytes().to_vec();
        if self.kv.get(Table::Buckets, &row)?.is_some() {
            return Err(CatalogError::BucketExists);
        }
        let mut batch = Batch::default();
        batch.put(Table::Buckets, row, records::encode(Table::Buckets, record)?);
        self.done(batch)
    }

    fn delete_bucket(&self, bucket: &BucketName, at_ms: u64) -> Result<Outcome, CatalogError> {
        self.bucket(bucket)?;
        let prefix = records::bucket_prefix(bucket);
        let end = records::after_prefix(&prefix);
        if !self.kv.scan(Table::Objects, &prefix, &end, 1)?.is_empty() {
            return Err(CatalogError::BucketNotEmpty);
        }
        let mut batch = Batch::default();
        for (bucket, key, upload, _) in self.uploads(bucket, "")? {
            let parts = self.parts(upload)?;
            self.drop_upload(&mut batch, &bucket, &key, upload, parts, at_ms)?;
        }
        batch.remove(Table::Buckets, bucket.as_str().as_bytes().to_vec());
        self.done(batch)
    }

    /// Adds to `batch` what makes `record` current, and commits it.
    fn replace(
        &self,
        batch: &mut Batch,
        bucket: &BucketName,
        key: &ObjectKey,
        record: &ObjectRecord,
        manifest: &Manifest,
        precondition: &Precondition,
    ) -> Result<Outcome, CatalogError> {
        let current = self.current(bucket, key)?;
        if !precondition.holds(current.as_ref()) {
            return Err(CatalogError::PreconditionFailed);
        }
        if let Some(current) = &current {
            self.discard_version(batch, current.version, record.modified_ms)?;
        }
        let row = records::object_key(bucket, key);
        batch.put(Table::Objects, row, records::encode(Table::Objects, record)?);
        let version = record.version.as_bytes().to_vec();
        batch.put(Table::Manifests, version, records::encode(Table::Manifests, manifest)?);
        self.kv.commit(std::mem::take(batch))?;
        Ok(Outcome::Committed { etag: record.etag, size: record.size, version: record.version })
    }

    fn delete_object(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        precondition: &Precondition,
        at_ms: u64,
    ) -> Result<Outcome, CatalogError> {
        self.bucket(bucket)?;
        let current = self.current(bucket, key)?;
        if !precondition.holds(current.as_ref()) {
            return Err(CatalogError::PreconditionFailed);
        }
        let Some(current) = current else { return Ok(Outcome::Deleted { existed: false }) };
        let mut batch = Batch::default();
        self.discard_version(&mut batch, current.version, at_ms)?;
        batch.remove(Table::Objects, records::object_key(bucket, key));
        self.kv.commit(batch)?;
        Ok(Outcome::Deleted { existed: true })
    }

    fn put_part(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        upload: UploadId,
        number: PartNumber,
        record: &PartRecord,
    ) -> Result<Outcome, CatalogError> {
        self.upload(bucket, key, upload)?;
        let row = records::part_key(upload, number);
        let mut batch = Batch::default();
        if let Some(old) = self.kv.get(Table::Parts, &row)? {
            let old: PartRecord = records::decode(Table::Parts, &old)?;
            discard_part(&mut batch, old, record.modified_ms)?;
        }
        batch.put(Table::Parts, row, records::encode(Table::Parts, record)?);
        self.done(batch)
    }

    fn complete_upload(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        upload: UploadId,
        request: Completion,
    ) -> Result<Outcome, CatalogError> {
        let begun = self.upload(bucket, key, upload)?;
        let mut uploaded = self.parts(upload)?;
        let chosen = choose_parts(&request.parts, &mut uploaded)?;
        let mut md5 = Md5::new();
        for record in &chosen {
            md5.update(record.part.md5);
        }
        let count = u16::try_from(chosen.len()).map_err(|_| CatalogError::InvalidPartOrder)?;
        let manifest = Manifest { parts: chosen.into_iter().map(|r| r.part).collect() };
        let record = ObjectRecord {
            version: request.version,
            size: manifest.size(),
            etag: ETag::Multipart(md5.finalize().into(), count),
            modified_ms: request.at_ms,
            headers: begun.headers,
            checksums: request.checksums,
        };
        let mut batch = Batch::default();
        // What was uploaded but not chosen is garbage; so are the rows of all parts.
        self.drop_upload(&mut batch, bucket, key, upload, uploaded, request.at_ms)?;
        for (number, _) in &request.parts {
            batch.remove(Table::Parts, records::part_key(upload, *number));
        }
        self.replace(&mut batch, bucket, key, &record, &manifest, &request.precondition)
    }

    /// Adds to `batch` what removes an upload and makes `parts` garbage.
    fn drop_upload(
        &self,
        batch: &mut Batch,
        bucket: &BucketName,
        key: &ObjectKey,
        upload: UploadId,
        parts: BTreeMap<PartNumber, PartRecord>,
        at_ms: u64,
    ) -> Result<(), CatalogError> {
        for (number, record) in parts {
            batch.remove(Table::Parts, records::part_key(upload, number));
            discard_part(batch, record, at_ms)?;
        }
        batch.remove(Table::Uploads, records::upload_key(bucket, key, upload));
        Ok(())
    }

    /// Adds to `batch` what turns a version's data into garbage.
    fn discard_version(
        &self,
        batch: &mut Batch,
        version: VersionId,
        at_ms: u64,
    ) -> Result<(), CatalogError> {
        let manifest = self.manifest(version)?;
        batch.remove(Table::Manifests, version.as_bytes().to_vec());
        discard(batch, GarbageId { since_ms: at_ms, id: *version.as_bytes() }, manifest)
    }
}

/// What a completion asks for.
struct Completion {
    parts: Vec<(PartNumber, String)>,
    version: VersionId,
    checksums: Checksums,
    precondition: Precondition,
    at_ms: u64,
}

/// Takes the requested parts out of the uploaded ones.
fn choose_parts(
    requested: &[(PartNumber, String)],
    uploaded: &mut BTreeMap<PartNumber, PartRecord>,
) -> Result<Vec<PartRecord>, CatalogError> {
    if requested.is_empty() || !requested.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(CatalogError::InvalidPartOrder);
    }
    let mut chosen = Vec::with_capacity(requested.len());
    for (i, (number, etag)) in requested.iter().enumerate() {
        let record = uploaded.remove(number).ok_or(CatalogError::InvalidPart(*number))?;
        if ETag::Whole(record.part.md5).to_string() != *etag {
            return Err(CatalogError::InvalidPart(*number));
        }
        if i + 1 < requested.len() && record.part.size < MIN_PART {
            return Err(CatalogError::PartTooSmall { part: *number, size: record.part.size });
        }
        chosen.push(record);
    }
    Ok(chosen)
}

fn discard_part(batch: &mut Batch, record: PartRecord, at_ms: u64) -> Result<(), CatalogError> {
    let id = GarbageId { since_ms: at_ms, id: *record.part.blob.as_bytes() };
    discard(batch, id, Manifest { parts: vec![record.part] })
}

fn discard(batch: &mut Batch, id: GarbageId, manifest: Manifest) -> Result<(), CatalogError> {
    let record = GarbageRecord { manifest };
    batch.put(Table::Garbage, id.to_key(), records::encode(Table::Garbage, &record)?);
    Ok(())
}

/// An upload as it is listed: bucket, key, id, record.
pub type UploadRow = (BucketName, ObjectKey, UploadId, UploadRecord);

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

    /// The current version of an object, if there is one.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn current(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> Result<Option<ObjectRecord>, CatalogError> {
        let row = self.kv.get(Table::Objects, &records::object_key(bucket, key))?;
        Ok(row.map(|v| records::decode(Table::Objects, &v)).transpose()?)
    }

    /// The current version of an object.
    ///
    /// # Errors
    /// [`CatalogError::NoSuchBucket`] or [`CatalogError::NoSuchKey`].
    pub fn object(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> Result<ObjectRecord, CatalogError> {
        match self.current(bucket, key)? {
            Some(record) => Ok(record),
            None => {
                self.bucket(bucket)?;
                Err(CatalogError::NoSuchKey)
            }
        }
    }

    /// The current version of an object together with its manifest, consistent with each other
    /// even while it is being replaced.
    ///
    /// # Errors
    /// As [`Machine::object`].
    pub fn object_with_manifest(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> Result<(ObjectRecord, Manifest), CatalogError> {
        let mut record = self.object(bucket, key)?;
        loop {
            match self.manifest(record.version) {
                Ok(manifest) => return Ok((record, manifest)),
                Err(error) => {
                    let now = self.object(bucket, key)?;
                    if now.version == record.version {
                        return Err(error);
                    }
                    record = now;
                }
            }
        }
    }

    fn manifest(&self, version: VersionId) -> Result<Manifest, CatalogError> {
        let corrupt = |why: String| KvError::Corrupt { table: Table::Manifests.name(), why };
        let value = self
            .kv
            .get(Table::Manifests, version.as_bytes())?
            .ok_or_else(|| corrupt(format!("version {version} has no manifest")))?;
        let manifest: Manifest = records::decode(Table::Manifests, &value)?;
        for part in &manifest.parts {
            part.check().map_err(|e| corrupt(e.to_string()))?;
        }
        Ok(manifest)
    }

    /// An upload in progress.
    ///
    /// # Errors
    /// [`CatalogError::NoSuchBucket`] or [`CatalogError::NoSuchUpload`].
    pub fn upload(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        upload: UploadId,
    ) -> Result<UploadRecord, CatalogError> {
        match self.kv.get(Table::Uploads, &records::upload_key(bucket, key, upload))? {
            Some(value) => Ok(records::decode(Table::Uploads, &value)?),
            None => {
                self.bucket(bucket)?;
                Err(CatalogError::NoSuchUpload(upload))
            }
        }
    }

    /// The uploads in progress of a bucket whose keys begin with `prefix`, by key.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn uploads(
        &self,
        bucket: &BucketName,
        prefix: &str,
    ) -> Result<Vec<UploadRow>, CatalogError> {
        let bucket_len = records::bucket_prefix(bucket).len();
        let from = [&records::bucket_prefix(bucket)[..], prefix.as_bytes()].concat();
        let until = records::after_prefix(&from);
        let mut uploads = Vec::new();
        self.visit(Table::Uploads, &from, &until, |row, value| {
            let broken = || corrupt_row(Table::Uploads);
            let (name, id) = row.split_last_chunk::<16>().ok_or_else(broken)?;
            let key = name.get(bucket_len..name.len() - 1).ok_or_else(broken)?;
            let key = name_from(Table::Uploads, key, ObjectKey::new)?;
            let record = records::decode(Table::Uploads, value)?;
            uploads.push((bucket.clone(), key, UploadId::from_bytes(*id), record));
            Ok(())
        })?;
        Ok(uploads)
    }

    /// The parts of an upload by number.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn parts(
        &self,
        upload: UploadId,
    ) -> Result<BTreeMap<PartNumber, PartRecord>, CatalogError> {
        let from = upload.as_bytes().to_vec();
        let until = [&from[..], &[0xFF, 0xFF]].concat();
        let mut parts = BTreeMap::new();
        self.visit(Table::Parts, &from, &until, |row, value| {
            let broken = || corrupt_row(Table::Parts);
            let number = u16::from_be_bytes(*row.last_chunk::<2>().ok_or_else(broken)?);
            let number = PartNumber::try_from(number).map_err(|_| broken())?;
            parts.insert(number, records::decode(Table::Parts, value)?);
            Ok(())
        })?;
        Ok(parts)
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
    fn visit(
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

fn corrupt_row(table: Table) -> KvError {
    KvError::Corrupt { table: table.name(), why: "a key is not of the table's form".into() }
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
