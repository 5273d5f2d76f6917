//! Issuing access tokens.

use super::{answer, read_json};
use crate::auth::access::denied;
use crate::auth::{Identity, Tokens};
use crate::s3::errors::{s3, to_s3};
use coffer_core::access::{Grant, Verb};
use coffer_core::ids::{BucketName, TokenId};
use coffer_core::random::{self, OsRandom};
use http::Method;
use s3s::{Body, S3ErrorCode, S3Request, S3Response, S3Result};
use serde::{Deserialize, Serialize};
use std::time::{SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

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
pub(super) async fn serve(
    tokens: &Tokens,
    caller: &Identity,
    request: S3Request<Body>,
) -> S3Result<S3Response<Body>> {
    if request.method != Method::POST {
        return Err(s3(S3ErrorCode::MethodNotAllowed, "Tokens are issued by POST."));
    }
    let wanted: TokenRequest = read_json(request.input).await?;
    let ttl = wanted.ttl_seconds.unwrap_or(DEFAULT_TTL);
    if !(1..=MAX_TTL).contains(&ttl) {
        let message = format!("ttl_seconds must be between 1 and {MAX_TTL}.");
        return Err(s3(S3ErrorCode::InvalidArgument, message));
    }
    if wanted.verbs.is_empty() {
        return Err(s3(S3ErrorCode::InvalidArgument, "verbs must name at least one verb."));
    }
    let grant =
        Grant { verbs: wanted.verbs, bucket: wanted.bucket, prefix: wanted.prefix, owned: false };
    if !caller.administers() || !caller.may_hand_on(&grant) {
        return Err(denied());
    }
    let id = TokenId::from_bytes(random::array(&OsRandom).map_err(to_s3)?);
    let name = wanted.name.unwrap_or_else(|| format!("token-{id}"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let expires = now + ttl;
    let token = tokens.issue(id, &name, &[grant], expires).map_err(|error| {
        tracing::error!(%error, "no token");
        s3(S3ErrorCode::InternalError, "The token could not be made.")
    })?;
    tracing::info!(token = %id, name, by = caller.name(), ttl, "token issued");
    let expires = OffsetDateTime::from_unix_timestamp(i64::try_from(expires).unwrap_or(i64::MAX))
        .ok()
        .and_then(|t| t.format(&Rfc3339).ok())
        .unwrap_or_default();
    answer(&TokenAnswer { token, id: id.to_string(), expires })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn arbitrary_requests_never_panic_and_name_only_legal_buckets(bucket: String, noise: String) {
            let legal = BucketName::new(bucket.clone()).is_ok();
            let json = serde_json::json!({ "bucket": bucket, "verbs": ["read"] }).to_string();
            prop_assert_eq!(serde_json::from_str::<TokenRequest>(&json).is_ok(), legal);
            prop_assert!(serde_json::from_str::<TokenRequest>(&noise).is_err());
            let unknown = r#"{"verbs": ["read"], "verb": "all"}"#;
            prop_assert!(serde_json::from_str::<TokenRequest>(unknown).is_err());
        }
    }
}
