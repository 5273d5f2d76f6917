//! What a bucket may hold, and what it holds.

use super::{answer, done, read_json};
use crate::auth::Identity;
use crate::auth::access::denied;
use crate::catalog::CatalogHandle;
use crate::s3::errors::{s3, to_s3};
use coffer_core::access::{Target, Verb};
use coffer_core::bucket::Setting;
use coffer_core::catalog::records::{BucketRecord, Usage};
use coffer_core::catalog::{CatalogError, Command, Scope};
use coffer_core::ids::BucketName;
use http::{Method, StatusCode};
use s3s::{Body, S3ErrorCode, S3Request, S3Response, S3Result};
use serde::{Deserialize, Serialize};

/// The quota that is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// In bytes of plaintext.
    bytes: u64,
}

/// A quota as it is.
#[derive(Debug, Serialize)]
struct Quota {
    /// In bytes of plaintext; `None`: there is none.
    bytes: Option<u64>,
    usage: Held,
}

/// What a bucket holds.
#[derive(Debug, Serialize)]
struct Held {
    /// Object versions, without delete markers.
    versions: u64,
    /// Bytes of plaintext in them and in parts of unfinished uploads.
    bytes: u64,
}

/// `GET` for whoever may read or list the bucket; `PUT` and `DELETE` for the cluster's
/// administrators, since the storage is theirs.
pub(super) async fn serve(
    catalog: &CatalogHandle,
    caller: &Identity,
    bucket: BucketName,
    request: S3Request<Body>,
) -> S3Result<S3Response<Body>> {
    let (record, usage) = look(catalog, caller, &bucket).await?;
    let quota = match request.method {
        Method::GET => {
            let usage = Held { versions: usage.versions, bytes: usage.bytes };
            return answer(&Quota { bytes: record.settings.quota_bytes, usage });
        }
        Method::PUT | Method::DELETE if !caller.administers() => return Err(denied()),
        Method::PUT => Some(read_json::<Wanted>(request.input).await?.bytes),
        Method::DELETE => None,
        _ => {
            let message = "A quota is set by PUT, shown by GET and lifted by DELETE.";
            return Err(s3(S3ErrorCode::MethodNotAllowed, message));
        }
    };
    tracing::info!(%bucket, ?quota, by = caller.name(), "quota set");
    let setting = Box::new(Setting::Quota(quota));
    catalog.submit(Command::SetBucket { bucket, setting }).await.map_err(to_s3)?;
    Ok(done(StatusCode::NO_CONTENT))
}

/// The bucket, for a caller who may know what is in it.
async fn look(
    catalog: &CatalogHandle,
    caller: &Identity,
    bucket: &BucketName,
) -> S3Result<(BucketRecord, Usage)> {
    let may = |owner: Option<&str>| {
        [Verb::Read, Verb::List, Verb::Admin]
            .into_iter()
            .any(|verb| caller.may(verb, Target::Bucket(bucket), owner))
    };
    let read = catalog.read(Scope::Bucket(bucket), |c| Ok((c.bucket(bucket)?, c.usage(bucket)?)));
    match read.await {
        Ok((record, usage)) if may(Some(&record.owner)) => Ok((record, usage)),
        Ok(_) => Err(denied()),
        // Strangers do not learn which buckets there are.
        Err(CatalogError::NoSuchBucket) if !may(Some(caller.name())) => Err(denied()),
        Err(error) => Err(to_s3(error)),
    }
}
