//! A bucket's policy, and what keeps it from making the bucket public.

use super::CofferS3;
use super::convert;
use super::errors::{custom, s3, to_s3};
use crate::auth::access::denied;
use coffer_core::bucket::{Policy, PublicAccessBlock, Setting};
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Result};

impl CofferS3 {
    pub(super) async fn policy(
        &self,
        input: GetBucketPolicyInput,
    ) -> S3Result<GetBucketPolicyOutput> {
        let record = self.bucket_record(&convert::bucket(&input.bucket)?).await?;
        let none = || s3(S3ErrorCode::NoSuchBucketPolicy, "The bucket policy does not exist.");
        let policy = record.settings.policy.as_ref().ok_or_else(none)?;
        Ok(GetBucketPolicyOutput { policy: Some(policy.text().to_owned()) })
    }

    pub(super) async fn set_policy(
        &self,
        input: PutBucketPolicyInput,
    ) -> S3Result<PutBucketPolicyOutput> {
        let bucket = convert::bucket(&input.bucket)?;
        let policy = Policy::parse(&input.policy, &bucket).map_err(to_s3)?;
        let block = self.bucket_record(&bucket).await?.settings.public_access.unwrap_or_default();
        if block.block_public_policy && policy.is_public() {
            return Err(denied());
        }
        self.set(&input.bucket, Setting::Policy(Some(policy))).await?;
        Ok(PutBucketPolicyOutput::default())
    }

    pub(super) async fn drop_policy(
        &self,
        input: DeleteBucketPolicyInput,
    ) -> S3Result<DeleteBucketPolicyOutput> {
        self.set(&input.bucket, Setting::Policy(None)).await?;
        Ok(DeleteBucketPolicyOutput::default())
    }

    pub(super) async fn policy_status(
        &self,
        input: GetBucketPolicyStatusInput,
    ) -> S3Result<GetBucketPolicyStatusOutput> {
        let record = self.bucket_record(&convert::bucket(&input.bucket)?).await?;
        let public = record.settings.policy.as_ref().is_some_and(Policy::is_public);
        let status = PolicyStatus { is_public: Some(public) };
        Ok(GetBucketPolicyStatusOutput { policy_status: Some(status) })
    }

    pub(super) async fn public_access(
        &self,
        input: GetPublicAccessBlockInput,
    ) -> S3Result<GetPublicAccessBlockOutput> {
        let record = self.bucket_record(&convert::bucket(&input.bucket)?).await?;
        let none = || {
            custom(
                "NoSuchPublicAccessBlockConfiguration",
                http::StatusCode::NOT_FOUND,
                "The public access block configuration was not found.",
            )
        };
        let block = record.settings.public_access.ok_or_else(none)?;
        let configuration = PublicAccessBlockConfiguration {
            block_public_acls: Some(block.block_public_acls),
            block_public_policy: Some(block.block_public_policy),
            ignore_public_acls: Some(block.ignore_public_acls),
            restrict_public_buckets: Some(block.restrict_public_buckets),
        };
        Ok(GetPublicAccessBlockOutput { public_access_block_configuration: Some(configuration) })
    }

    pub(super) async fn block_public_access(
        &self,
        input: PutPublicAccessBlockInput,
    ) -> S3Result<PutPublicAccessBlockOutput> {
        let asked = input.public_access_block_configuration;
        let block = PublicAccessBlock {
            block_public_acls: asked.block_public_acls == Some(true),
            block_public_policy: asked.block_public_policy == Some(true),
            ignore_public_acls: asked.ignore_public_acls == Some(true),
            restrict_public_buckets: asked.restrict_public_buckets == Some(true),
        };
        self.set(&input.bucket, Setting::PublicAccess(Some(block))).await?;
        Ok(PutPublicAccessBlockOutput::default())
    }

    pub(super) async fn unblock_public_access(
        &self,
        input: DeletePublicAccessBlockInput,
    ) -> S3Result<DeletePublicAccessBlockOutput> {
        self.set(&input.bucket, Setting::PublicAccess(None)).await?;
        Ok(DeletePublicAccessBlockOutput::default())
    }
}
