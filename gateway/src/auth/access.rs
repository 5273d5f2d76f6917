//! Identities, the one function that decides, and what each S3 operation needs.

use super::keys::KeyRing;
use super::token::Checks;
pub use coffer_core::access::{Grant, Target, Verb};
use coffer_core::ids::{BucketName, ObjectKey, TokenId};
use http::Extensions;
use s3s::access::{S3Access, S3AccessContext};
use s3s::path::S3Path;
use s3s::{S3Error, S3ErrorCode, S3Result};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

/// Who asks, and what they may do. Put into each request's extensions once it is authenticated.
#[derive(Debug)]
pub struct Identity {
    name: String,
    grants: Vec<Grant>,
    token: Option<(TokenId, Checks)>,
}

impl Identity {
    pub(super) fn of_key(name: String, grants: Vec<Grant>) -> Self {
        Self { name, grants, token: None }
    }

    pub(super) fn of_token(name: String, id: TokenId, grants: Vec<Grant>, checks: Checks) -> Self {
        Self { name, grants, token: Some((id, checks)) }
    }

    /// The name, for the log.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The token's id, if it is a token.
    pub fn token_id(&self) -> Option<TokenId> {
        self.token.as_ref().map(|(id, _)| *id)
    }

    /// Whether the identity may do `verb` to `target` now.
    pub fn may(&self, verb: Verb, target: Target<'_>) -> bool {
        self.may_at(verb, target, SystemTime::now())
    }

    pub(super) fn may_at(&self, verb: Verb, target: Target<'_>, now: SystemTime) -> bool {
        self.grants.iter().any(|g| g.allows(verb, target))
            && self.token.as_ref().is_none_or(|(_, checks)| checks.hold(verb, target, now))
    }

    /// Whether the identity may do all that `grant` allows, so that it may hand it on. Only keys
    /// may: what a token may do can depend on the request.
    pub fn may_hand_on(&self, grant: &Grant) -> bool {
        self.token.is_none()
            && self.grants.iter().any(|own| {
                grant.verbs.iter().all(|v| own.verbs.contains(v))
                    && (own.bucket.is_none() || own.bucket == grant.bucket)
                    && own.prefix.as_deref().is_none_or(|p| {
                        grant.prefix.as_deref().is_some_and(|theirs| theirs.starts_with(p))
                    })
            })
    }
}

/// Where a request's identity is left for whoever logs the request; put into its extensions.
#[derive(Debug, Clone, Default)]
pub struct Authenticated(Arc<OnceLock<Arc<Identity>>>);

impl Authenticated {
    /// Leaves the identity, once.
    pub fn set(&self, identity: Arc<Identity>) {
        let _ = self.0.set(identity);
    }

    /// The name of who asked, if that was found out.
    pub fn name(&self) -> Option<String> {
        self.0.get().map(|identity| identity.name.clone())
    }
}

/// Leaves the identity of a signed request for the log.
pub(crate) fn note(extensions: &Extensions, identity: &Arc<Identity>) {
    if let Some(authenticated) = extensions.get::<Authenticated>() {
        authenticated.set(identity.clone());
    }
}

/// Who asks, if that was found out.
pub(crate) fn caller(extensions: &Extensions) -> Option<&Identity> {
    extensions.get::<Arc<Identity>>().map(|identity| &**identity)
}

/// Decides for the request whose extensions these are.
///
/// # Errors
/// `AccessDenied`.
pub fn check(extensions: &Extensions, verb: Verb, target: Target<'_>) -> S3Result<()> {
    match extensions.get::<Arc<Identity>>() {
        Some(identity) if identity.may(verb, target) => Ok(()),
        _ => Err(denied()),
    }
}

/// As [`check`], for an object that the request names beside its own: the source of a copy, a line
/// of a multi-object delete.
///
/// # Errors
/// `AccessDenied`.
pub fn check_object(
    extensions: &Extensions,
    verb: Verb,
    bucket: &BucketName,
    key: &ObjectKey,
) -> S3Result<()> {
    check(extensions, verb, Target::Object(bucket, key))
}

/// What a client is told that may not do what it asks; the same in all cases.
pub fn denied() -> S3Error {
    S3Error::with_message(S3ErrorCode::AccessDenied, "Access Denied".to_owned())
}

/// What an operation is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    Cluster,
    Bucket,
    /// The keys that begin with the query's `prefix`.
    Listing,
    Object,
}

