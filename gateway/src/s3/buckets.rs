//! Create, delete, head and list buckets.

use super::acl;
use super::errors::{s3, to_s3};
use super::{CofferS3, convert, now_ms};
use crate::auth::access::denied;
use crate::auth::identity;
use coffer_core::bucket::{ObjectLock, Setting, Versioning};
use coffer_core::catalog::{CatalogError, Command, Scope};
use coffer_core::ids::BucketName;
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Result};

impl CofferS3 {
    pub(super) async fn make_bucket(
        &self,
        req: S3Request<CreateBucketInput>,
    ) -> S3Result<CreateBucketOutput> {
        let owner = identity::caller(&req.extensions).map(|c| c.name().to_owned());
        let owner = owner.unwrap_or_default();
        let input = req.input;
        let bucket = convert::bucket(&input.bucket)?;
        let mut record = self
            .master
            .new_bucket(&bucket, self.settings.code, owner.clone(), now_ms(), self.engine.random())
            .map_err(to_s3)?;
        let ownership = input.object_ownership.as_ref().map(acl::read_ownership).transpose()?;
        record.settings.set(Setting::Ownership(ownership));
        acl::check_headers(&req.headers, &record)?;
        if input.object_lock_enabled_for_bucket == Some(true) {
            record.settings.set(Setting::Versioning(Versioning::Enabled));
            record.settings.set(Setting::ObjectLock(ObjectLock::default()));
        }
        let location = format!("/{bucket}");
        let command = Command::CreateBucket { bucket: bucket.clone(), record };
        match self.catalog.submit(command).await {
            Err(CatalogError::BucketExists) => self.bucket_taken(&bucket, &owner).await?,
            outcome => outcome.map(|_| ()).map_err(to_s3)?,
        }
        Ok(CreateBucketOutput { location: Some(location) })
    }

    /// What is told to someone who makes a bucket that is there. In its first region S3 tells the
    /// owner that all is well, and changes nothing; tools rely on either.
    async fn bucket_taken(&self, bucket: &BucketName, caller: &str) -> S3Result<()> {
        let own = self.bucket_record(bucket).await?.owner == caller;
        if own && self.settings.region == "us-east-1" {
            return Ok(());
        }
        let (code, whose) = if own {
            (S3ErrorCode::BucketAlreadyOwnedByYou, "and you own it")
        } else {
            (S3ErrorCode::BucketAlreadyExists, "and its name is taken")
        };
        Err(s3(code, format!("The bucket exists already, {whose}.")))
    }

    pub(super) async fn drop_bucket(
        &self,
        input: DeleteBucketInput,
    ) -> S3Result<DeleteBucketOutput> {
        let bucket = convert::bucket(&input.bucket)?;
        let command = Command::DeleteBucket { bucket, at_ms: now_ms() };
        self.catalog.submit(command).await.map_err(to_s3)?;
        Ok(DeleteBucketOutput {})
    }

    pub(super) async fn stat_bucket(&self, input: HeadBucketInput) -> S3Result<HeadBucketOutput> {
        self.require_bucket(&input.bucket).await?;
        Ok(HeadBucketOutput {
            bucket_region: Some(self.settings.region.clone()),
            ..HeadBucketOutput::default()
        })
    }

    pub(super) async fn locate_bucket(
        &self,
        input: GetBucketLocationInput,
    ) -> S3Result<GetBucketLocationOutput> {
        self.require_bucket(&input.bucket).await?;
        // S3 says nothing for its first region.
        let constraint = (self.settings.region != "us-east-1")
            .then(|| BucketLocationConstraint::from(self.settings.region.clone()));
        Ok(GetBucketLocationOutput { location_constraint: constraint })
    }

    pub(super) async fn all_buckets(
        &self,
        req: S3Request<ListBucketsInput>,
    ) -> S3Result<ListBucketsOutput> {
        let caller = identity::caller(&req.extensions).ok_or_else(denied)?;
        let input = req.input;
        let prefix = input.prefix.clone().unwrap_or_default();
        let after = input.continuation_token.unwrap_or_default();
        let limit = match input.max_buckets {
            None => 10_000,
            Some(n @ 1..=10_000) => usize::try_from(n).unwrap_or(1),
            Some(_) => {
                let message = "max-buckets must be between 1 and 10000.";
                return Err(s3(S3ErrorCode::InvalidArgument, message));
            }
        };
        self.catalog.current().await.map_err(to_s3)?;
        let mut buckets = self.catalog.read(Scope::Hidden, |c| c.buckets()).await.map_err(to_s3)?;
        buckets.retain(|(name, record)| {
            name.as_str().starts_with(&prefix)
                && name.as_str() > after.as_str()
                && caller.may_see(name, Some(&record.owner))
        });
        let more = buckets.len() > limit;
        buckets.truncate(limit);
        let next = buckets.last().filter(|_| more).map(|(name, _)| name.to_string());
        let buckets = buckets
            .into_iter()
            .map(|(name, record)| Bucket {
                name: Some(name.into()),
                creation_date: Some(convert::timestamp(record.created_ms)),
                bucket_region: Some(self.settings.region.clone()),
            })
            .collect();
        Ok(ListBucketsOutput {
            buckets: Some(buckets),
            continuation_token: next,
            owner: Some(acl::owner(caller.name())),
            prefix: input.prefix,
        })
    }

    async fn require_bucket(&self, name: &str) -> S3Result<()> {
        self.bucket_record(&convert::bucket(name)?).await.map(|_| ())
    }
}
