//! Get an object, or only what is known of it.

use super::checksums::{checksum_type, show_checksums};
use super::conditions::ReadConditions;
use super::convert::{self, show_headers};
use super::encryption::{check_customer, customer_key, refuse_on_read, show_encryption};
use super::errors::{s3, to_s3};
use super::lifecycle::expiration;
use super::lock::hold_status;
use super::new_object::mode_name;
use super::{Answer, CofferS3, shown_version};
use crate::auth::access::{self, Subject};
use crate::auth::context::Asking;
use crate::auth::operations::LIST;
use coffer_core::catalog::records::ObjectRecord;
use coffer_core::catalog::{CatalogError, Scope};
use coffer_core::ids::{BucketName, ObjectKey};
use coffer_core::manifest::{self, Checksums, Manifest};
use futures::TryStreamExt;
use http::StatusCode;
use http::header::HeaderName;
use http_body::Frame;
use http_body_util::StreamBody;
use s3s::dto::*;
use s3s::{Body, S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use std::ops::Range as Bytes64;

const TAGGING_COUNT: HeaderName = HeaderName::from_static("x-amz-tagging-count");

/// Checks the conditions of a GET or HEAD and finds the span of bytes that it is about.
macro_rules! readable_span {
    ($input:expr, $record:expr, $manifest:expr) => {{
        let conditions = ReadConditions {
            if_match: $input.if_match,
            if_none_match: $input.if_none_match,
            if_modified_since: $input.if_modified_since,
            if_unmodified_since: $input.if_unmodified_since,
        };
        conditions
            .check($record)
            .map_err(|e| with_validators(e, $record))
            .and_then(|()| span($record, $manifest, $input.range, $input.part_number))
    }};
}

/// Fills in what the outputs of GET and HEAD both tell of an object.
macro_rules! describe {
    ($output:expr, $input:expr, $bucket:expr, $version:expr, $customer:expr, $span:expr) => {{
        let record = &$version.record;
        $output.version_id = shown_version($bucket, $version.name());
        if let Some(retention) = record.lock.retention {
            $output.object_lock_mode = Some(ObjectLockMode::from_static(mode_name(retention.mode)));
            $output.object_lock_retain_until_date =
                Some(convert::exact_timestamp(retention.until_ms));
        }
        if $bucket.settings.object_lock.is_some() {
            $output.object_lock_legal_hold_status = Some(hold_status(record.lock.legal_hold));
        }
        $output.accept_ranges = Some("bytes".into());
        $output.content_length = Some(convert::signed($span.bytes.end - $span.bytes.start));
        $output.content_range = $span.content_range(record.size);
        $output.e_tag = Some(convert::etag(record.etag));
        $output.last_modified = Some(convert::timestamp(record.modified_ms));
        $output.parts_count = $span.parts_count;
        show_encryption!($output, &record.encryption, $customer);
        if wants_checksums($input.checksum_mode.as_ref(), &$span)
            && let Some(checksums) = $span.checksums(record)
        {
            show_checksums!($output, checksums);
            $output.checksum_type = checksum_type(&record.checksums);
        }
        show_headers!($output, record.headers);
    }};
}

impl CofferS3 {
    pub(super) async fn get(&self, req: S3Request<GetObjectInput>) -> Answer<GetObjectOutput> {
        let S3Request { mut input, headers, uri, extensions, .. } = req;
        let asking = Asking { headers: &headers, uri: &uri, extensions: &extensions };
        refuse_on_read(&headers)?;
        let customer = customer_key!(input)?;
        let name = convert::version(input.version_id.as_deref())?;
        let bucket = convert::bucket(&input.bucket)?;
        let key = convert::key(&input.key)?;
        let scope = Scope::Object(&bucket, &key);
        let find = self.catalog.read(scope, |c| c.version_with_manifest(&bucket, &key, name));
        let (version, manifest) = match find.await {
            Ok(found) => found,
            Err(error) => return Err(self.missing(&asking, &bucket, &key, error).await),
        };
        let span = readable_span!(input, &version.record, &manifest)?;
        let opened = self.open_bucket(&bucket).await?;
        let keys = self.keys_for(&opened, &version.record.encryption, customer.as_ref())?;

        let mut output = GetObjectOutput::default();
        let tags = version.record.tags.len();
        output.tag_count = i32::try_from(tags).ok().filter(|n| *n > 0);
        describe!(output, input, &opened.record, version, customer.as_ref(), span);
        if name.is_none() {
            output.expiration = expiration(&opened.record.settings, &key, &version.record);
        }
        let partial = !span.whole;
        let bytes = self.engine.read(&keys, manifest, span.bytes).await.map_err(to_s3)?;
        let frames = bytes.map_ok(Frame::data).inspect_err(|error| {
            tracing::error!(%error, "a download broke off");
        });
        output.body = Some(StreamingBlob::from(Body::http_body_unsync(StreamBody::new(frames))));
        let mut response = S3Response::new(output);
        response.status = partial.then_some(StatusCode::PARTIAL_CONTENT);
        Ok(response)
    }

    pub(super) async fn head(&self, req: S3Request<HeadObjectInput>) -> Answer<HeadObjectOutput> {
        let S3Request { mut input, headers, uri, extensions, .. } = req;
        let asking = Asking { headers: &headers, uri: &uri, extensions: &extensions };
        refuse_on_read(&headers)?;
        let customer = customer_key!(input)?;
        let name = convert::version(input.version_id.as_deref())?;
        let bucket = convert::bucket(&input.bucket)?;
        let key = convert::key(&input.key)?;
        let scope = Scope::Object(&bucket, &key);
        // Only a part's span needs the manifest.
        let found = if input.part_number.is_some() {
            self.catalog.read(scope, |c| c.version_with_manifest(&bucket, &key, name)).await
        } else {
            let version = self.catalog.read(scope, |c| c.version(&bucket, &key, name)).await;
            version.map(|version| (version, Manifest { parts: Vec::new() }))
        };
        let (version, manifest) = match found {
            Ok(found) => found,
            Err(error) => return Err(self.missing(&asking, &bucket, &key, error).await),
        };
        let span = readable_span!(input, &version.record, &manifest)?;
        check_customer(&version.record.encryption, customer.as_ref())?;
        let record = self.bucket_record(&bucket).await?;
        let mut output = HeadObjectOutput::default();
        describe!(output, input, &record, version, customer.as_ref(), span);
        if name.is_none() {
            output.expiration = expiration(&record.settings, &key, &version.record);
        }
        let mut response = S3Response::new(output);
        // `s3s` 0.14 has no field for it.
        if !version.record.tags.is_empty() {
            response.headers.insert(TAGGING_COUNT, version.record.tags.len().into());
        }
        response.status = (!span.whole).then_some(StatusCode::PARTIAL_CONTENT);
        Ok(response)
    }

    /// Why an object can't be read. That there is none is only told to those who may list it.
    pub(super) async fn missing(
        &self,
        asking: &Asking<'_>,
        bucket: &BucketName,
        key: &ObjectKey,
        error: CatalogError,
    ) -> S3Error {
        if let CatalogError::NoSuchKey | CatalogError::NoSuchVersion | CatalogError::Deleted(_) =
            error
        {
            let record = match self.bucket_record(bucket).await {
                Ok(record) => record,
                Err(error) => return error,
            };
            let subject = Subject::bucket(bucket, &record).object(key, None);
            if let Err(denied) = access::check(&self.catalog, asking, LIST, subject).await {
                return denied;
            }
        }
        to_s3(error)
    }
}

/// The bytes of an object that a request is about.
struct Span {
    bytes: Bytes64<u64>,
    whole: bool,
    parts_count: Option<i32>,
    /// Of the part, if the request is about one.
    part: Option<Checksums>,
}

impl Span {
    /// The checksums of these bytes, if there are any.
    fn checksums<'a>(&'a self, record: &'a ObjectRecord) -> Option<&'a Checksums> {
        if self.whole { Some(&record.checksums) } else { self.part.as_ref() }
    }

    fn content_range(&self, size: u64) -> Option<String> {
        (!self.whole && self.bytes.start < self.bytes.end)
            .then(|| format!("bytes {}-{}/{size}", self.bytes.start, self.bytes.end - 1))
    }
}

fn span(
    record: &ObjectRecord,
    manifest: &Manifest,
    range: Option<Range>,
    part: Option<i32>,
) -> S3Result<Span> {
    match (range, part) {
        (None, None) => {
            Ok(Span { bytes: 0..record.size, whole: true, parts_count: None, part: None })
        }
        (Some(range), None) => {
            let bytes = range.check(record.size).map_err(|_| unsatisfiable(record.size))?;
            Ok(Span { bytes, whole: false, parts_count: None, part: None })
        }
        (None, Some(part)) => {
            let no_part = || s3(S3ErrorCode::InvalidPart, "There is no such part.");
            let index = usize::try_from(part).ok().and_then(|p| p.checked_sub(1));
            let index = index.filter(|i| *i < manifest.parts.len()).ok_or_else(no_part)?;
            let start: u64 = manifest.parts[..index].iter().map(|p| p.size).sum();
            let bytes = start..start + manifest.parts[index].size;
            let multipart = matches!(record.etag, manifest::ETag::Multipart(..));
            let count = i32::try_from(manifest.parts.len()).ok().filter(|_| multipart);
            let part = Some(manifest.parts[index].checksums.clone());
            Ok(Span { bytes, whole: false, parts_count: count, part })
        }
        (Some(_), Some(_)) => {
            Err(s3(S3ErrorCode::InvalidRequest, "Range and partNumber can't be combined."))
        }
    }
}

/// 416 tells how long the object is (RFC 9110, section 15.5.17).
fn unsatisfiable(size: u64) -> S3Error {
    let mut error = s3(S3ErrorCode::InvalidRange, "The requested range is not satisfiable.");
    let mut headers = http::HeaderMap::new();
    if let Ok(range) = format!("bytes */{size}").parse() {
        headers.insert(http::header::CONTENT_RANGE, range);
    }
    error.set_headers(headers);
    error
}

/// A request for one part is told its checksums in any case.
fn wants_checksums(mode: Option<&ChecksumMode>, span: &Span) -> bool {
    span.part.is_some() || mode.is_some_and(|m| m.as_str() == ChecksumMode::ENABLED)
}

/// 304 and 412 tell the client which version it was compared with (RFC 9110, section 15.4.5).
fn with_validators(mut error: S3Error, record: &ObjectRecord) -> S3Error {
    let mut headers = http::HeaderMap::new();
    if let Ok(etag) = format!("\"{}\"", record.etag).parse() {
        headers.insert(http::header::ETAG, etag);
    }
    error.set_headers(headers);
    error
}
