//! Requests that are not S3. They live under `/.coffer/`, which no bucket name can be.

use crate::auth::access::denied;
use crate::auth::identity;
use crate::auth::{Identity, KeyRing, Tokens};
use crate::s3::errors::{s3, to_s3};
use coffer_core::access::{Grant, Verb};
use coffer_core::ids::{BucketName, TokenId};
use coffer_core::random::{self, OsRandom};
use http::{Extensions, HeaderMap, Method, Uri};
use http_body_util::{BodyExt, Limited};
use s3s::route::S3Route;
use s3s::validation::{AwsNameValidation, NameValidation};
use s3s::{Body, S3ErrorCode, S3Request, S3Response, S3Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Where tokens are issued.
pub const TOKENS: &str = "/.coffer/v1/tokens";

/// The first segment of all administrative paths, in the place of a bucket's name.
const SPACE: &str = ".coffer";

/// Lets administrative paths pass where bucket names are checked; they go to [`TokenRoute`] and
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
/// The longest life of a token, in seconds: 90 days.
const MAX_TTL: u64 = 90 * 24 * 3600;
/// The life of a token that asks for none, in seconds: an hour.
const DEFAULT_TTL: u64 = 3600;

/// What a token is wanted for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenRequest {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    bucket: Option<BucketName>,
    #[serde(default)]
    prefix: Option<String>,
    verbs: Vec<Verb>,
    #[serde(default)]
    ttl_seconds: Option<u64>,
}

#[derive(Debug, Serialize)]
struct TokenAnswer {
    token: String,
    id: String,
    expires: String,
}

/// `POST /.coffer/v1/tokens`: a new token, for a caller who may issue tokens and do all that the
/// token may.
#[derive(Debug, Clone)]
pub struct TokenRoute {
    tokens: Arc<Tokens>,
    keys: KeyRing,
}

impl TokenRoute {
    /// A route that issues `tokens` to the holders of `keys`.
    pub fn new(tokens: Arc<Tokens>, keys: KeyRing) -> Self {
        Self { tokens, keys }
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
impl S3Route for TokenRoute {
    fn is_match(&self, _: &Method, uri: &Uri, _: &HeaderMap, _: &mut Extensions) -> bool {
        uri.path().starts_with("/.coffer/")
    }

    async fn check_access(&self, request: &mut S3Request<Body>) -> S3Result<()> {
        self.caller(request).map(|_| ()).ok_or_else(denied)
    }

    async fn call(&self, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let caller = self.caller(&request).ok_or_else(denied)?;
        if request.uri.path() != TOKENS {
            return Err(s3(
                S3ErrorCode::NotImplemented,
                "There is no such administrative request.",
            ));
        }
        if request.method != Method::POST {
            return Err(s3(S3ErrorCode::MethodNotAllowed, "Tokens are issued by POST."));
        }
        let body = Limited::new(request.input, MAX_BODY).collect().await;
        let body = body.map_err(|_| s3(S3ErrorCode::InvalidRequest, "The body can't be read."))?;
        let wanted: TokenRequest = serde_json::from_slice(&body.to_bytes()).map_err(|e| {
            s3(S3ErrorCode::InvalidRequest, format!("The body is not as it should be: {e}."))
        })?;
        let ttl = wanted.ttl_seconds.unwrap_or(DEFAULT_TTL);
        if !(1..=MAX_TTL).contains(&ttl) {
            let message = format!("ttl_seconds must be between 1 and {MAX_TTL}.");
            return Err(s3(S3ErrorCode::InvalidArgument, message));
        }
        if wanted.verbs.is_empty() {
            return Err(s3(S3ErrorCode::InvalidArgument, "verbs must name at least one verb."));
        }
        let grant = Grant {
            verbs: wanted.verbs,
            bucket: wanted.bucket,
            prefix: wanted.prefix,
            owned: false,
        };
        if !caller.administers() || !caller.may_hand_on(&grant) {
            return Err(denied());
        }
        let id = TokenId::from_bytes(random::array(&OsRandom).map_err(to_s3)?);
        let name = wanted.name.unwrap_or_else(|| format!("token-{id}"));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let expires = now + ttl;
        let token = self.tokens.issue(id, &name, &[grant], expires).map_err(|error| {
            tracing::error!(%error, "no token");
            s3(S3ErrorCode::InternalError, "The token could not be made.")
        })?;
        tracing::info!(token = %id, name, by = caller.name(), ttl, "token issued");
        let expires =
            OffsetDateTime::from_unix_timestamp(i64::try_from(expires).unwrap_or(i64::MAX))
                .ok()
                .and_then(|t| t.format(&Rfc3339).ok())
                .unwrap_or_default();
        let answer = TokenAnswer { token, id: id.to_string(), expires };
        let json = serde_json::to_string(&answer)
            .map_err(|_| s3(S3ErrorCode::InternalError, "The answer could not be written."))?;
        let mut response = S3Response::new(Body::from(json));
        response
            .headers
            .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        Ok(response)
    }
}
