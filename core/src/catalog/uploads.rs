//! Multipart uploads: parts gather under an upload until a completion makes an object of them.

use super::CatalogError;
use super::command::{Outcome, Precondition};
use super::kv::{Kv, Table};
use super::machine::Machine;
use super::records::{self, BlobOwner, ObjectRecord, PartRecord, UploadRecord};
use super::transaction::Transaction;
use crate::ids::{BucketName, ObjectKey, PartNumber, UploadId, VersionId};
use crate::manifest::{Checksums, ETag, Manifest};
use md5::{Digest, Md5};
use std::collections::BTreeMap;

/// The least size of a part that is not the last: 5 MiB, as in S3.
pub const MIN_PART: u64 = 5 * 1024 * 1024;

/// What a completion asks for.
pub(super) struct Completion {
    pub(super) parts: Vec<(PartNumber, String)>,
    pub(super) version: VersionId,
    pub(super) checksums: Checksums,
    pub(super) preconditions: Vec<Precondition>,
}

impl<K: Kv> Machine<K> {
    pub(super) fn create_upload(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        upload: UploadId,
        record: &UploadRecord,
    ) -> Result<Outcome, CatalogError> {
        let mut txn = self.begin(bucket, record.initiated_ms)?;
        txn.require_lockable(&record.lock)?;
        txn.put(Table::Uploads, records::upload_key(bucket, key, upload), record)?;
        txn.commit().map(|()| Outcome::Done)
    }

    pub(super) fn put_part(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        upload: UploadId,
        number: PartNumber,
        record: &PartRecord,
    ) -> Result<Outcome, CatalogError> {
        self.upload(bucket, key, upload)?;
        let mut txn = self.begin(bucket, record.modified_ms)?;
        let row = records::part_key(upload, number);
        if let Some(old) = self.kv.get(Table::Parts, &row)? {
            txn.discard_part(records::decode(Table::Parts, &old)?)?;
        }
        let owner = BlobOwner::Part { bucket: bucket.clone(), key: key.clone(), upload, number };
        txn.claim(&record.part, &owner)?;
        txn.count_part(record.part.size);
        txn.put(Table::Parts, row, record)?;
        txn.commit().map(|()| Outcome::Done)
    }

    pub(super) fn complete_upload(
        &self,
        mut txn: Transaction<'_, K>,
        key: &ObjectKey,
        upload: UploadId,
        request: Completion,
    ) -> Result<Outcome, CatalogError> {
        let begun = self.upload(txn.bucket, key, upload)?;
        let mut uploaded = self.parts(upload)?;
        let chosen = choose_parts(&request.parts, &mut uploaded)?;
        let mut md5 = Md5::new();
        for record in &chosen {
            md5.update(record.part.md5);
            txn.move_part(record.part.size);
        }
        let count = u16::try_from(chosen.len()).map_err(|_| CatalogError::InvalidPartOrder)?;
        let manifest = Manifest { parts: chosen.into_iter().map(|r| r.part).collect() };
        let record = ObjectRecord {
            version: request.version,
            size: manifest.size(),
            etag: ETag::Multipart(md5.finalize().into(), count),
            modified_ms: txn.at_ms(),
            headers: begun.headers,
            checksums: request.checksums,
            tags: begun.tags,
            lock: begun.lock,
            encryption: begun.encryption,
            upload: Some(upload),
        };
        // What was uploaded but not chosen is garbage; so are the rows of all parts.
        self.drop_upload(&mut txn, key, upload, uploaded)?;
        for (number, _) in &request.parts {
            txn.remove(Table::Parts, records::part_key(upload, *number));
        }
        self.replace(txn, key, record, &manifest, &request.preconditions)
    }

    pub(super) fn abort_upload(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        upload: UploadId,
        at_ms: u64,
    ) -> Result<Outcome, CatalogError> {
        self.upload(bucket, key, upload)?;
        let mut txn = self.begin(bucket, at_ms)?;
        let parts = self.parts(upload)?;
        self.drop_upload(&mut txn, key, upload, parts)?;
        txn.commit().map(|()| Outcome::Done)
    }

    /// Removes an upload; `parts` become garbage.
    pub(super) fn drop_upload(
        &self,
        txn: &mut Transaction<'_, K>,
        key: &ObjectKey,
        upload: UploadId,
        parts: BTreeMap<PartNumber, PartRecord>,
    ) -> Result<(), CatalogError> {
        for (number, record) in parts {
            txn.remove(Table::Parts, records::part_key(upload, number));
            txn.discard_part(record)?;
        }
        txn.remove(Table::Uploads, records::upload_key(txn.bucket, key, upload));
        Ok(())
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

    /// The parts of an upload by number.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn parts(
        &self,
        upload: UploadId,
    ) -> Result<BTreeMap<PartNumber, PartRecord>, CatalogError> {
        Ok(self.list_parts(upload, None, usize::from(PartNumber::MAX))?.into_iter().collect())
    }
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
