//! The S3 operations, translated to the engine and the catalog.
//!
//! | module | what |
//! |---|---|
//! | [`buckets`] | create, delete, head, list buckets |
//! | [`settings`] | a bucket's versioning, tags and Object Lock |
//! | [`policy`], [`acl`], [`cors`] | who may do what, who owns what, which web pages may read |
//! | [`lifecycle`] | a bucket's lifecycle rules |
//! | [`put`], [`read`], [`delete`] | put, get and head, delete |
//! | [`tags`], [`lock`] | an object's tags, retention and legal hold |
//! | [`new_object`] | what all requests that make objects have in common |
//! | [`encryption`] | SSE-S3, SSE-KMS and SSE-C as what we do |
//! | [`copy`] | server-side copies, of objects and into parts |
//! | [`attributes`] | what is known of an object, in one answer |
//! | [`multipart`], [`upload_checksums`] | multipart uploads, and what their parts add up to |
//! | [`upload_listing`] | list uploads and their parts |
//! | [`listing`], [`version_listing`] | list objects, v1 and v2, and their versions |
//! | [`checksums`] | Content-MD5 and x-amz-checksum-* |
//! | [`conditions`] | If-Match and its relatives |
//! | [`convert`] | names, headers and times between S3's types and ours |
//! | [`errors`] | our errors as S3 error codes |
//!
//! What is not supported is answered with `NotImplemented`: by `s3s` for whole operations, by
//! [`convert::refuse`] for parameters that would change what an operation promises.

pub mod acl;
pub mod attributes;
pub mod buckets;
pub mod checksums;
pub mod conditions;
pub mod convert;
pub mod copy;
pub mod cors;
pub mod delete;
pub mod encryption;
pub mod errors;
pub mod lifecycle;
pub mod listing;
pub mod lock;
pub mod multipart;
pub mod new_object;
pub mod policy;
pub mod put;
pub mod read;
pub mod settings;
pub mod tags;
pub mod upload_checksums;
pub mod upload_listing;
pub mod version_listing;

use crate::catalog::CatalogHandle;
use crate::engine::Engine;
use crate::engine::keys::{BucketKeys, MasterKey};
use coffer_core::bucket::Versioning;
use coffer_core::catalog::Scope;
use coffer_core::catalog::records::BucketRecord;
use coffer_core::erasure::Code;
use coffer_core::ids::{BucketName, VersionName};
use coffer_core::random;
use errors::to_s3;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// S3 over an engine and a catalog. Clones share both.
#[derive(Debug, Clone)]
pub struct CofferS3 {
    engine: Arc<Engine>,
    catalog: CatalogHandle,
    master: MasterKey,
    settings: Settings,
}

/// What new buckets get, and what is told to clients.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The erasure code of new buckets.
    pub code: Code,
    /// The region that buckets are said to be in.
    pub region: String,
    /// The named keys that objects may be encrypted under (SSE-KMS), beside the default one.
    pub kms_keys: Vec<String>,
}

impl CofferS3 {
    /// S3 over the given parts.
    pub fn new(
        engine: Arc<Engine>,
        catalog: CatalogHandle,
        master: MasterKey,
        settings: Settings,
    ) -> Self {
        Self { engine, catalog, master, settings }
    }

    /// A bucket with its keys; fails if there is none of that name.
    async fn open_bucket(&self, name: &BucketName) -> S3Result<OpenBucket> {
        let record = self.bucket_record(name).await?;
        let keys = self.master.open(name, &record).map_err(to_s3)?;
        Ok(OpenBucket { record, keys })
    }

    /// What is recorded of a bucket; fails if there is none of that name.
    async fn bucket_record(&self, name: &BucketName) -> S3Result<BucketRecord> {
        self.catalog.read(Scope::Bucket(name), |c| c.bucket(name)).await.map_err(to_s3)
    }

    /// A random id, for a version or an upload.
    fn random_id(&self) -> S3Result<[u8; 16]> {
        random::array(self.engine.random()).map_err(to_s3)
    }
}

/// A bucket that a request works on.
struct OpenBucket {
    record: BucketRecord,
    keys: BucketKeys,
}

