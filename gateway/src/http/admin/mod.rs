//! Requests that are not S3. They live under `/.coffer/`, which no bucket name can be.
//!
//! | module | what |
//! |---|---|
//! | `tokens` | `/.coffer/v1/tokens`: access tokens |
//! | `gateways` | `/.coffer/v1/gateways`, `/.coffer/v1/gateways/ID`: the cluster's gateways |
//! | `nodes` | `/.coffer/v1/nodes`, `/.coffer/v1/nodes/NAME`: the storage nodes |
//! | `repair` | `/.coffer/v1/repair`: how far repair is |
//! | `fsck` | `/.coffer/v1/fsck`: catalog and nodes are compared |
//! | `monitor` | `/.coffer/v1/health`, `events`, `metrics`: how the cluster is, what has happened |
//! | `quota` | `/.coffer/v1/buckets/NAME/quota`: what a bucket may hold, and what it holds |

mod fsck;
mod gateways;
mod monitor;
mod nodes;
mod quota;
mod repair;
mod tokens;

use crate::auth::access::denied;
use crate::auth::identity;
use crate::auth::{Identity, KeyRing, Tokens};
use crate::catalog::CatalogHandle;
use crate::engine::repair::Repairer;
use crate::http::host::HostBucket;
use crate::monitor::Monitor;
use crate::s3::errors::{s3, to_s3};
use coffer_core::ids::BucketName;
use http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use monitor::View;
use s3s::route::S3Route;
use s3s::validation::{AwsNameValidation, NameValidation};
use s3s::{Body, S3ErrorCode, S3Request, S3Response, S3Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// The first segment of all administrative paths, in the place of a bucket's name.
const SPACE: &str = ".coffer";
/// What all paths begin with.
const V1: &str = "/.coffer/v1/";

/// Lets administrative paths pass where bucket names are checked; they go to [`AdminRoute`] and
/// never become buckets.
#[derive(Debug, Default)]
pub struct Names(AwsNameValidation);

impl NameValidation for Names {
    fn validate_bucket_name(&self, name: &str) -> bool {
        name == SPACE || self.0.validate_bucket_name(name)
    }
}

/// The longest request that is read, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// Serves all administrative requests.
#[derive(Debug, Clone)]
pub struct AdminRoute {
    tokens: Arc<Tokens>,
    keys: KeyRing,
    catalog: CatalogHandle,
    repairer: Arc<Repairer>,
    checks: fsck::Checks,
    monitor: Arc<Monitor>,
}

impl AdminRoute {
    /// A route for the holders of `keys` and of `tokens`.
    pub fn new(
        tokens: Arc<Tokens>,
        keys: KeyRing,
        catalog: CatalogHandle,
        repairer: Arc<Repairer>,
        monitor: Arc<Monitor>,
    ) -> Self {
        let checks = fsck::Checks::default();
        Self { tokens, keys, catalog, repairer, checks, monitor }
    }

    fn caller(&self, request: &S3Request<Body>) -> Option<Arc<Identity>> {
        match &request.credentials {
            Some(credentials) => {
                let identity = self.keys.identity(&credentials.access_key)?;
                identity::note(&request.extensions, &identity);
                Some(identity)
            }
            None => request.extensions.get::<Arc<Identity>>().cloned(),
        }
    }
}

#[async_trait::async_trait]
impl S3Route for AdminRoute {
    fn is_match(&self, _: &Method, uri: &Uri, _: &HeaderMap, extensions: &mut Extensions) -> bool {
        // Under a bucket's host these are keys.
        uri.path().starts_with("/.coffer/") && extensions.get::<HostBucket>().is_none()
    }

    async fn check_access(&self, request: &mut S3Request<Body>) -> S3Result<()> {
        self.caller(request).map(|_| ()).ok_or_else(denied)
    }

    async fn call(&self, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let caller = self.caller(&request).ok_or_else(denied)?;
        let path = request.uri.path().strip_prefix(V1).unwrap_or_default().to_owned();
        match path.split('/').collect::<Vec<_>>()[..] {
            ["tokens"] => tokens::serve(&self.tokens, &caller, request).await,
            ["buckets", name, "quota"] => {
                let bucket = BucketName::new(name).map_err(to_s3)?;
                quota::serve(&self.catalog, &caller, bucket, request).await
            }
            ["gateways"] => gateways::list(&self.catalog, &caller, &request).await,
            ["gateways", id] => gateways::change(&self.catalog, &caller, id, request).await,
            ["nodes"] => nodes::serve(&self.catalog, &self.repairer, &caller, None, request).await,
            ["nodes", name] => {
                nodes::serve(&self.catalog, &self.repairer, &caller, Some(name), request).await
            }
            ["repair"] => repair::serve(&self.repairer, &caller, &request).await,
            ["fsck"] => self.checks.serve(&self.repairer, &caller, &request).await,
            ["health"] => monitor::serve(&self.monitor, &caller, View::Health, &request),
            ["events"] => monitor::serve(&self.monitor, &caller, View::Events, &request),
            ["metrics"] => monitor::serve(&self.monitor, &caller, View::Metrics, &request),
            _ => {
                let message = "There is no such administrative request.";
                Err(s3(S3ErrorCode::NotImplemented, message))
            }
        }
    }
}

/// Lets only the cluster's administrators go on.
fn administrator(caller: &Identity) -> S3Result<()> {
    if caller.administers() { Ok(()) } else { Err(denied()) }
}

/// A request's body, which must not be long.
async fn read_json<T: DeserializeOwned>(body: Body) -> S3Result<T> {
    let body = Limited::new(body, MAX_BODY).collect().await;
    let body = body.map_err(|_| s3(S3ErrorCode::InvalidRequest, "The body can't be read."))?;
    serde_json::from_slice(&body.to_bytes()).map_err(|e| {
        s3(S3ErrorCode::InvalidRequest, format!("The body is not as it should be: {e}."))
    })
}

/// An answer in JSON.
fn answer<T: Serialize>(answer: &T) -> S3Result<S3Response<Body>> {
    let json = serde_json::to_string(answer)
        .map_err(|_| s3(S3ErrorCode::InternalError, "The answer could not be written."))?;
    let mut response = S3Response::new(Body::from(json));
    let kind = HeaderValue::from_static("application/json");
    response.headers.insert(http::header::CONTENT_TYPE, kind);
    Ok(response)
}

/// An answer without content.
fn done(status: StatusCode) -> S3Response<Body> {
    let mut response = S3Response::new(Body::empty());
    response.status = Some(status);
    response
}
