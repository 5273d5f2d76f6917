//! The S3 operations, translated to the engine and the catalog.
//!
//! | module | what |
//! |---|---|
//! | [`buckets`] | create, delete, head, list buckets |
//! | [`objects`] | put, get, head, delete |
//! | [`copy`] | server-side copies, of objects and into parts |
//! | [`multipart`] | multipart uploads |
//! | [`listing`] | list objects, v1 and v2 |
//! | [`checksums`] | Content-MD5 and x-amz-checksum-* |
//! | [`conditions`] | If-Match and its relatives |
//! | [`convert`] | names, headers and times between S3's types and ours |
//! | [`errors`] | our errors as S3 error codes |
//!
//! What is not supported is answered with `NotImplemented`: by `s3s` for whole operations, by
//! [`convert::refuse`] for parameters that would change what an operation promises.

pub mod buckets;
pub mod checksums;
pub mod conditions;
pub mod convert;
pub mod copy;
pub mod errors;
pub mod listing;
pub mod multipart;
pub mod objects;

use crate::catalog::CatalogHandle;
use crate::engine::Engine;
use crate::engine::keys::{BucketKeys, MasterKey};
use coffer_core::catalog::Scope;
use coffer_core::erasure::Code;
use coffer_core::ids::BucketName;
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

    /// The keys of a bucket; fails if there is no such bucket.
    async fn bucket_keys(&self, bucket: &BucketName) -> S3Result<BucketKeys> {
        let record =
            self.catalog.read(Scope::Bucket(bucket), |c| c.bucket(bucket)).await.map_err(to_s3)?;
        self.master.open(bucket, &record).map_err(to_s3)
    }

    /// A random id, for a version or an upload.
    fn random_id(&self) -> S3Result<[u8; 16]> {
        random::array(self.engine.random()).map_err(to_s3)
    }
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
        self.make_bucket(req.input).await.map(S3Response::new)
    }

    async fn delete_bucket(&self, req: S3Request<DeleteBucketInput>) -> Answer<DeleteBucketOutput> {
        self.drop_bucket(req.input).await.map(S3Response::new)
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> Answer<HeadBucketOutput> {
        self.stat_bucket(req.input).await.map(S3Response::new)
    }

    async fn list_buckets(&self, req: S3Request<ListBucketsInput>) -> Answer<ListBucketsOutput> {
        self.all_buckets(req.input).await.map(S3Response::new)
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
        self.get(req.input).await
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> Answer<HeadObjectOutput> {
        self.head(req.input).await
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> Answer<DeleteObjectOutput> {
        self.delete(req.input).await.map(S3Response::new)
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
}
