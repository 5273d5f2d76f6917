//! Whether a request may do what it asks. The one place that decides.
//!
//! What the bucket's policy denies is denied. Otherwise the caller's own grants or the policy must
//! allow it; callers without credentials have only the policy. An access token may do what its
//! grants say and what anyone may do: policies never give it more, since its holder may have
//! narrowed it. Policies can keep everyone out but cluster administrators, who can always replace
//! them.

use super::context::{Asking, Facts};
use super::identity::{self, Identity, caller};
use super::keys::KeyRing;
use super::operations::{self, Need, On};
use crate::catalog::CatalogHandle;
use crate::s3::acl;
use crate::s3::errors::{s3, to_s3};
use crate::s3::tags::read_tags;
use coffer_core::access::Target;
use coffer_core::bucket::policy::{Caller, Decision, Request};
use coffer_core::bucket::{TagLimit, Tags};
use coffer_core::catalog::records::BucketRecord;
use coffer_core::catalog::{CatalogError, Scope};
use coffer_core::ids::{BucketName, ObjectKey};
use s3s::access::{S3Access, S3AccessContext};
use s3s::dto::PutObjectTaggingInput;
use s3s::path::S3Path;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result};
use std::time::SystemTime;

/// What a request is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) bucket: &'a BucketName,
    pub(crate) record: &'a BucketRecord,
    /// The object; `None`: the bucket, or keys in it.
    pub(crate) key: Option<&'a ObjectKey>,
    /// The version of it that is named.
    pub(crate) version: Option<&'a str>,
    /// The tags that the request's body gives it.
    pub(crate) tags: Option<&'a Tags>,
}

impl<'a> Subject<'a> {
    /// A bucket.
    pub(crate) fn bucket(bucket: &'a BucketName, record: &'a BucketRecord) -> Self {
        Self { bucket, record, key: None, version: None, tags: None }
    }

    /// An object, or the version of it that is named.
    pub(crate) fn object(self, key: &'a ObjectKey, version: Option<&'a str>) -> Self {
        Self { key: Some(key), version, ..self }
    }
}

/// Decides whether a request may do what `need` stands for.
///
/// # Errors
/// `AccessDenied`; or the catalog's, if the policy asks for tags that can't be read.
pub(crate) async fn check(
    catalog: &CatalogHandle,
    asking: &Asking<'_>,
    need: Need,
    subject: Subject<'_>,
) -> S3Result<()> {
    let caller = caller(asking.extensions);
    let record = subject.record;
    let prefix = asking.query("prefix").unwrap_or_default();
    let target = match (need.on, subject.key) {
        (On::Listing, None) => Target::Prefix(subject.bucket, &prefix),
        // To learn that a key is not there, one must be allowed to list it.
        (On::Listing, Some(key)) => Target::Prefix(subject.bucket, key.as_str()),
        (_, Some(key)) => Target::Object(subject.bucket, key),
        (_, None) => Target::Bucket(subject.bucket),
    };
    let granted =
        caller.is_some_and(|c| need.verbs.iter().any(|v| c.may(*v, target, Some(&record.owner))));
    let Some(policy) = &record.settings.policy else {
        return if granted { Ok(()) } else { Err(denied()) };
    };
    if need.on == On::Policy && caller.is_some_and(Identity::administers) {
        return Ok(());
    }
    let existing = match subject.key {
        Some(key) if policy.asks_for_existing_tags() => {
            existing_tags(catalog, subject, key).await?
        }
        _ => Tags::default(),
    };
    let now = SystemTime::now();
    // Asking for a key is listing what begins with it.
    let asked = subject.key.filter(|_| need.on == On::Listing).map(ObjectKey::as_str);
    let facts = Facts { asking, asked, existing: &existing, from_body: subject.tags, now };
    let key = subject.key.filter(|_| need.on != On::Listing).map(ObjectKey::as_str);
    let judge = |caller, action| {
        policy.evaluate(&Request { caller, action, bucket: subject.bucket, key, context: &facts })
    };
    let by_name = identity::in_policies(caller);
    let blocked = record.settings.public_access.is_some_and(|b| b.restrict_public_buckets)
        && policy.is_public();
    // Whose word the policy's permission is: a token's holder has only what anyone has.
    let allowed_as = match caller {
        Some(c) if c.token_id().is_some() => Caller::Anonymous,
        _ => by_name,
    };
    let may = |action| {
        judge(by_name, action) != Decision::Deny
            && (granted || (!blocked && judge(allowed_as, action) == Decision::Allow))
    };
    let is_denied = |action| judge(by_name, action) == Decision::Deny;
    let writes = need.action == operations::WRITE.action;
    let has = |(header, _): &&(&str, &str)| writes && asking.headers.contains_key(*header);
    if may(need.action(subject.version))
        && DESCRIBES.iter().filter(has).all(|(_, action)| !is_denied(action))
        && LOCKS.iter().filter(has).all(|(_, action)| may(action))
    {
        Ok(())
    } else {
        Err(denied())
    }
}

