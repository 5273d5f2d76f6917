//! Server-side copies. The bytes are read and written anew, under a data key of their own: no two
//! objects ever share sealed data, so that deleting one can't touch the other.

use super::checksums::{computed, hasher_named, show_checksums};
use super::conditions::{ReadConditions, preconditions_of};
use super::convert::{self, refuse_unsupported};
use super::encryption::{CustomerKey, customer_key, show_encryption, sse_headers};
use super::errors::{s3, to_s3};
use super::lifecycle::expiration;
use super::new_object::new_object;
use super::put::{MAX_SINGLE_PUT, committed_version};
use super::{CofferS3, OpenBucket, now_ms, shown_version};
use crate::auth::access::{self, Subject};
use crate::auth::context::Asking;
use crate::auth::operations::READ;
use crate::engine::keys::BucketKeys;
use crate::engine::write::BodyError;
use coffer_core::catalog::records::{ObjectVersion, PartRecord};
use coffer_core::catalog::{CatalogError, Command, Scope};
use coffer_core::ids::{PartNumber, VersionId};
use coffer_core::manifest::{ETag, Manifest, Part};
use futures::TryStreamExt;
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Result};
use std::ops::Range as Span;

/// The client's key that the source of a copy was stored under.
macro_rules! source_key {
    ($input:expr) => {
        CustomerKey::read(
            $input.copy_source_sse_customer_algorithm.as_deref(),
            $input.copy_source_sse_customer_key.take(),
            $input.copy_source_sse_customer_key_md5.as_deref(),
        )
    };
}

/// An object to copy from.
struct Source {
    bucket: OpenBucket,
    version: ObjectVersion,
    manifest: Manifest,
}

impl CofferS3 {
    pub(super) async fn copy(&self, req: S3Request<CopyObjectInput>) -> S3Result<CopyObjectOutput> {
        let S3Request { mut input, headers, uri, extensions, .. } = req;
        let asking = Asking { headers: &headers, uri: &uri, extensions: &extensions };
        refuse_unsupported!(input);
        let own_key = source_key!(input)?;
        let sse = sse_headers!(input)?;
        let customer = sse.customer.as_ref();
        let bucket = convert::bucket(&input.bucket)?;
        let key = convert::key(&input.key)?;
        let preconditions = preconditions_of(&headers)?;
        let conditions = ReadConditions {
            if_match: input.copy_source_if_match.take(),
            if_none_match: input.copy_source_if_none_match.take(),
            if_modified_since: input.copy_source_if_modified_since.take(),
            if_unmodified_since: input.copy_source_if_unmodified_since.take(),
        };
        let source = self.source(&asking, &input.copy_source, &conditions).await?;
        let replace = input
            .metadata_directive
            .as_ref()
            .is_some_and(|d| d.as_str() == MetadataDirective::REPLACE);
        let itself = is_current_of(&input.copy_source, &input.bucket, &input.key);
        let reencrypt = sse.algorithm.is_some() || customer.is_some() || own_key.is_some();
        if itself && !replace && !reencrypt {
            let message =
                "An object can only be copied to itself to change its metadata or encryption.";
            return Err(s3(S3ErrorCode::InvalidRequest, message));
        }
        if source.version.record.size > MAX_SINGLE_PUT {
            let message = "The source is over 5 GiB; copy it by parts.";
            return Err(s3(S3ErrorCode::InvalidRequest, message));
        }
        let retag = input
            .tagging_directive
            .as_ref()
            .is_some_and(|d| d.as_str() == TaggingDirective::REPLACE);
        // Locks are never copied: they are asked for, or the bucket gives them.
        let mut object = new_object!(input)?;
        if !replace {
            object.headers = source.version.record.headers.clone();
        }
        if !retag {
            object.tags = source.version.record.tags.clone();
        }
        let algorithm = input.checksum_algorithm.as_ref().map(ChecksumAlgorithm::as_str);
        let whole = 0..source.version.record.size;
        // The bytes stay the same, and with them what is known of them as a whole.
        let mut checksums = source.version.record.checksums.clone();
        checksums.retain(|_, value| !value.contains('-'));
        let source_version = shown_version(&source.bucket.record, source.version.name());
        let target = self.open_bucket(&bucket).await?;
        let encryption = self.encryption_of(&sse, &target.record.settings)?;
        let keys = self.keys_for(&target, &encryption, customer)?;
        let (part, fresh) =
            self.copy_bytes(source, own_key.as_ref(), whole, &keys, algorithm).await?;
        checksums.extend(fresh);
        let version = VersionId::from_bytes(self.random_id()?);
        let record = object.record(version, &part, checksums, encryption);
        let mut result = CopyObjectResult {
            e_tag: Some(convert::etag(record.etag)),
            last_modified: Some(convert::timestamp(record.modified_ms)),
            ..CopyObjectResult::default()
        };
        show_checksums!(result, &record.checksums);
        let mut output = CopyObjectOutput {
            expiration: expiration(&target.record.settings, &key, &record),
            ..CopyObjectOutput::default()
        };
        show_encryption!(output, &record.encryption, customer);
        let command = Command::PutObject {
            bucket,
            key,
            record,
            manifest: Manifest { parts: vec![part.clone()] },
            preconditions,
        };
        let version_id = committed_version(&self.commit(command, part).await?);
        Ok(CopyObjectOutput {
            copy_object_result: Some(result),
            copy_source_version_id: source_version,
            version_id,
            ..output
        })
    }

