//! How much a bucket may hold, and how much it holds.

use super::call::Call;
use crate::client::Client;
use crate::error::Error;
use http::Method;
use serde::{Deserialize, Serialize};

/// A bucket's quota and use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct BucketQuota {
    /// The most that it may hold, in bytes of plaintext; `None`: no limit.
    pub bytes: Option<u64>,
    /// What it holds.
    pub usage: BucketUsage,
}

/// What a bucket holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct BucketUsage {
    /// Object versions, without delete markers.
    pub versions: u64,
    /// Bytes of plaintext in them and in parts of unfinished uploads.
    pub bytes: u64,
}

#[derive(Serialize)]
struct Wanted {
    bytes: u64,
}

impl Client {
    /// A bucket's quota and what it holds.
    ///
    /// # Errors
    /// If there is no such bucket, or the credentials may neither list nor read it.
    pub async fn bucket_quota(&self, bucket: &str) -> Result<BucketQuota, Error> {
        let answer = quota(Method::GET, bucket).send(self).await?;
        serde_json::from_slice(&answer.body).map_err(|error| answer.nonsense(error))
    }

    /// Limits what a bucket may hold, in bytes of plaintext; `None` lifts the limit. What it holds
    /// already stays. Needs an administrator's key.
    ///
    /// # Errors
    /// If there is no such bucket, or of kind [`crate::ErrorKind::AccessDenied`].
    pub async fn set_bucket_quota(&self, bucket: &str, bytes: Option<u64>) -> Result<(), Error> {
        let call = match bytes {
            None => quota(Method::DELETE, bucket),
            Some(bytes) => {
                let body = serde_json::to_vec(&Wanted { bytes });
                quota(Method::PUT, bucket)
                    .header("content-type", "application/json")?
                    .body(body.map_err(|e| Error::Request(e.to_string()))?)
            }
        };
        call.send(self).await.map(|_| ())
    }
}

fn quota(method: Method, bucket: &str) -> Call {
    Call::new(method, ".coffer", &format!("v1/buckets/{bucket}/quota"))
}
