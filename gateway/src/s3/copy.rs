//! Server-side copies. The bytes are read and written anew, under a data key of their own: no two
//! objects ever share sealed data, so that deleting one can't touch the other.

use super::checksums::{computed, hasher_named, show_checksums};
use super::conditions::{ReadConditions, precondition_of};
use super::convert::{self, object_headers, refuse, refuse_unsupported};
use super::errors::{s3, to_s3};
use super::objects::MAX_SINGLE_PUT;
use super::{CofferS3, now_ms};
use crate::auth::access::{Verb, check_object};
use crate::engine::write::BodyError;
use coffer_core::catalog::records::{ObjectRecord, PartRecord};
use coffer_core::catalog::{Command, Scope};
use coffer_core::ids::{BucketName, ObjectKey, PartNumber, VersionId};
use coffer_core::manifest::{ETag, Manifest, Part};
use futures::TryStreamExt;
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Result};
use std::ops::Range as Span;

/// An object to copy from.
struct Source {
    bucket: BucketName,
    key: ObjectKey,
    record: ObjectRecord,
    manifest: Manifest,
}

impl CofferS3 {
    pub(super) async fn copy(&self, req: S3Request<CopyObjectInput>) -> S3Result<CopyObjectOutput> {
        let mut input = req.input;
        refuse_unsupported!(input);
        refuse(input.copy_source_sse_customer_algorithm.is_some(), "SSE-C")?;
        let bucket = convert::bucket(&input.bucket)?;
        let key = convert::key(&input.key)?;
        let precondition = precondition_of(&req.headers)?;
        let conditions = ReadConditions {
            if_match: input.copy_source_if_match.take(),
            if_none_match: input.copy_source_if_none_match.take(),
            if_modified_since: input.copy_source_if_modified_since.take(),
            if_unmodified_since: input.copy_source_if_unmodified_since.take(),
        };
        let source = self.source(&req.extensions, &input.copy_source, &conditions).await?;
        let replace = input
            .metadata_directive
            .as_ref()
            .is_some_and(|d| d.as_str() == MetadataDirective::REPLACE);
        if source.bucket == bucket && source.key == key && !replace {
            let message = "An object can only be copied to itself to change its metadata.";
            return Err(s3(S3ErrorCode::InvalidRequest, message));
        }
        if source.record.size > MAX_SINGLE_PUT {
            let message = "The source is over 5 GiB; copy it by parts.";
            return Err(s3(S3ErrorCode::InvalidRequest, message));
        }
        let headers = if replace {
            convert::with_default_type(object_headers!(input)?)
        } else {
            source.record.headers.clone()
        };
        let algorithm = input.checksum_algorithm.as_ref().map(ChecksumAlgorithm::as_str);
        let whole = 0..source.record.size;
        // The bytes stay the same, and with them what is known of them.
        let mut checksums = source.record.checksums.clone();
        let (part, fresh) = self.copy_bytes(source, whole, &bucket, algorithm).await?;
        checksums.extend(fresh);
        let record = ObjectRecord {
            version: VersionId::from_bytes(self.random_id()?),
            size: part.size,
            etag: ETag::Whole(part.md5),
            modified_ms: now_ms(),
            headers,
            checksums,
        };
        let mut result = CopyObjectResult {
            e_tag: Some(convert::etag(record.etag)),
            last_modified: Some(convert::timestamp(record.modified_ms)),
            ..CopyObjectResult::default()
        };
        show_checksums!(result, &record.checksums);
        let command = Command::PutObject {
            bucket,
            key,
            record: Box::new(record),
            manifest: Manifest { parts: vec![part.clone()] },
            precondition,
        };
        self.commit(command, part).await?;
        Ok(CopyObjectOutput {
            copy_object_result: Some(result),
            server_side_encryption: Some(convert::encrypted()),
            ..CopyObjectOutput::default()
        })
    }