/// What an S3 operation needs: one of the verbs. Operations that are not here are denied.
fn needs(operation: &str) -> Option<(&'static [Verb], On)> {
    use Verb::{Admin, Delete, List, Read, Write};
    Some(match operation {
        "ListBuckets" => (&[List], On::Cluster),
        "CreateBucket" | "DeleteBucket" => (&[Admin], On::Bucket),
        "HeadBucket"
        | "GetBucketLocation"
        | "GetBucketVersioning"
        | "GetObjectLockConfiguration"
        | "GetBucketTagging" => (&[List, Read, Write], On::Bucket),
        "PutBucketVersioning"
        | "PutObjectLockConfiguration"
        | "PutBucketTagging"
        | "DeleteBucketTagging" => (&[Admin], On::Bucket),
        "ListObjects" | "ListObjectsV2" | "ListObjectVersions" => (&[List], On::Listing),
        "ListMultipartUploads" => (&[List, Write], On::Listing),
        "GetObject" | "HeadObject" | "GetObjectTagging" | "GetObjectRetention"
        | "GetObjectLegalHold" => (&[Read], On::Object),
        "PutObject"
        | "CopyObject"
        | "CreateMultipartUpload"
        | "UploadPart"
        | "UploadPartCopy"
        | "CompleteMultipartUpload"
        | "AbortMultipartUpload"
        | "ListParts"
        | "PutObjectTagging"
        | "DeleteObjectTagging"
        | "PutObjectRetention"
        | "PutObjectLegalHold" => (&[Write], On::Object),
        "DeleteObject" => (&[Delete], On::Object),
        // Each key is checked by itself; here only that there may be any.
        "DeleteObjects" => (&[Delete], On::Bucket),
        _ => return None,
    })
}

/// The access check that `s3s` makes before it reads a request's input.
#[derive(Debug, Clone)]
pub struct Access {
    keys: KeyRing,
}

impl Access {
    /// Checks for the holders of these keys, and of tokens verified before.
    pub fn new(keys: KeyRing) -> Self {
        Self { keys }
    }
}

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        // A signed request speaks for its key; any other for the token that came with it.
        if let Some(credentials) = cx.credentials() {
            let identity = self.keys.identity(&credentials.access_key).ok_or_else(denied)?;
            note(cx.extensions_mut(), &identity);
            cx.extensions_mut().insert(identity);
        }
        let operation = cx.s3_op().name().to_owned();
        let Some((verbs, on)) = needs(&operation) else {
            let known = cx.extensions_mut().get::<Arc<Identity>>().is_some();
            return Err(if known { not_implemented(&operation) } else { denied() });
        };
        let (bucket, key) = match cx.s3_path() {
            S3Path::Root => (None, None),
            S3Path::Bucket { bucket } => (Some(name(bucket)?), None),
            S3Path::Object { bucket, key } => {
                let key = ObjectKey::new(key.to_string()).map_err(crate::s3::errors::to_s3)?;
                (Some(name(bucket)?), Some(key))
            }
        };
        let prefix = query_value(cx.uri().query(), "prefix");
        let extensions = cx.extensions_mut();
        let allowed = |target: Target<'_>| {
            if verbs.iter().any(|v| check(extensions, *v, target).is_ok()) {
                Ok(())
            } else {
                Err(denied())
            }
        };
        match (on, &bucket, &key) {
            (On::Cluster, None, None) => allowed(Target::Cluster),
            (On::Bucket, Some(bucket), None) => allowed(Target::Bucket(bucket)),
            (On::Listing, Some(bucket), None) => allowed(Target::Prefix(bucket, &prefix)),
            (On::Object, Some(bucket), Some(key)) => allowed(Target::Object(bucket, key)),
            _ => Err(denied()),
        }
    }
}

fn name(bucket: &str) -> S3Result<BucketName> {
    BucketName::new(bucket).map_err(crate::s3::errors::to_s3)
}

/// Someone who is known learns that there is no such operation; others learn nothing.
fn not_implemented(operation: &str) -> S3Error {
    S3Error::with_message(S3ErrorCode::NotImplemented, format!("{operation} is not supported."))
}

/// The value of a query parameter, decoded; empty if it is not there.
fn query_value(query: Option<&str>, name: &str) -> String {
    form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_on_is_never_more_than_what_is_held() {
        let bucket = |b: &str| Some(BucketName::new(b).unwrap());
        let grant = |verbs: &[Verb], b: &str, p: Option<&str>| Grant {
            verbs: verbs.to_vec(),
            bucket: if b.is_empty() { None } else { bucket(b) },
            prefix: p.map(str::to_owned),
        };
        let holder = Identity::of_key(
            "x".into(),
            vec![grant(&[Verb::Read, Verb::List], "data", Some("a/"))],
        );
        assert!(holder.may_hand_on(&grant(&[Verb::Read], "data", Some("a/b"))));
        assert!(!holder.may_hand_on(&grant(&[Verb::Read], "data", None)));
        assert!(!holder.may_hand_on(&grant(&[Verb::Read], "", Some("a/"))));
        assert!(!holder.may_hand_on(&grant(&[Verb::Write], "data", Some("a/"))));
        let root = Identity::of_key("root".into(), vec![Grant::root()]);
        assert!(root.may_hand_on(&Grant::root()));
    }

    #[test]
    fn unknown_operations_need_more_than_anyone_has() {
        assert!(needs("PutBucketPolicy").is_none());
        assert!(needs("").is_none());
    }

    #[test]
    fn query_values_are_decoded() {
        assert_eq!(query_value(Some("list-type=2&prefix=a%2Fb+c"), "prefix"), "a/b c");
        assert_eq!(query_value(None, "prefix"), "");
    }
}
