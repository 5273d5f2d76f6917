//! Multipart uploads.

use super::checksums::{Promised, show_checksums};
use super::conditions::preconditions;
use super::convert::{self, refuse, refuse_unsupported};
use super::errors::{s3, to_s3};
use super::new_object::new_object;
use super::put::{body_length, check_length, committed_version};
use super::{CofferS3, acl, now_ms};
use coffer_core::catalog::records::{PartRecord, UploadRecord};
use coffer_core::catalog::{Command, Outcome, Scope};
use coffer_core::ids::{PartNumber, UploadId, VersionId};
use coffer_core::manifest::{Checksums, ETag};
use s3s::dto::*;
use s3s::{Body, S3ErrorCode, S3Request, S3Result};

/// The most lines of one answer (as in S3).
const MAX_PAGE: usize = 1000;

impl CofferS3 {
    pub(super) async fn begin_upload(
        &self,
        mut input: CreateMultipartUploadInput,
    ) -> S3Result<CreateMultipartUploadOutput> {
        refuse_unsupported!(input);
        let bucket = convert::bucket(&input.bucket)?;
        let key = convert::key(&input.key)?;
        let upload = UploadId::from_bytes(self.random_id()?);
        let object = new_object!(input)?;
        let record = UploadRecord {
            initiated_ms: now_ms(),
            headers: object.headers,
            tags: object.tags,
            lock: object.lock,
            encryption: object.encryption,
            checksum: None,
        };
        let command = Command::CreateUpload { bucket, key, upload, record };
        self.catalog.submit(command).await.map_err(to_s3)?;
        Ok(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(upload.to_string()),
            checksum_algorithm: input.checksum_algorithm,
            server_side_encryption: Some(convert::encrypted()),
            ..CreateMultipartUploadOutput::default()
        })
    }

    pub(super) async fn put_part(
        &self,
        req: S3Request<UploadPartInput>,
    ) -> S3Result<UploadPartOutput> {
        let input = req.input;
        refuse(input.sse_customer_algorithm.is_some(), "SSE-C")?;
        let bucket = convert::bucket(&input.bucket)?;
        let key = convert::key(&input.key)?;
        let upload = convert::upload_id(&input.upload_id)?;
        let number = PartNumber::new(i64::from(input.part_number)).map_err(to_s3)?;
        let expected = body_length(input.content_length)?;
        let promised = Promised::from_headers(&req.headers, req.trailing_headers)?;
        // Before the body is taken in: a part of no upload would only be thrown away.
        self.catalog
            .read(Scope::Hidden, |c| c.upload(&bucket, &key, upload))
            .await
            .map_err(to_s3)?;
        let keys = self.open_bucket(&bucket).await?.keys;

        let body = input.body.unwrap_or_else(|| StreamingBlob::from(Body::empty()));
        let hasher = promised.hasher();
        let (mut part, hasher) =
            self.engine.write_part(&keys, body, expected, hasher).await.map_err(to_s3)?;
        part.checksums = check_length(expected, part.size)
            .and_then(|()| promised.verify(part.md5, hasher))
            .inspect_err(|_| self.engine.discard(part.clone()))?;
        let mut output = UploadPartOutput {
            e_tag: Some(convert::etag(ETag::Whole(part.md5))),
            server_side_encryption: Some(convert::encrypted()),
            ..UploadPartOutput::default()
        };
        show_checksums!(output, &part.checksums);
        let record = Box::new(PartRecord { modified_ms: now_ms(), part: part.clone() });
        self.commit(Command::PutPart { bucket, key, upload, number, record }, part).await?;
        Ok(output)
    }

    pub(super) async fn complete(
        &self,
        input: CompleteMultipartUploadInput,
    ) -> S3Result<CompleteMultipartUploadOutput> {
        let whole = input.checksum_crc32.is_some()
            || input.checksum_crc32c.is_some()
            || input.checksum_crc64nvme.is_some()
            || input.checksum_sha1.is_some()
            || input.checksum_sha256.is_some();
        refuse(whole, "A checksum over all parts")?;
        let bucket = convert::bucket(&input.bucket)?;
        let key = convert::key(&input.key)?;
        let upload = convert::upload_id(&input.upload_id)?;
        let parts = requested_parts(input.multipart_upload)?;
        let command = Command::CompleteUpload {
            bucket,
            key,
            upload,
            parts,
            version: VersionId::from_bytes(self.random_id()?),
            checksums: Checksums::new(),
            preconditions: preconditions(input.if_match, input.if_none_match),
            at_ms: now_ms(),
        };
        let outcome = self.catalog.submit(command).await.map_err(to_s3)?;
        let etag = match outcome {
            Outcome::Committed { etag, .. } => Some(convert::etag(etag)),
            _ => None,
        };
        Ok(CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: etag,
            version_id: committed_version(&outcome),
            server_side_encryption: Some(convert::encrypted()),
            ..CompleteMultipartUploadOutput::default()
        })
    }

    pub(super) async fn abort(
        &self,
        input: AbortMultipartUploadInput,
    ) -> S3Result<AbortMultipartUploadOutput> {
        let command = Command::AbortUpload {
            bucket: convert::bucket(&input.bucket)?,
            key: convert::key(&input.key)?,
            upload: convert::upload_id(&input.upload_id)?,
            at_ms: now_ms(),
        };
        self.catalog.submit(command).await.map_err(to_s3)?;
        Ok(AbortMultipartUploadOutput::default())
    }

    pub(super) async fn parts_of(&self, input: ListPartsInput) -> S3Result<ListPartsOutput> {
        let bucket = convert::bucket(&input.bucket)?;
        let key = convert::key(&input.key)?;
        let upload = convert::upload_id(&input.upload_id)?;
        let limit = page_size(input.max_parts)?;
        let after = input.part_number_marker.unwrap_or(0);
        let (all, owner) = self
            .catalog
            .read(Scope::Hidden, |c| {
                c.upload(&bucket, &key, upload)?;
                Ok((c.parts(upload)?, c.bucket(&bucket)?.owner))
            })
            .await
            .map_err(to_s3)?;
        let mut parts: Vec<Part> = all
            .into_iter()
            .filter(|(number, _)| i32::from(number.get()) > after)
            .take(limit + 1)
            .map(|(number, record)| {
                let mut part = Part {
                    part_number: Some(i32::from(number.get())),
                    e_tag: Some(convert::etag(ETag::Whole(record.part.md5))),
                    last_modified: Some(convert::timestamp(record.modified_ms)),
                    size: Some(convert::signed(record.part.size)),
                    ..Part::default()
                };
                show_checksums!(part, &record.part.checksums);
                part
            })
            .collect();
        let truncated = parts.len() > limit;
        parts.truncate(limit);
        Ok(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            max_parts: i32::try_from(limit).ok(),
            part_number_marker: Some(after),
            next_part_number_marker: parts.last().and_then(|p| p.part_number),
            is_truncated: Some(truncated),
            owner: Some(acl::owner(&owner)),
            parts: Some(parts),
            ..ListPartsOutput::default()
        })
    }

    pub(super) async fn uploads_in(
        &self,
        input: ListMultipartUploadsInput,
    ) -> S3Result<ListMultipartUploadsOutput> {
        refuse(input.delimiter.as_ref().is_some_and(|d| !d.is_empty()), "A delimiter here")?;
        let bucket = convert::bucket(&input.bucket)?;
        let limit = page_size(input.max_uploads)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let key_marker = input.key_marker.clone().unwrap_or_default();
        let id_marker = input.upload_id_marker.clone().unwrap_or_default();
        let all = self
            .catalog
            .read(Scope::Hidden, |c| {
                c.bucket(&bucket)?;
                c.uploads(&bucket, &prefix)
            })
            .await
            .map_err(to_s3)?;
        let comes_after = |key: &str, id: &str| match key.cmp(key_marker.as_str()) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Equal => !id_marker.is_empty() && id > id_marker.as_str(),
            std::cmp::Ordering::Less => false,
        };
        let mut uploads: Vec<MultipartUpload> = all
            .into_iter()
            .map(|(_, key, id, record)| (key, id.to_string(), record))
            .filter(|(key, id, _)| comes_after(key.as_str(), id))
            .take(limit + 1)
            .map(|(key, id, record)| MultipartUpload {
                key: Some(key.into()),
                upload_id: Some(id),
                initiated: Some(convert::timestamp(record.initiated_ms)),
                ..MultipartUpload::default()
            })
            .collect();
        let truncated = uploads.len() > limit;
        uploads.truncate(limit);
        let last = uploads.last().filter(|_| truncated);
        Ok(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            prefix: input.prefix,
            key_marker: input.key_marker,
            upload_id_marker: input.upload_id_marker,
            next_key_marker: last.and_then(|u| u.key.clone()),
            next_upload_id_marker: last.and_then(|u| u.upload_id.clone()),
            max_uploads: i32::try_from(limit).ok(),
            is_truncated: Some(truncated),
            uploads: Some(uploads),
            ..ListMultipartUploadsOutput::default()
        })
    }
}

fn requested_parts(
    upload: Option<CompletedMultipartUpload>,
) -> S3Result<Vec<(PartNumber, String)>> {
    let malformed = |what: &str| s3(S3ErrorCode::MalformedXML, what.to_owned());
    let parts = upload
        .and_then(|u| u.parts)
        .filter(|p| !p.is_empty())
        .ok_or_else(|| malformed("The completion names no parts."))?;
    parts
        .into_iter()
        .map(|part| {
            let number = part.part_number.ok_or_else(|| malformed("A part has no number."))?;
            let number = PartNumber::new(i64::from(number)).map_err(to_s3)?;
            let etag = part.e_tag.ok_or_else(|| malformed("A part has no ETag."))?;
            Ok((number, etag.into_value()))
        })
        .collect()
}

fn page_size(asked: Option<i32>) -> S3Result<usize> {
    match asked {
        None => Ok(MAX_PAGE),
        Some(n) => usize::try_from(n)
            .map(|n| n.min(MAX_PAGE))
            .map_err(|_| s3(S3ErrorCode::InvalidArgument, "The page size is negative.")),
    }
}