    pub(super) async fn copy_part(
        &self,
        req: S3Request<UploadPartCopyInput>,
    ) -> S3Result<UploadPartCopyOutput> {
        let input = req.input;
        let ssec = input.sse_customer_algorithm.is_some()
            || input.copy_source_sse_customer_algorithm.is_some();
        refuse(ssec, "SSE-C")?;
        let bucket = convert::bucket(&input.bucket)?;
        let key = convert::key(&input.key)?;
        let upload = convert::upload_id(&input.upload_id)?;
        let number = PartNumber::new(i64::from(input.part_number)).map_err(to_s3)?;
        self.catalog
            .read(Scope::Hidden, |c| c.upload(&bucket, &key, upload))
            .await
            .map_err(to_s3)?;
        let conditions = ReadConditions {
            if_match: input.copy_source_if_match,
            if_none_match: input.copy_source_if_none_match,
            if_modified_since: input.copy_source_if_modified_since,
            if_unmodified_since: input.copy_source_if_unmodified_since,
        };
        let source = self.source(&req.extensions, &input.copy_source, &conditions).await?;
        let span = copy_span(input.copy_source_range.as_deref(), source.record.size)?;
        if span.end - span.start > MAX_SINGLE_PUT {
            return Err(s3(S3ErrorCode::InvalidRequest, "A part has at most 5 GiB."));
        }
        let (part, checksums) = self.copy_bytes(source, span, &bucket, None).await?;
        let record = PartRecord { modified_ms: now_ms(), part: part.clone(), checksums };
        let result = CopyPartResult {
            e_tag: Some(convert::etag(ETag::Whole(part.md5))),
            last_modified: Some(convert::timestamp(record.modified_ms)),
            ..CopyPartResult::default()
        };
        let record = Box::new(record);
        self.commit(Command::PutPart { bucket, key, upload, number, record }, part).await?;
        Ok(UploadPartCopyOutput {
            copy_part_result: Some(result),
            server_side_encryption: Some(convert::encrypted()),
            ..UploadPartCopyOutput::default()
        })
    }

    /// Looks the source up, once it is sure that the caller may read it.
    async fn source(
        &self,
        extensions: &http::Extensions,
        source: &CopySource,
        conditions: &ReadConditions,
    ) -> S3Result<Source> {
        let CopySource::Bucket { bucket, key, version_id } = source else {
            return Err(s3(S3ErrorCode::NotImplemented, "Access points are not supported."));
        };
        convert::only_version(version_id.as_deref().map(str::to_owned).as_ref())?;
        let bucket = convert::bucket(bucket)?;
        let key = convert::key(key)?;
        check_object(extensions, Verb::Read, &bucket, &key)?;
        let scope = Scope::Object(&bucket, &key);
        let found = self.catalog.read(scope, |c| c.object_with_manifest(&bucket, &key)).await;
        let (record, manifest) = found.map_err(to_s3)?;
        conditions.check_copy(&record)?;
        Ok(Source { bucket, key, record, manifest })
    }

    /// Reads a span of the source and writes it as a new part of `target`.
    async fn copy_bytes(
        &self,
        source: Source,
        span: Span<u64>,
        target: &BucketName,
        algorithm: Option<&str>,
    ) -> S3Result<(Part, coffer_core::manifest::Checksums)> {
        let hasher = hasher_named(algorithm)?;
        let from = self.bucket_keys(&source.bucket).await?;
        let to = self.bucket_keys(target).await?;
        let expected = span.end - span.start;
        let bytes = self.engine.read(&from, source.manifest, span).await.map_err(to_s3)?;
        let bytes = bytes.map_err(BodyError::from);
        let (part, hasher) =
            self.engine.write_part(&to, bytes, Some(expected), hasher).await.map_err(to_s3)?;
        Ok((part, computed(hasher)))
    }
}

/// `x-amz-copy-source-range`: `bytes=first-last`, both given, within the source.
fn copy_span(range: Option<&str>, size: u64) -> S3Result<Span<u64>> {
    let Some(range) = range else { return Ok(0..size) };
    let parsed = range
        .strip_prefix("bytes=")
        .and_then(|r| r.split_once('-'))
        .and_then(|(first, last)| Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?)));
    match parsed {
        Some((first, last)) if first <= last && last < size => Ok(first..last + 1),
        Some(_) => Err(s3(S3ErrorCode::InvalidRange, "The range is not within the source.")),
        None => Err(s3(
            S3ErrorCode::InvalidArgument,
            "x-amz-copy-source-range has the form bytes=first-last.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_ranges_are_exact() {
        assert_eq!(copy_span(None, 10).unwrap(), 0..10);
        assert_eq!(copy_span(Some("bytes=0-9"), 10).unwrap(), 0..10);
        for bad in ["bytes=0-10", "bytes=5-4", "bytes=-5", "bytes=5-", "0-5", "bytes=a-b"] {
            assert!(copy_span(Some(bad), 10).is_err(), "{bad}");
        }
    }
}
