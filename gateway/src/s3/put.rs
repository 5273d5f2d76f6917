//! Put an object in one request.

use super::CofferS3;
use super::checksums::{Promised, show_checksums};
use super::conditions::preconditions;
use super::convert::{self, refuse, refuse_unsupported};
use super::encryption::{show_encryption, sse_headers};
use super::errors::{s3, to_s3};
use super::lifecycle::expiration;
use super::new_object::new_object;
use crate::engine::write::MAX_PART;
use coffer_core::catalog::{CatalogError, Command, Outcome};
use coffer_core::ids::VersionId;
use coffer_core::manifest::{self, Manifest};
use s3s::dto::*;
use s3s::{Body, S3ErrorCode, S3Request, S3Result};

/// The largest object that one PUT or one copy may make: 5 GiB (as in S3).
pub(super) const MAX_SINGLE_PUT: u64 = MAX_PART;

impl CofferS3 {
    pub(super) async fn put(&self, req: S3Request<PutObjectInput>) -> S3Result<PutObjectOutput> {
        let mut input = req.input;
        refuse_unsupported!(input);
        refuse(input.write_offset_bytes.is_some(), "Appending to an object")?;
        let bucket = convert::bucket(&input.bucket)?;
        let key = convert::key(&input.key)?;
        let preconditions = preconditions(input.if_match.take(), input.if_none_match.take());
        let expected = body_length(input.content_length)?;
        let promised = Promised::from_headers(&req.headers, req.trailing_headers)?;
        let object = new_object!(input)?;
        let sse = sse_headers!(input)?;
        let opened = self.open_bucket(&bucket).await?;
        let encryption = self.encryption_of(&sse, &opened.record.settings)?;
        let customer = sse.customer.as_ref();
        let keys = self.keys_for(&opened, &encryption, customer)?;

        let body = input.body.unwrap_or_else(|| StreamingBlob::from(Body::empty()));
        let hasher = promised.hasher();
        let (part, hasher) =
            self.engine.write_part(&keys, body, expected, hasher).await.map_err(to_s3)?;
        let checksums = check_length(expected, part.size)
            .and_then(|()| promised.verify(part.md5, hasher))
            .inspect_err(|_| self.engine.discard(part.clone()))?;
        let version = VersionId::from_bytes(self.random_id()?);
        let record = object.record(version, &part, checksums, encryption);
        let mut output = PutObjectOutput {
            e_tag: Some(convert::etag(record.etag)),
            expiration: expiration(&opened.record.settings, &key, &record),
            ..PutObjectOutput::default()
        };
        show_encryption!(output, &record.encryption, customer);
        show_checksums!(output, &record.checksums);
        let manifest = Manifest { parts: vec![part.clone()] };
        let command = Command::PutObject { bucket, key, record, manifest, preconditions };
        output.version_id = committed_version(&self.commit(command, part).await?);
        Ok(output)
    }

    /// Commits what names `part`; if it is certain that nothing does, the part's shards go.
    pub(super) async fn commit(&self, command: Command, part: manifest::Part) -> S3Result<Outcome> {
        let outcome = self.catalog.submit(command).await;
        match &outcome {
            // Whether an object has the data is not known, or one has it: the sweep will tell.
            Ok(_) | Err(CatalogError::Stopped(_) | CatalogError::BlobRefused(_)) => {}
            Err(_) => self.engine.discard(part),
        }
        outcome.map_err(to_s3)
    }
}

/// The version that a commit made, as clients are told.
pub(super) fn committed_version(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Committed { version, .. } => version.map(|v| v.to_string()),
        _ => None,
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

/// The body must be as long as announced.
pub(super) fn check_length(announced: Option<u64>, came: u64) -> S3Result<()> {
    match announced {
        Some(announced) if announced != came => Err(s3(
            S3ErrorCode::IncompleteBody,
            format!("{announced} bytes were announced, but {came} came."),
        )),
        _ => Ok(()),
    }
}
