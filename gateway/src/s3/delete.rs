//! Delete objects and versions, one or many.

use super::conditions::preconditions;
use super::convert::{self, refuse};
use super::errors::{s3, to_s3};
use super::{CofferS3, now_ms};
use crate::auth::access::{self, Subject};
use crate::auth::context::Asking;
use crate::auth::operations::{BYPASS, DELETE};
use coffer_core::catalog::{Command, Outcome, Precondition};
use coffer_core::ids::{BucketName, VersionId, VersionName};
use futures::{StreamExt, stream};
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Result};

/// Deletes that `DeleteObjects` runs at the same time.
const DELETES_AT_ONCE: usize = 32;

/// What is to be deleted, and on which conditions.
struct Deletion {
    version: Option<VersionName>,
    preconditions: Vec<Precondition>,
    bypass: bool,
}

/// What a delete did.
struct Deleted {
    /// The version that was named, or the delete marker that was made.
    version: Option<String>,
    /// Whether that is a delete marker.
    marker: bool,
}

impl CofferS3 {
    pub(super) async fn delete(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<DeleteObjectOutput> {
        let S3Request { input, headers, uri, extensions, .. } = req;
        let asking = Asking { headers: &headers, uri: &uri, extensions: &extensions };
        refuse(input.mfa.is_some(), "MFA delete")?;
        let bucket = convert::bucket(&input.bucket)?;
        let bypass = input.bypass_governance_retention == Some(true);
        let deletion = Deletion {
            version: convert::version(input.version_id.as_deref())?,
            preconditions: conditions(
                input.if_match,
                input.if_match_size,
                input.if_match_last_modified_time.as_ref(),
            )?,
            bypass: bypass && self.may_bypass(&asking, &bucket, &input.key).await?,
        };
        let deleted = self.delete_one(&bucket, &input.key, deletion).await?;
        Ok(DeleteObjectOutput {
            delete_marker: deleted.marker.then_some(true),
            version_id: deleted.version,
            ..DeleteObjectOutput::default()
        })
    }

    /// Whether the caller may lift retention in governance mode.
    pub(super) async fn may_bypass(
        &self,
        asking: &Asking<'_>,
        bucket: &BucketName,
        key: &str,
    ) -> S3Result<bool> {
        let (record, key) = (self.bucket_record(bucket).await?, convert::key(key)?);
        let subject = Subject::bucket(bucket, &record).object(&key, None);
        Ok(access::check(&self.catalog, asking, BYPASS, subject).await.is_ok())
    }

    async fn delete_one(
        &self,
        bucket: &BucketName,
        key: &str,
        deletion: Deletion,
    ) -> S3Result<Deleted> {
        let Deletion { version, preconditions, bypass } = deletion;
        let (bucket, key, at_ms) = (bucket.clone(), convert::key(key)?, now_ms());
        let command = match version {
            None => {
                let marker = VersionId::from_bytes(self.random_id()?);
                Command::DeleteObject { bucket, key, preconditions, marker, at_ms }
            }
            Some(version) => {
                Command::DeleteVersion { bucket, key, version, preconditions, bypass, at_ms }
            }
        };
        Ok(match self.catalog.submit(command).await.map_err(to_s3)? {
            Outcome::Deleted { made_marker: Some(marker), .. } => {
                Deleted { version: Some(marker.to_string()), marker: true }
            }
            Outcome::Deleted { was_marker, .. } => {
                Deleted { version: version.map(|v| v.to_string()), marker: was_marker }
            }
            _ => Deleted { version: None, marker: false },
        })
    }

    pub(super) async fn delete_many(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<DeleteObjectsOutput> {
        let S3Request { input, headers, uri, extensions, .. } = req;
        let asking = Asking { headers: &headers, uri: &uri, extensions: &extensions };
        refuse(input.mfa.is_some(), "MFA delete")?;
        if input.delete.objects.is_empty() || input.delete.objects.len() > 1000 {
            let message = "A multi-object delete names between 1 and 1000 objects.";
            return Err(s3(S3ErrorCode::MalformedXML, message));
        }
        let bucket = convert::bucket(&input.bucket)?;
        let record = self.bucket_record(&bucket).await?;
        let bypass = input.bypass_governance_retention == Some(true);
        let quiet = input.delete.quiet == Some(true);
        let (bucket, record, asking) = (&bucket, &record, &asking);
        let delete = async |object: &ObjectIdentifier| {
            let version = convert::version(object.version_id.as_deref())?;
            let key = convert::key(&object.key)?;
            let subject =
                Subject::bucket(bucket, record).object(&key, object.version_id.as_deref());
            access::check(&self.catalog, asking, DELETE, subject).await?;
            let bypass =
                bypass && access::check(&self.catalog, asking, BYPASS, subject).await.is_ok();
            let preconditions = conditions(
                object.e_tag.clone().map(etag_condition),
                object.size,
                object.last_modified_time.as_ref(),
            )?;
            self.delete_one(bucket, &object.key, Deletion { version, preconditions, bypass }).await
        };
        let outcomes = stream::iter(input.delete.objects)
            .map(|object| async {
                let outcome = delete(&object).await;
                (object, outcome)
            })
            .buffered(DELETES_AT_ONCE)
            .collect::<Vec<_>>()
            .await;
        let mut deleted = Vec::new();
        let mut errors = Vec::new();
        for (object, outcome) in outcomes {
            match outcome {
                Ok(_) if quiet => {}
                Ok(done) => deleted.push(line(object, done)),
                Err(error) => errors.push(Error {
                    code: Some(error.code().as_str().to_owned()),
                    message: error.message().map(str::to_owned),
                    key: Some(object.key),
                    version_id: object.version_id,
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

/// A line of the answer to a multi-object delete.
fn line(object: ObjectIdentifier, done: Deleted) -> DeletedObject {
    DeletedObject {
        key: Some(object.key),
        version_id: object.version_id,
        delete_marker: done.marker.then_some(true),
        delete_marker_version_id: done.version.filter(|_| done.marker),
    }
}

/// In the XML of a multi-object delete `*` comes as an etag.
fn etag_condition(etag: ETag) -> ETagCondition {
    if etag.value() == "*" { ETagCondition::Any } else { ETagCondition::ETag(etag) }
}

fn conditions(
    if_match: Option<ETagCondition>,
    size: Option<i64>,
    modified: Option<&Timestamp>,
) -> S3Result<Vec<Precondition>> {
    let mut conditions = preconditions(if_match, None);
    if let Some(size) = size {
        // No object has a negative size; no condition on one holds.
        conditions.push(Precondition::Size(u64::try_from(size).unwrap_or(u64::MAX)));
    }
    if let Some(time) = modified {
        conditions.push(Precondition::ModifiedSecond(convert::millis(time)? / 1000));
    }
    Ok(conditions)
}