    pub(super) async fn copy_part(
        &self,
        req: S3Request<UploadPartCopyInput>,
    ) -> S3Result<UploadPartCopyOutput> {
        let S3Request { mut input, headers, uri, extensions, .. } = req;
        let asking = Asking { headers: &headers, uri: &uri, extensions: &extensions };
        let own_key = source_key!(input)?;
        let customer = customer_key!(input)?;
        let bucket = convert::bucket(&input.bucket)?;
        let key = convert::key(&input.key)?;
        let upload = convert::upload_id(&input.upload_id)?;
        let number = PartNumber::new(i64::from(input.part_number)).map_err(to_s3)?;
        let begun = self.begun_upload(&bucket, &key, upload).await?;
        let target = self.open_bucket(&bucket).await?;
        let keys = self.keys_for(&target, &begun.encryption, customer.as_ref())?;
        let conditions = ReadConditions {
            if_match: input.copy_source_if_match,
            if_none_match: input.copy_source_if_none_match,
            if_modified_since: input.copy_source_if_modified_since,
            if_unmodified_since: input.copy_source_if_unmodified_since,
        };
        let source = self.source(&asking, &input.copy_source, &conditions).await?;
        let span = copy_span(input.copy_source_range.as_deref(), source.version.record.size)?;
        if span.end - span.start > MAX_SINGLE_PUT {
            return Err(s3(S3ErrorCode::InvalidRequest, "A part has at most 5 GiB."));
        }
        let source_version = shown_version(&source.bucket.record, source.version.name());
        let algorithm = begun.checksum.as_ref().map(|c| c.algorithm.as_str());
        let (mut part, checksums) =
            self.copy_bytes(source, own_key.as_ref(), span, &keys, algorithm).await?;
        part.checksums = checksums;
        let record = PartRecord { modified_ms: now_ms(), part: part.clone() };
        let result = CopyPartResult {
            e_tag: Some(convert::etag(ETag::Whole(part.md5))),
            last_modified: Some(convert::timestamp(record.modified_ms)),
            ..CopyPartResult::default()
        };
        let record = Box::new(record);
        self.commit(Command::PutPart { bucket, key, upload, number, record }, part).await?;
        let mut output = UploadPartCopyOutput {
            copy_part_result: Some(result),
            copy_source_version_id: source_version,
            ..UploadPartCopyOutput::default()
        };
        show_encryption!(output, &begun.encryption, customer.as_ref());
        Ok(output)
    }

    /// Looks the source up, once it is sure that the caller may read it.
    async fn source(
        &self,
        asking: &Asking<'_>,
        source: &CopySource,
        conditions: &ReadConditions,
    ) -> S3Result<Source> {
        let CopySource::Bucket { bucket, key, version_id } = source else {
            return Err(s3(S3ErrorCode::NotImplemented, "Access points are not supported."));
        };
        let name = convert::version(version_id.as_deref())?;
        let bucket = convert::bucket(bucket)?;
        let key = convert::key(key)?;
        let opened = self.open_bucket(&bucket).await?;
        let subject = Subject::bucket(&bucket, &opened.record).object(&key, version_id.as_deref());
        let owner = "x-amz-source-expected-bucket-owner";
        access::check_owner(asking, owner, &opened.record)?;
        access::check(&self.catalog, asking, READ, subject).await?;
        let scope = Scope::Object(&bucket, &key);
        let find = self.catalog.read(scope, |c| c.version_with_manifest(&bucket, &key, name));
        let (version, manifest) = match find.await {
            Ok(found) => found,
            // What a read answers with MethodNotAllowed.
            Err(CatalogError::IsDeleteMarker(_)) => {
                let message = "The source of a copy can't be a delete marker.";
                return Err(s3(S3ErrorCode::InvalidRequest, message));
            }
            Err(error) => return Err(self.missing(asking, &bucket, &key, error).await),
        };
        conditions.check_copy(&version.record)?;
        Ok(Source { bucket: opened, version, manifest })
    }

    /// Reads a span of the source and writes it as a new part of `target`.
    async fn copy_bytes(
        &self,
        source: Source,
        own_key: Option<&CustomerKey>,
        span: Span<u64>,
        target: &BucketKeys,
        algorithm: Option<&str>,
    ) -> S3Result<(Part, coffer_core::manifest::Checksums)> {
        let hasher = hasher_named(algorithm)?;
        let from = self.keys_for(&source.bucket, &source.version.record.encryption, own_key)?;
        let expected = span.end - span.start;
        let bytes = self.engine.read(&from, source.manifest, span).await.map_err(to_s3)?;
        let bytes = bytes.map_err(BodyError::from);
        let (part, hasher) =
            self.engine.write_part(target, bytes, Some(expected), hasher).await.map_err(to_s3)?;
        Ok((part, computed(hasher)))
    }
}

/// Whether a copy's source is what is current under the name that it is to have.
fn is_current_of(source: &CopySource, bucket: &str, key: &str) -> bool {
    matches!(source, CopySource::Bucket { bucket: b, key: k, version_id: None }
        if **b == *bucket && **k == *key)
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

    proptest::proptest! {
        #[test]
        fn whatever_is_asked_for_the_span_is_within_the_source(
            first in "[0-9]{0,21}", last in "[0-9]{0,21}", size: u64, text: String,
        ) {
            for range in [format!("bytes={first}-{last}"), text] {
                if let Ok(span) = copy_span(Some(&range), size) {
                    proptest::prop_assert!(span.start < span.end && span.end <= size);
                }
            }
        }
    }
}
