//! Put, get, head and delete objects.

use super::checksums::{Promised, show_checksums};
use super::conditions::{ReadConditions, precondition};
use super::convert::{self, object_headers, refuse, refuse_unsupported, show_headers};
use super::errors::{s3, to_s3};
use super::{Answer, CofferS3, now_ms};
use crate::auth::access::{Verb, check_object};
use coffer_core::catalog::records::ObjectRecord;
use coffer_core::catalog::{CatalogError, Command, Outcome, Scope};
use coffer_core::ids::VersionId;
use coffer_core::manifest::{self, Manifest};
use futures::{StreamExt, TryStreamExt, stream};
use http::StatusCode;
use http_body::Frame;
use http_body_util::StreamBody;
use s3s::dto::*;
use s3s::{Body, S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use std::ops::Range as Bytes64;

/// The largest object that one PUT or one copy may make: 5 GiB (as in S3).
pub(super) const MAX_SINGLE_PUT: u64 = 5 * 1024 * 1024 * 1024;

/// Deletes that `DeleteObjects` runs at the same time.
const DELETES_AT_ONCE: usize = 32;

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
    ($output:expr, $input:expr, $record:expr, $span:expr) => {{
        $output.accept_ranges = Some("bytes".into());
        $output.content_length = Some(convert::signed($span.bytes.end - $span.bytes.start));
        $output.content_range = $span.content_range($record.size);
        $output.e_tag = Some(convert::etag($record.etag));
        $output.last_modified = Some(convert::timestamp($record.modified_ms));
        $output.parts_count = $span.parts_count;
        $output.server_side_encryption = Some(convert::encrypted());
        if $span.whole && wants_checksums($input.checksum_mode.as_ref()) {
            show_checksums!($output, &$record.checksums);
        }
        show_headers!($output, $record.headers);
    }};
}

impl CofferS3 {
    pub(super) async fn put(&self, req: S3Request<PutObjectInput>) -> S3Result<PutObjectOutput> {
        let mut input = req.input;
        refuse_unsupported!(input);
        refuse(input.write_offset_bytes.is_some(), "Appending to an object")?;
        let bucket = convert::bucket(&input.bucket)?;
        let key = convert::key(&input.key)?;
        let precondition = precondition(input.if_match.take(), input.if_none_match.take())?;
        let expected = body_length(input.content_length)?;
        let promised = Promised::from_headers(&req.headers, req.trailing_headers)?;
        let headers = convert::with_default_type(object_headers!(input)?);
        let keys = self.bucket_keys(&bucket).await?;

        let body = input.body.unwrap_or_else(|| StreamingBlob::from(Body::empty()));
        let hasher = promised.hasher();
        let (part, hasher) =
            self.engine.write_part(&keys, body, expected, hasher).await.map_err(to_s3)?;
        let checked = check_length(expected, part.size)
            .and_then(|()| promised.verify(part.md5, hasher))
            .inspect_err(|_| self.engine.discard(part.clone()));
        let record = ObjectRecord {
            version: VersionId::from_bytes(self.random_id()?),
            size: part.size,
            etag: manifest::ETag::Whole(part.md5),
            modified_ms: now_ms(),
            headers,
            checksums: checked?,
        };
        let mut output = PutObjectOutput {
            e_tag: Some(convert::etag(record.etag)),
            server_side_encryption: Some(convert::encrypted()),
            ..PutObjectOutput::default()
        };
        show_checksums!(output, &record.checksums);
        let manifest = Manifest { parts: vec![part.clone()] };
        let record = Box::new(record);
        let command = Command::PutObject { bucket, key, record, manifest, precondition };
        self.commit(command, part).await?;
        Ok(output)
    }

    /// Commits what names `part`; if it is certain that nothing does, the part's shards go.
    pub(super) async fn commit(&self, command: Command, part: manifest::Part) -> S3Result<Outcome> {
        let outcome = self.catalog.submit(command).await;
        if matches!(&outcome, Err(error) if !matches!(error, CatalogError::Stopped(_))) {
            self.engine.discard(part);
        }
        outcome.map_err(to_s3)
    }