/// What clients are told about a version's id: nothing where versions were never kept.
fn shown_version(bucket: &BucketRecord, name: VersionName) -> Option<String> {
    (bucket.settings.versioning != Versioning::Unversioned).then(|| name.to_string())
}

/// The time, in ms since the Unix epoch.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

type Answer<T> = S3Result<S3Response<T>>;

#[async_trait::async_trait]
impl S3 for CofferS3 {
    async fn create_bucket(&self, req: S3Request<CreateBucketInput>) -> Answer<CreateBucketOutput> {
        self.make_bucket(req).await.map(S3Response::new)
    }

    async fn delete_bucket(&self, req: S3Request<DeleteBucketInput>) -> Answer<DeleteBucketOutput> {
        self.drop_bucket(req.input).await.map(S3Response::new)
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> Answer<HeadBucketOutput> {
        self.stat_bucket(req.input).await.map(S3Response::new)
    }

    async fn list_buckets(&self, req: S3Request<ListBucketsInput>) -> Answer<ListBucketsOutput> {
        self.all_buckets(req).await.map(S3Response::new)
    }

    async fn get_bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> Answer<GetBucketLocationOutput> {
        self.locate_bucket(req.input).await.map(S3Response::new)
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> Answer<PutObjectOutput> {
        self.put(req).await.map(S3Response::new)
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> Answer<GetObjectOutput> {
        self.get(req).await
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> Answer<HeadObjectOutput> {
        self.head(req).await
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> Answer<DeleteObjectOutput> {
        self.delete(req).await.map(S3Response::new)
    }

    async fn delete_objects(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> Answer<DeleteObjectsOutput> {
        self.delete_many(req).await.map(S3Response::new)
    }

    async fn copy_object(&self, req: S3Request<CopyObjectInput>) -> Answer<CopyObjectOutput> {
        self.copy(req).await.map(S3Response::new)
    }

    async fn list_objects(&self, req: S3Request<ListObjectsInput>) -> Answer<ListObjectsOutput> {
        self.list_v1(req.input).await.map(S3Response::new)
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> Answer<ListObjectsV2Output> {
        self.list_v2(req.input).await.map(S3Response::new)
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> Answer<CreateMultipartUploadOutput> {
        self.begin_upload(req.input).await.map(S3Response::new)
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> Answer<UploadPartOutput> {
        self.put_part(req).await.map(S3Response::new)
    }

    async fn upload_part_copy(
        &self,
        req: S3Request<UploadPartCopyInput>,
    ) -> Answer<UploadPartCopyOutput> {
        self.copy_part(req).await.map(S3Response::new)
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> Answer<CompleteMultipartUploadOutput> {
        self.complete(req.input).await.map(S3Response::new)
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> Answer<AbortMultipartUploadOutput> {
        self.abort(req.input).await.map(S3Response::new)
    }

    async fn list_parts(&self, req: S3Request<ListPartsInput>) -> Answer<ListPartsOutput> {
        self.parts_of(req.input).await.map(S3Response::new)
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> Answer<ListMultipartUploadsOutput> {
        self.uploads_in(req.input).await.map(S3Response::new)
    }

    async fn get_object_tagging(
        &self,
        req: S3Request<GetObjectTaggingInput>,
    ) -> Answer<GetObjectTaggingOutput> {
        self.object_tags(req.input).await.map(S3Response::new)
    }

    async fn put_object_tagging(
        &self,
        req: S3Request<PutObjectTaggingInput>,
    ) -> Answer<PutObjectTaggingOutput> {
        self.tag_object(req.input).await.map(S3Response::new)
    }

    async fn delete_object_tagging(
        &self,
        req: S3Request<DeleteObjectTaggingInput>,
    ) -> Answer<DeleteObjectTaggingOutput> {
        self.untag_object(req.input).await.map(S3Response::new)
    }

    async fn get_object_retention(
        &self,
        req: S3Request<GetObjectRetentionInput>,
    ) -> Answer<GetObjectRetentionOutput> {
        self.retention(req.input).await.map(S3Response::new)
    }

    async fn put_object_retention(
        &self,
        req: S3Request<PutObjectRetentionInput>,
    ) -> Answer<PutObjectRetentionOutput> {
        self.retain(req).await.map(S3Response::new)
    }

    async fn get_object_legal_hold(
        &self,
        req: S3Request<GetObjectLegalHoldInput>,
    ) -> Answer<GetObjectLegalHoldOutput> {
        self.legal_hold(req.input).await.map(S3Response::new)
    }

    async fn put_object_legal_hold(
        &self,
        req: S3Request<PutObjectLegalHoldInput>,
    ) -> Answer<PutObjectLegalHoldOutput> {
        self.hold(req.input).await.map(S3Response::new)
    }

    async fn get_bucket_versioning(
        &self,
        req: S3Request<GetBucketVersioningInput>,
    ) -> Answer<GetBucketVersioningOutput> {
        self.versioning(req.input).await.map(S3Response::new)
    }

    async fn put_bucket_versioning(
        &self,
        req: S3Request<PutBucketVersioningInput>,
    ) -> Answer<PutBucketVersioningOutput> {
        self.set_versioning(req.input).await.map(S3Response::new)
    }

    async fn get_bucket_tagging(
        &self,
        req: S3Request<GetBucketTaggingInput>,
    ) -> Answer<GetBucketTaggingOutput> {
        self.bucket_tags(req.input).await.map(S3Response::new)
    }

    async fn put_bucket_tagging(
        &self,
        req: S3Request<PutBucketTaggingInput>,
    ) -> Answer<PutBucketTaggingOutput> {
        self.tag_bucket(req.input).await.map(S3Response::new)
    }

    async fn delete_bucket_tagging(
        &self,
        req: S3Request<DeleteBucketTaggingInput>,
    ) -> Answer<DeleteBucketTaggingOutput> {
        self.untag_bucket(req.input).await.map(S3Response::new)
    }

    async fn get_object_lock_configuration(
        &self,
        req: S3Request<GetObjectLockConfigurationInput>,
    ) -> Answer<GetObjectLockConfigurationOutput> {
        self.lock_configuration(req.input).await.map(S3Response::new)
    }

    async fn put_object_lock_configuration(
        &self,
        req: S3Request<PutObjectLockConfigurationInput>,
    ) -> Answer<PutObjectLockConfigurationOutput> {
        self.configure_lock(req.input).await.map(S3Response::new)
    }

    async fn list_object_versions(
        &self,
        req: S3Request<ListObjectVersionsInput>,
    ) -> Answer<ListObjectVersionsOutput> {
        self.versions_in(req.input).await.map(S3Response::new)
    }

    async fn get_bucket_policy(
        &self,
        req: S3Request<GetBucketPolicyInput>,
    ) -> Answer<GetBucketPolicyOutput> {
        self.policy(req.input).await.map(S3Response::new)
    }

    async fn put_bucket_policy(
        &self,
        req: S3Request<PutBucketPolicyInput>,
    ) -> Answer<PutBucketPolicyOutput> {
        self.set_policy(req.input).await.map(S3Response::new)
    }

    async fn delete_bucket_policy(
        &self,
        req: S3Request<DeleteBucketPolicyInput>,
    ) -> Answer<DeleteBucketPolicyOutput> {
        self.drop_policy(req.input).await.map(S3Response::new)
    }

    async fn get_bucket_policy_status(
        &self,
        req: S3Request<GetBucketPolicyStatusInput>,
    ) -> Answer<GetBucketPolicyStatusOutput> {
        self.policy_status(req.input).await.map(S3Response::new)
    }

    async fn get_public_access_block(
        &self,
        req: S3Request<GetPublicAccessBlockInput>,
    ) -> Answer<GetPublicAccessBlockOutput> {
        self.public_access(req.input).await.map(S3Response::new)
    }

    async fn put_public_access_block(
        &self,
        req: S3Request<PutPublicAccessBlockInput>,
    ) -> Answer<PutPublicAccessBlockOutput> {
        self.block_public_access(req.input).await.map(S3Response::new)
    }

    async fn delete_public_access_block(
        &self,
        req: S3Request<DeletePublicAccessBlockInput>,
    ) -> Answer<DeletePublicAccessBlockOutput> {
        self.unblock_public_access(req.input).await.map(S3Response::new)
    }

    async fn get_bucket_ownership_controls(
        &self,
        req: S3Request<GetBucketOwnershipControlsInput>,
    ) -> Answer<GetBucketOwnershipControlsOutput> {
        self.ownership(req.input).await.map(S3Response::new)
    }

    async fn put_bucket_ownership_controls(
        &self,
        req: S3Request<PutBucketOwnershipControlsInput>,
    ) -> Answer<PutBucketOwnershipControlsOutput> {
        self.set_ownership(req.input).await.map(S3Response::new)
    }

    async fn delete_bucket_ownership_controls(
        &self,
        req: S3Request<DeleteBucketOwnershipControlsInput>,
    ) -> Answer<DeleteBucketOwnershipControlsOutput> {
        self.unset_ownership(req.input).await.map(S3Response::new)
    }

    async fn get_bucket_acl(
        &self,
        req: S3Request<GetBucketAclInput>,
    ) -> Answer<GetBucketAclOutput> {
        self.bucket_acl(req.input).await.map(S3Response::new)
    }

    async fn put_bucket_acl(
        &self,
        req: S3Request<PutBucketAclInput>,
    ) -> Answer<PutBucketAclOutput> {
        self.set_bucket_acl(req.input).await.map(S3Response::new)
    }

    async fn get_object_acl(
        &self,
        req: S3Request<GetObjectAclInput>,
    ) -> Answer<GetObjectAclOutput> {
        self.object_acl(req.input).await.map(S3Response::new)
    }

    async fn put_object_acl(
        &self,
        req: S3Request<PutObjectAclInput>,
    ) -> Answer<PutObjectAclOutput> {
        self.set_object_acl(req.input).await.map(S3Response::new)
    }

    async fn get_bucket_cors(
        &self,
        req: S3Request<GetBucketCorsInput>,
    ) -> Answer<GetBucketCorsOutput> {
        self.cors(req.input).await.map(S3Response::new)
    }

    async fn put_bucket_cors(
        &self,
        req: S3Request<PutBucketCorsInput>,
    ) -> Answer<PutBucketCorsOutput> {
        self.set_cors(req.input).await.map(S3Response::new)
    }

    async fn delete_bucket_cors(
        &self,
        req: S3Request<DeleteBucketCorsInput>,
    ) -> Answer<DeleteBucketCorsOutput> {
        self.drop_cors(req.input).await.map(S3Response::new)
    }

    async fn get_bucket_encryption(
        &self,
        req: S3Request<GetBucketEncryptionInput>,
    ) -> Answer<GetBucketEncryptionOutput> {
        self.bucket_encryption(req.input).await.map(S3Response::new)
    }

    async fn put_bucket_encryption(
        &self,
        req: S3Request<PutBucketEncryptionInput>,
    ) -> Answer<PutBucketEncryptionOutput> {
        self.encrypt_bucket(req.input).await.map(S3Response::new)
    }

    async fn delete_bucket_encryption(
        &self,
        req: S3Request<DeleteBucketEncryptionInput>,
    ) -> Answer<DeleteBucketEncryptionOutput> {
        self.forget_bucket_encryption(req.input).await.map(S3Response::new)
    }

    async fn get_object_attributes(
        &self,
        req: S3Request<GetObjectAttributesInput>,
    ) -> Answer<GetObjectAttributesOutput> {
        self.attributes(req.input).await
    }

    async fn get_bucket_lifecycle_configuration(
        &self,
        req: S3Request<GetBucketLifecycleConfigurationInput>,
    ) -> Answer<GetBucketLifecycleConfigurationOutput> {
        self.lifecycle(req.input).await.map(S3Response::new)
    }

    async fn put_bucket_lifecycle_configuration(
        &self,
        req: S3Request<PutBucketLifecycleConfigurationInput>,
    ) -> Answer<PutBucketLifecycleConfigurationOutput> {
        self.set_lifecycle(req.input).await.map(S3Response::new)
    }

    async fn delete_bucket_lifecycle(
        &self,
        req: S3Request<DeleteBucketLifecycleInput>,
    ) -> Answer<DeleteBucketLifecycleOutput> {
        self.drop_lifecycle(req.input).await.map(S3Response::new)
    }
}
