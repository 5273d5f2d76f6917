//! An object's tags.

use super::convert;
use super::errors::to_s3;
use super::{CofferS3, now_ms, shown_version};
use coffer_core::bucket::{TagLimit, Tags};
use coffer_core::catalog::{Amendment, Command, Outcome, Scope};
use s3s::S3Result;
use s3s::dto::*;

impl CofferS3 {
    pub(super) async fn object_tags(
        &self,
        input: GetObjectTaggingInput,
    ) -> S3Result<GetObjectTaggingOutput> {
        let bucket = convert::bucket(&input.bucket)?;
        let key = convert::key(&input.key)?;
        let name = convert::version(input.version_id.as_deref())?;
        let record = self.bucket_record(&bucket).await?;
        let scope = Scope::Object(&bucket, &key);
        let version =
            self.catalog.read(scope, |c| c.version(&bucket, &key, name)).await.map_err(to_s3)?;
        Ok(GetObjectTaggingOutput {
            tag_set: tag_set(&version.record.tags),
            version_id: shown_version(&record, version.name()),
        })
    }

    pub(super) async fn tag_object(
        &self,
        input: PutObjectTaggingInput,
    ) -> S3Result<PutObjectTaggingOutput> {
        let tags = read_tags(TagLimit::Object, input.tagging.tag_set)?;
        let change = Amendment::Tags(tags);
        let version =
            self.amend(&input.bucket, &input.key, input.version_id.as_deref(), change).await?;
        Ok(PutObjectTaggingOutput { version_id: version })
    }

    pub(super) async fn untag_object(
        &self,
        input: DeleteObjectTaggingInput,
    ) -> S3Result<DeleteObjectTaggingOutput> {
        let change = Amendment::Tags(Tags::default());
        let version =
            self.amend(&input.bucket, &input.key, input.version_id.as_deref(), change).await?;
        Ok(DeleteObjectTaggingOutput { version_id: version })
    }

    /// Changes a version; returns its id where the bucket keeps versions.
    pub(super) async fn amend(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
        change: Amendment,
    ) -> S3Result<Option<String>> {
        let command = Command::AmendVersion {
            bucket: convert::bucket(bucket)?,
            key: convert::key(key)?,
            version: convert::version(version)?,
            change,
            at_ms: now_ms(),
        };
        match self.catalog.submit(command).await.map_err(to_s3)? {
            Outcome::Amended { version } => Ok(version.map(|v| v.to_string())),
            _ => Ok(None),
        }
    }
}

/// Tags in S3's type.
pub(super) fn tag_set(tags: &Tags) -> TagSet {
    let tag = |(key, value): (&str, &str)| Tag {
        key: Some(key.to_owned()),
        value: Some(value.to_owned()),
    };
    tags.iter().map(tag).collect()
}

/// Tags out of S3's type.
pub(crate) fn read_tags(limit: TagLimit, tags: TagSet) -> S3Result<Tags> {
    let pairs = tags.into_iter().map(|t| (t.key.unwrap_or_default(), t.value.unwrap_or_default()));
    Tags::new(limit, pairs).map_err(to_s3)
}