    pub(super) async fn get(&self, input: GetObjectInput) -> Answer<GetObjectOutput> {
        refuse(input.sse_customer_algorithm.is_some(), "SSE-C")?;
        convert::only_version(input.version_id.as_ref())?;
        let bucket = convert::bucket(&input.bucket)?;
        let key = convert::key(&input.key)?;
        let scope = Scope::Object(&bucket, &key);
        let found = self.catalog.read(scope, |c| c.object_with_manifest(&bucket, &key)).await;
        let (record, manifest) = found.map_err(to_s3)?;
        let span = readable_span!(input, &record, &manifest)?;
        let keys = self.bucket_keys(&bucket).await?;

        let mut output = GetObjectOutput::default();
        describe!(output, input, record, span);
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

    pub(super) async fn head(&self, input: HeadObjectInput) -> Answer<HeadObjectOutput> {
        refuse(input.sse_customer_algorithm.is_some(), "SSE-C")?;
        convert::only_version(input.version_id.as_ref())?;
        let bucket = convert::bucket(&input.bucket)?;
        let key = convert::key(&input.key)?;
        let scope = Scope::Object(&bucket, &key);
        // Only a part's span needs the manifest.
        let (record, manifest) = if input.part_number.is_some() {
            self.catalog.read(scope, |c| c.object_with_manifest(&bucket, &key)).await
        } else {
            let record = self.catalog.read(scope, |c| c.object(&bucket, &key)).await;
            record.map(|record| (record, Manifest { parts: Vec::new() }))
        }
        .map_err(to_s3)?;
        let span = readable_span!(input, &record, &manifest)?;
        let mut output = HeadObjectOutput::default();
        describe!(output, input, record, span);
        let mut response = S3Response::new(output);
        response.status = (!span.whole).then_some(StatusCode::PARTIAL_CONTENT);
        Ok(response)
    }

    pub(super) async fn delete(&self, input: DeleteObjectInput) -> S3Result<DeleteObjectOutput> {
        convert::only_version(input.version_id.as_ref())?;
        refuse(input.mfa.is_some(), "MFA delete")?;
        let by_time_or_size =
            input.if_match_last_modified_time.is_some() || input.if_match_size.is_some();
        refuse(by_time_or_size, "A delete conditional on time or size")?;
        self.delete_one(&input.bucket, &input.key, input.if_match).await?;
        Ok(DeleteObjectOutput::default())
    }

    async fn delete_one(
        &self,
        bucket: &str,
        key: &str,
        if_match: Option<ETagCondition>,
    ) -> S3Result<()> {
        let command = Command::DeleteObject {
            bucket: convert::bucket(bucket)?,
            key: convert::key(key)?,
            precondition: precondition(if_match, None)?,
            at_ms: now_ms(),
        };
        self.catalog.submit(command).await.map(|_| ()).map_err(to_s3)
    }

    pub(super) async fn delete_many(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<DeleteObjectsOutput> {
        let input = req.input;
        refuse(input.mfa.is_some(), "MFA delete")?;
        if input.delete.objects.is_empty() || input.delete.objects.len() > 1000 {
            let message = "A multi-object delete names between 1 and 1000 objects.";
            return Err(s3(S3ErrorCode::MalformedXML, message));
        }
        let bucket = convert::bucket(&input.bucket)?;
        self.bucket_keys(&bucket).await?;
        let quiet = input.delete.quiet == Some(true);
        let (bucket, extensions) = (&bucket, &req.extensions);
        let delete = async |object: &ObjectIdentifier| {
            convert::only_version(object.version_id.as_ref())?;
            check_object(extensions, Verb::Delete, bucket, &convert::key(&object.key)?)?;
            let if_match = object.e_tag.clone().map(ETagCondition::ETag);
            self.delete_one(bucket.as_str(), &object.key, if_match).await
        };
        let outcomes = stream::iter(input.delete.objects)
            .map(|object| async {
                let outcome = delete(&object).await;
                (object.key, outcome)
            })
            .buffered(DELETES_AT_ONCE)
            .collect::<Vec<_>>()
            .await;
        let mut deleted = Vec::new();
        let mut errors = Vec::new();
        for (key, outcome) in outcomes {
            match outcome {
                Ok(()) if quiet => {}
                Ok(()) => deleted.push(DeletedObject { key: Some(key), ..Default::default() }),
                Err(error) => errors.push(Error {
                    code: Some(error.code().as_str().to_owned()),
                    message: error.message().map(str::to_owned),
                    key: Some(key),
                    ..Error::default()
                }),
            }
        }
        Ok(DeleteObjectsOutput {
            deleted: Some(deleted),
            errors: Some(errors),
            ..DeleteObjectsOutput::default()
        })
    }
}

/// The bytes of an object that a request is about.
struct Span {
    bytes: Bytes64<u64>,
    whole: bool,
    parts_count: Option<i32>,
}

impl Span {
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
        (None, None) => Ok(Span { bytes: 0..record.size, whole: true, parts_count: None }),
        (Some(range), None) => {
            let bytes = range.check(record.size).map_err(S3Error::from)?;
            Ok(Span { bytes, whole: false, parts_count: None })
        }
        (None, Some(part)) => {
            let unsatisfiable = || s3(S3ErrorCode::InvalidRange, "There is no such part.");
            let index = usize::try_from(part).ok().and_then(|p| p.checked_sub(1));
            let index = index.filter(|i| *i < manifest.parts.len()).ok_or_else(unsatisfiable)?;
            let start: u64 = manifest.parts[..index].iter().map(|p| p.size).sum();
            let bytes = start..start + manifest.parts[index].size;
            let multipart = matches!(record.etag, manifest::ETag::Multipart(..));
            let count = i32::try_from(manifest.parts.len()).ok().filter(|_| multipart);
            Ok(Span { bytes, whole: false, parts_count: count })
        }
        (Some(_), Some(_)) => {
            Err(s3(S3ErrorCode::InvalidRequest, "Range and partNumber can't be combined."))
        }
    }
}

/// The length that the client announced.
pub(super) fn body_length(announced: Option<i64>) -> S3Result<Option<u64>> {
    let Some(length) = announced else { return Ok(None) };
    match u64::try_from(length) {
        Ok(length) if length <= MAX_SINGLE_PUT => Ok(Some(length)),
        Ok(_) => Err(s3(
            S3ErrorCode::EntityTooLarge,
            "One request may carry at most 5 GiB; use a multipart upload.",
        )),
        Err(_) => Err(s3(S3ErrorCode::InvalidArgument, "Content-Length is negative.")),
    }
}

/// The body must be as long as announced, and within the limit if it was not announced.
pub(super) fn check_length(announced: Option<u64>, came: u64) -> S3Result<()> {
    match announced {
        Some(announced) if announced != came => Err(s3(
            S3ErrorCode::IncompleteBody,
            format!("{announced} bytes were announced, but {came} came."),
        )),
        _ if came > MAX_SINGLE_PUT => {
            Err(s3(S3ErrorCode::EntityTooLarge, "One request may carry at most 5 GiB."))
        }
        _ => Ok(()),
    }
}

fn wants_checksums(mode: Option<&ChecksumMode>) -> bool {
    mode.is_some_and(|m| m.as_str() == ChecksumMode::ENABLED)
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