/// Headers by which a write does more, of which it is enough that no policy denies it: whoever
/// writes an object may describe it.
const DESCRIBES: [(&str, &str); 2] =
    [("x-amz-tagging", "s3:PutObjectTagging"), ("x-amz-acl", "s3:PutObjectAcl")];
/// Headers that keep an object from being deleted, perhaps even by its owner: a right of its own.
const LOCKS: [(&str, &str); 2] = [
    ("x-amz-object-lock-mode", "s3:PutObjectRetention"),
    ("x-amz-object-lock-legal-hold", "s3:PutObjectLegalHold"),
];

/// The tags of the object that a request is about; none if there is no such object.
async fn existing_tags(
    catalog: &CatalogHandle,
    subject: Subject<'_>,
    key: &ObjectKey,
) -> S3Result<Tags> {
    let Ok(name) = subject.version.map(str::parse).transpose() else { return Ok(Tags::default()) };
    let scope = Scope::Object(subject.bucket, key);
    match catalog.read(scope, |c| c.version(subject.bucket, key, name)).await {
        Ok(version) => Ok(version.record.tags),
        Err(
            error @ (CatalogError::Kv(_) | CatalogError::Unavailable(_) | CatalogError::Stopped(_)),
        ) => Err(to_s3(error)),
        Err(_) => Ok(Tags::default()),
    }
}

/// What a client is told that may not do what it asks; the same in all cases.
pub fn denied() -> S3Error {
    S3Error::with_message(S3ErrorCode::AccessDenied, "Access Denied".to_owned())
}

/// The access check that `s3s` makes before it reads a request's input.
#[derive(Debug, Clone)]
pub struct Access {
    keys: KeyRing,
    catalog: CatalogHandle,
}

impl Access {
    /// Checks for the holders of these keys, of tokens verified before, and for anyone, by the
    /// policies in the catalog.
    pub fn new(keys: KeyRing, catalog: CatalogHandle) -> Self {
        Self { keys, catalog }
    }

    /// What is recorded of a bucket. Strangers do not learn which buckets there are.
    async fn bucket(&self, asking: &Asking<'_>, name: &BucketName) -> S3Result<BucketRecord> {
        match self.catalog.read(Scope::Bucket(name), |c| c.bucket(name)).await {
            Ok(record) => Ok(record),
            Err(CatalogError::NoSuchBucket) => {
                let own = caller(asking.extensions);
                let may_know = own.is_some_and(|c| c.may_see(name, Some(c.name())));
                Err(if may_know { to_s3(CatalogError::NoSuchBucket) } else { denied() })
            }
            Err(error) => Err(to_s3(error)),
        }
    }

    /// Checks an object that was not known before the body was read.
    async fn check_late<T>(
        &self,
        req: &S3Request<T>,
        need: Need,
        (bucket, key, version): (&str, &str, Option<&str>),
        tags: Tags,
    ) -> S3Result<()> {
        let asking = asking(req);
        let bucket = name(bucket)?;
        let key = ObjectKey::new(key).map_err(to_s3)?;
        let record = self.bucket(&asking, &bucket).await?;
        let subject = Subject::bucket(&bucket, &record).object(&key, version);
        check(&self.catalog, &asking, need, Subject { tags: Some(&tags), ..subject }).await
    }
}

