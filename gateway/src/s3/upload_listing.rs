//! List multipart uploads in progress, and the parts of one.

use super::checksums::show_checksums;
use super::errors::{s3, to_s3};
use super::listing::{Encoder, is_rolled_up, max_keys};
use super::upload_checksums::type_of;
use super::{CofferS3, acl, convert, lifecycle};
use coffer_core::catalog::records::{PartRecord, UploadChecksum};
use coffer_core::catalog::{AfterUpload, Scope, UploadEntry, UploadQuery};
use coffer_core::ids::PartNumber;
use coffer_core::manifest::ETag;
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Result};

impl CofferS3 {
    pub(super) async fn uploads_in(
        &self,
        input: ListMultipartUploadsInput,
    ) -> S3Result<ListMultipartUploadsOutput> {
        let encoder = Encoder::new(input.encoding_type.as_ref())?;
        let limit = max_keys(input.max_uploads)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let delimiter = input.delimiter.clone().unwrap_or_default();
        let marker = input.key_marker.clone().unwrap_or_default();
        // Without a key, the marker of an upload has no meaning (as in S3).
        let id_marker =
            input.upload_id_marker.clone().filter(|id| !id.is_empty() && !marker.is_empty());
        let after = match &id_marker {
            _ if marker.is_empty() => None,
            Some(id) => {
                let upload = id.parse().map_err(to_s3)?;
                Some(AfterUpload::Upload(marker.clone(), upload))
            }
            None if is_rolled_up(&marker, &prefix, &delimiter) => {
                Some(AfterUpload::Prefix(marker.clone()))
            }
            None => Some(AfterUpload::Key(marker.clone())),
        };
        let query = UploadQuery { prefix, delimiter, after, limit };
        let bucket = convert::bucket(&input.bucket)?;
        let list = self
            .catalog
            .list(bucket, move |c, b| Ok((c.list_uploads(b, &query)?, c.bucket(b)?.owner)));
        let (listing, owner) = list.await.map_err(to_s3)?;
        let (next_key, next_upload) = match listing.next {
            None => (None, None),
            Some(AfterUpload::Key(key) | AfterUpload::Prefix(key)) => (Some(key), None),
            Some(AfterUpload::Upload(key, upload)) => (Some(key), Some(upload.to_string())),
        };
        let mut output = ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            prefix: Some(encoder.encode(input.prefix.unwrap_or_default())),
            delimiter: input.delimiter.filter(|d| !d.is_empty()).map(|d| encoder.encode(d)),
            key_marker: Some(encoder.encode(marker)),
            upload_id_marker: Some(id_marker.unwrap_or_default()),
            max_uploads: i32::try_from(limit).ok(),
            is_truncated: Some(next_key.is_some()),
            next_key_marker: next_key.map(|key| encoder.encode(key)),
            next_upload_id_marker: next_upload,
            encoding_type: input.encoding_type,
            ..ListMultipartUploadsOutput::default()
        };
        for entry in listing.entries {
            match entry {
                UploadEntry::CommonPrefix(prefix) => {
                    let prefix = CommonPrefix { prefix: Some(encoder.encode(prefix)) };
                    output.common_prefixes.get_or_insert_default().push(prefix);
                }
                UploadEntry::Upload { key, upload, record } => {
                    output.uploads.get_or_insert_default().push(MultipartUpload {
                        key: Some(encoder.encode(key.into())),
                        upload_id: Some(upload.to_string()),
                        initiated: Some(convert::timestamp(record.initiated_ms)),
                        checksum_algorithm: record.checksum.as_ref().map(algorithm_of),
                        checksum_type: record.checksum.as_ref().map(type_of),
                        owner: Some(acl::owner(&owner)),
                        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
                        ..MultipartUpload::default()
                    });
                }
            }
        }
        Ok(output)
    }

    pub(super) async fn parts_of(&self, input: ListPartsInput) -> S3Result<ListPartsOutput> {
        let bucket = convert::bucket(&input.bucket)?;
        let key = convert::key(&input.key)?;
        let upload = convert::upload_id(&input.upload_id)?;
        let limit = max_keys(input.max_parts)?;
        let marker = input.part_number_marker.unwrap_or(0);
        let after = part_marker(marker)?;
        let (record, mut parts, opened) = self
            .catalog
            .read(Scope::Object(&bucket, &key), |c| {
                let record = c.upload(&bucket, &key, upload)?;
                let parts = c.list_parts(upload, after, limit + 1)?;
                Ok((record, parts, c.bucket(&bucket)?))
            })
            .await
            .map_err(to_s3)?;
        let truncated = parts.len() > limit;
        parts.truncate(limit);
        let last = parts.last().map(|(number, _)| i32::from(number.get()));
        let (abort_date, abort_rule_id) =
            lifecycle::abort(&opened.settings, &key, record.initiated_ms);
        Ok(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            max_parts: i32::try_from(limit).ok(),
            part_number_marker: Some(marker),
            next_part_number_marker: last,
            is_truncated: Some(truncated),
            parts: Some(parts.into_iter().map(|(number, part)| listed(number, &part)).collect()),
            owner: Some(acl::owner(&opened.owner)),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            checksum_algorithm: record.checksum.as_ref().map(algorithm_of),
            checksum_type: record.checksum.as_ref().map(type_of),
            abort_date,
            abort_rule_id,
            ..ListPartsOutput::default()
        })
    }
}

fn algorithm_of(checksum: &UploadChecksum) -> ChecksumAlgorithm {
    ChecksumAlgorithm::from(checksum.algorithm.clone())
}

fn listed(number: PartNumber, record: &PartRecord) -> Part {
    let mut part = Part {
        part_number: Some(i32::from(number.get())),
        e_tag: Some(convert::etag(ETag::Whole(record.part.md5))),
        last_modified: Some(convert::timestamp(record.modified_ms)),
        size: Some(convert::signed(record.part.size)),
        ..Part::default()
    };
    show_checksums!(part, &record.part.checksums);
    part
}

/// The part that a listing goes on after; any number is a place among the parts.
fn part_marker(marker: i32) -> S3Result<Option<PartNumber>> {
    match marker {
        0 => Ok(None),
        n if n < 0 => Err(s3(S3ErrorCode::InvalidArgument, "part-number-marker is negative.")),
        n => {
            let number = i64::from(n).min(i64::from(PartNumber::MAX));
            PartNumber::new(number).map(Some).map_err(to_s3)
        }
    }
}
