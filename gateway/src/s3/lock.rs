//! An object's retention and legal hold.

use super::errors::{s3, to_s3};
use super::new_object::{mode_name, retention};
use super::{CofferS3, convert};
use crate::auth::context::Asking;
use coffer_core::catalog::records::Lock;
use coffer_core::catalog::{Amendment, CatalogError, Scope};
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Result};

impl CofferS3 {
    pub(super) async fn retain(
        &self,
        req: S3Request<PutObjectRetentionInput>,
    ) -> S3Result<PutObjectRetentionOutput> {
        let S3Request { input, headers, uri, extensions, .. } = req;
        let asking = Asking { headers: &headers, uri: &uri, extensions: &extensions };
        let bucket = convert::bucket(&input.bucket)?;
        let bypass = input.bypass_governance_retention == Some(true)
            && self.may_bypass(&asking, &bucket, &input.key).await?;
        let asked = input.retention.unwrap_or_default();
        let retention = match (&asked.mode, &asked.retain_until_date) {
            (None, None) => None,
            (Some(mode), Some(until)) => Some(retention(mode.as_str(), until)?),
            _ => {
                let message = "A retention has a mode and a date, or neither.";
                return Err(s3(S3ErrorCode::MalformedXML, message));
            }
        };
        let change = Amendment::Retention { retention, bypass };
        self.amend(&input.bucket, &input.key, input.version_id.as_deref(), change).await?;
        Ok(PutObjectRetentionOutput::default())
    }

    pub(super) async fn retention(
        &self,
        input: GetObjectRetentionInput,
    ) -> S3Result<GetObjectRetentionOutput> {
        let lock = self.lock_of(&input.bucket, &input.key, input.version_id.as_deref()).await?;
        let retention = lock.retention.ok_or_else(no_configuration)?;
        let mode = ObjectLockRetentionMode::from_static(mode_name(retention.mode));
        let retention = ObjectLockRetention {
            mode: Some(mode),
            retain_until_date: Some(convert::exact_timestamp(retention.until_ms)),
        };
        Ok(GetObjectRetentionOutput { retention: Some(retention) })
    }

    pub(super) async fn hold(
        &self,
        input: PutObjectLegalHoldInput,
    ) -> S3Result<PutObjectLegalHoldOutput> {
        let status = input.legal_hold.and_then(|hold| hold.status);
        let held = match status.as_ref().map(ObjectLockLegalHoldStatus::as_str) {
            Some(ObjectLockLegalHoldStatus::ON) => true,
            Some(ObjectLockLegalHoldStatus::OFF) => false,
            _ => return Err(s3(S3ErrorCode::MalformedXML, "A legal hold is ON or OFF.")),
        };
        let change = Amendment::LegalHold(held);
        self.amend(&input.bucket, &input.key, input.version_id.as_deref(), change).await?;
        Ok(PutObjectLegalHoldOutput::default())
    }

    pub(super) async fn legal_hold(
        &self,
        input: GetObjectLegalHoldInput,
    ) -> S3Result<GetObjectLegalHoldOutput> {
        let lock = self.lock_of(&input.bucket, &input.key, input.version_id.as_deref()).await?;
        let status = Some(hold_status(lock.legal_hold));
        Ok(GetObjectLegalHoldOutput { legal_hold: Some(ObjectLockLegalHold { status }) })
    }

    /// What keeps a version from being deleted, in a bucket that was made for locks.
    async fn lock_of(&self, bucket: &str, key: &str, version: Option<&str>) -> S3Result<Lock> {
        let bucket = convert::bucket(bucket)?;
        let key = convert::key(key)?;
        let name = convert::version(version)?;
        if self.bucket_record(&bucket).await?.settings.object_lock.is_none() {
            return Err(to_s3(CatalogError::NoObjectLock));
        }
        let scope = Scope::Object(&bucket, &key);
        let version = self.catalog.read(scope, |c| c.version(&bucket, &key, name)).await;
        Ok(version.map_err(to_s3)?.record.lock)
    }
}

/// A legal hold in S3's type.
pub(super) fn hold_status(held: bool) -> ObjectLockLegalHoldStatus {
    ObjectLockLegalHoldStatus::from_static(if held {
        ObjectLockLegalHoldStatus::ON
    } else {
        ObjectLockLegalHoldStatus::OFF
    })
}

fn no_configuration() -> s3s::S3Error {
    let code = S3ErrorCode::NoSuchObjectLockConfiguration;
    s3(code, "The specified object does not have an ObjectLock configuration.")
}
