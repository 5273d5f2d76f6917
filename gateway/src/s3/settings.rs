//! A bucket's versioning, tags and Object Lock configuration.

use super::CofferS3;
use super::convert::{self, refuse};
use super::errors::{s3, to_s3};
use super::new_object::{lock_mode, mode_name};
use super::tags::{read_tags, tag_set};
use coffer_core::bucket::{
    DefaultRetention, ObjectLock, RetentionPeriod, Setting, TagLimit, Versioning,
};
use coffer_core::catalog::Command;
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Result};

impl CofferS3 {
    /// Changes one setting of a bucket.
    pub(super) async fn set(&self, bucket: &str, setting: Setting) -> S3Result<()> {
        let bucket = convert::bucket(bucket)?;
        let command = Command::SetBucket { bucket, setting: Box::new(setting) };
        self.catalog.submit(command).await.map(|_| ()).map_err(to_s3)
    }

    pub(super) async fn versioning(
        &self,
        input: GetBucketVersioningInput,
    ) -> S3Result<GetBucketVersioningOutput> {
        let record = self.bucket_record(&convert::bucket(&input.bucket)?).await?;
        let status = match record.settings.versioning {
            Versioning::Unversioned => None,
            Versioning::Enabled => Some(BucketVersioningStatus::ENABLED),
            Versioning::Suspended => Some(BucketVersioningStatus::SUSPENDED),
        };
        Ok(GetBucketVersioningOutput {
            status: status.map(BucketVersioningStatus::from_static),
            ..GetBucketVersioningOutput::default()
        })
    }

    pub(super) async fn set_versioning(
        &self,
        input: PutBucketVersioningInput,
    ) -> S3Result<PutBucketVersioningOutput> {
        let configuration = input.versioning_configuration;
        let mfa =
            configuration.mfa_delete.as_ref().is_some_and(|m| m.as_str() == MFADelete::ENABLED);
        refuse(mfa || input.mfa.is_some(), "MFA delete")?;
        let versioning = match configuration.status.as_ref().map(BucketVersioningStatus::as_str) {
            Some(BucketVersioningStatus::ENABLED) => Versioning::Enabled,
            Some(BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
            _ => {
                let message = "The status of versioning is Enabled or Suspended.";
                return Err(s3(S3ErrorCode::MalformedXML, message));
            }
        };
        self.set(&input.bucket, Setting::Versioning(versioning)).await?;
        Ok(PutBucketVersioningOutput::default())
    }

    pub(super) async fn bucket_tags(
        &self,
        input: GetBucketTaggingInput,
    ) -> S3Result<GetBucketTaggingOutput> {
        let record = self.bucket_record(&convert::bucket(&input.bucket)?).await?;
        let none = || s3(S3ErrorCode::NoSuchTagSet, "The bucket has no tags.");
        let tags = record.settings.tags.as_ref().ok_or_else(none)?;
        Ok(GetBucketTaggingOutput { tag_set: tag_set(tags) })
    }

    pub(super) async fn tag_bucket(
        &self,
        input: PutBucketTaggingInput,
    ) -> S3Result<PutBucketTaggingOutput> {
        let tags = read_tags(TagLimit::Bucket, input.tagging.tag_set)?;
        self.set(&input.bucket, Setting::Tags(Some(tags))).await?;
        Ok(PutBucketTaggingOutput::default())
    }

    pub(super) async fn untag_bucket(
        &self,
        input: DeleteBucketTaggingInput,
    ) -> S3Result<DeleteBucketTaggingOutput> {
        self.set(&input.bucket, Setting::Tags(None)).await?;
        Ok(DeleteBucketTaggingOutput::default())
    }

    pub(super) async fn lock_configuration(
        &self,
        input: GetObjectLockConfigurationInput,
    ) -> S3Result<GetObjectLockConfigurationOutput> {
        let record = self.bucket_record(&convert::bucket(&input.bucket)?).await?;
        let code = S3ErrorCode::ObjectLockConfigurationNotFoundError;
        let none = || s3(code, "Object Lock configuration does not exist for this bucket.");
        let lock = record.settings.object_lock.ok_or_else(none)?;
        let rule = lock.default.map(|default| {
            let (days, years) = match default.period {
                RetentionPeriod::Days(days) => (Some(days), None),
                RetentionPeriod::Years(years) => (None, Some(years)),
            };
            let count = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
            let retention = s3s::dto::DefaultRetention {
                mode: Some(ObjectLockRetentionMode::from_static(mode_name(default.mode))),
                days: days.map(count),
                years: years.map(count),
            };
            ObjectLockRule { default_retention: Some(retention) }
        });
        let configuration = ObjectLockConfiguration {
            object_lock_enabled: Some(ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED)),
            rule,
        };
        Ok(GetObjectLockConfigurationOutput { object_lock_configuration: Some(configuration) })
    }

    pub(super) async fn configure_lock(
        &self,
        input: PutObjectLockConfigurationInput,
    ) -> S3Result<PutObjectLockConfigurationOutput> {
        let malformed = |message: &str| s3(S3ErrorCode::MalformedXML, message);
        let configuration = input.object_lock_configuration.unwrap_or_default();
        let enabled = configuration.object_lock_enabled.as_ref().map(ObjectLockEnabled::as_str);
        if enabled != Some(ObjectLockEnabled::ENABLED) {
            return Err(malformed("ObjectLockEnabled must be Enabled."));
        }
        let asked = configuration.rule.and_then(|rule| rule.default_retention);
        let default = asked
            .map(|asked| {
                let mode = asked.mode.ok_or_else(|| malformed("The default has no mode."))?;
                // What is negative is as wrong as zero.
                let count = |n: i32| u32::try_from(n).unwrap_or(0);
                let period = match (asked.days, asked.years) {
                    (Some(days), None) => RetentionPeriod::Days(count(days)),
                    (None, Some(years)) => RetentionPeriod::Years(count(years)),
                    _ => return Err(malformed("The default has either days or years.")),
                };
                DefaultRetention::new(lock_mode(mode.as_str())?, period).map_err(invalid_period)
            })
            .transpose()?;
        self.set(&input.bucket, Setting::ObjectLock(ObjectLock { default })).await?;
        Ok(PutObjectLockConfigurationOutput::default())
    }
}

fn invalid_period(error: coffer_core::bucket::SettingError) -> s3s::S3Error {
    let code = S3ErrorCode::Custom("InvalidRetentionPeriod".into());
    let mut coded = s3(code, to_s3(error).message().unwrap_or_default());
    coded.set_status_code(http::StatusCode::BAD_REQUEST);
    coded
}