/// A request whose input has been read.
pub(crate) fn asking<T>(req: &S3Request<T>) -> Asking<'_> {
    Asking { headers: &req.headers, uri: &req.uri, extensions: &req.extensions }
}

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        // A signed request speaks for its key; any other for the token that came with it.
        if let Some(credentials) = cx.credentials() {
            let identity = self.keys.identity(&credentials.access_key).ok_or_else(denied)?;
            identity::note(cx.extensions_mut(), &identity);
            cx.extensions_mut().insert(identity);
        }
        // Lent out, so that the rest of the context can be read beside them.
        let extensions = std::mem::take(cx.extensions_mut());
        let asking = Asking { headers: cx.headers(), uri: cx.uri(), extensions: &extensions };
        let outcome = self.check_operation(cx.s3_op().name(), cx.s3_path(), &asking).await;
        *cx.extensions_mut() = extensions;
        outcome
    }

    async fn put_object_tagging(&self, req: &mut S3Request<PutObjectTaggingInput>) -> S3Result<()> {
        let input = &req.input;
        let tags = read_tags(TagLimit::Object, input.tagging.tag_set.clone())?;
        let object = (&*input.bucket, &*input.key, input.version_id.as_deref());
        self.check_late(req, operations::TAG, object, tags).await
    }
}

impl Access {
    /// Checks what can be checked before the body is read.
    async fn check_operation(
        &self,
        operation: &str,
        path: &S3Path,
        asking: &Asking<'_>,
    ) -> S3Result<()> {
        let caller = caller(asking.extensions);
        let Some(need) = operations::needs(operation) else {
            return Err(caller.map_or_else(denied, |_| not_implemented(operation)));
        };
        let (bucket, key) = match path {
            S3Path::Root => (None, None),
            S3Path::Bucket { bucket } => (Some(name(bucket)?), None),
            S3Path::Object { bucket, key } => {
                let key = ObjectKey::new(key.to_string()).map_err(to_s3)?;
                (Some(name(bucket)?), Some(key))
            }
        };
        let bucket = match (need.on, bucket) {
            (On::Cluster, None) => return caller.map(|_| ()).ok_or_else(denied),
            (On::NewBucket, Some(bucket)) => {
                return caller.filter(|c| c.may_create(&bucket)).map(|_| ()).ok_or_else(denied);
            }
            (On::Cluster | On::NewBucket, _) | (_, None) => return Err(denied()),
            (_, Some(bucket)) => bucket,
        };
        if (need.on == On::Object) != key.is_some() && need.on != On::InBody {
            return Err(denied());
        }
        let record = self.bucket(asking, &bucket).await?;
        check_owner(asking, "x-amz-expected-bucket-owner", &record)?;
        if record.settings.public_access.is_some_and(|b| b.block_public_acls)
            && asking.header("x-amz-acl").is_some_and(acl::is_public)
        {
            return Err(denied());
        }
        if need.on == On::InBody {
            let open = record.settings.policy.is_some();
            return if open || caller.is_some() { Ok(()) } else { Err(denied()) };
        }
        let version = asking.version();
        let subject = match &key {
            Some(key) => Subject::bucket(&bucket, &record).object(key, version.as_deref()),
            None => Subject::bucket(&bucket, &record),
        };
        if let Err(error) = check(&self.catalog, asking, need, subject).await {
            return Err(self.missing(asking, need, subject).await.unwrap_or(error));
        }
        acl::check_headers(asking.headers, &record)
    }

    /// That an object is not there, for someone who may not read it but may list it.
    async fn missing(
        &self,
        asking: &Asking<'_>,
        need: Need,
        subject: Subject<'_>,
    ) -> Option<S3Error> {
        let reads = need.action == operations::READ.action && subject.version.is_none();
        let key = subject.key.filter(|_| reads)?;
        check(&self.catalog, asking, operations::LIST, subject).await.ok()?;
        let scope = Scope::Object(subject.bucket, key);
        match self.catalog.read(scope, |c| c.version(subject.bucket, key, None)).await {
            Err(error @ CatalogError::NoSuchKey) => Some(to_s3(error)),
            _ => None,
        }
    }
}

/// Checks that a bucket belongs to whom the request names, if it names someone.
///
/// # Errors
/// `AccessDenied`.
pub(crate) fn check_owner(
    asking: &Asking<'_>,
    header: &str,
    bucket: &BucketRecord,
) -> S3Result<()> {
    match asking.headers.get(header) {
        Some(owner) if owner.as_bytes() != bucket.owner.as_bytes() => Err(denied()),
        _ => Ok(()),
    }
}

fn name(bucket: &str) -> S3Result<BucketName> {
    BucketName::new(bucket).map_err(to_s3)
}

/// Someone who is known learns that there is no such operation; others learn nothing.
fn not_implemented(operation: &str) -> S3Error {
    s3(S3ErrorCode::NotImplemented, format!("{operation} is not supported."))
}
