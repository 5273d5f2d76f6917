//! Ownership and access control lists.
//!
//! The bucket's owner owns every object in it, and ACLs are off: S3's `BucketOwnerEnforced`. Who
//! may do what is said by policies and grants. Clients that ask for an ACL all the same are told
//! what is so, the owner with full control; and may set that and nothing else.

use super::CofferS3;
use super::convert;
use super::errors::{s3, to_s3};
use coffer_core::bucket::{Ownership, Setting};
use coffer_core::catalog::Scope;
use coffer_core::catalog::records::BucketRecord;
use http::HeaderMap;
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Result};

const GRANT_HEADERS: [&str; 5] = [
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write",
    "x-amz-grant-write-acp",
];

/// Whether a canned ACL would let strangers in.
pub(crate) fn is_public(canned: &str) -> bool {
    matches!(canned, "public-read" | "public-read-write" | "authenticated-read")
}

/// Checks the ACL that a request's headers ask for: it must say what is so.
///
/// # Errors
/// `AccessControlListNotSupported`, or `InvalidArgument` for what is no ACL.
pub(crate) fn check_headers(headers: &HeaderMap, bucket: &BucketRecord) -> S3Result<()> {
    let text = |name: &str| headers.get(name).map(|v| v.to_str().unwrap_or_default());
    if let Some(canned) = text("x-amz-acl") {
        check_canned(canned, bucket)?;
    }
    for name in GRANT_HEADERS {
        let full = name == GRANT_HEADERS[0];
        match text(name) {
            Some(grantee) if !(full && names_owner(grantee, &bucket.owner)) => {
                return Err(unsupported());
            }
            _ => {}
        }
    }
    Ok(())
}

/// Checks a canned ACL. `private` is what buckets are unless their ownership controls say that they
/// know no ACLs.
pub(crate) fn check_canned(canned: &str, bucket: &BucketRecord) -> S3Result<()> {
    match canned {
        ObjectCannedACL::BUCKET_OWNER_FULL_CONTROL => Ok(()),
        ObjectCannedACL::PRIVATE if bucket.settings.ownership.is_none() => Ok(()),
        ObjectCannedACL::PRIVATE
        | ObjectCannedACL::PUBLIC_READ
        | ObjectCannedACL::PUBLIC_READ_WRITE
        | ObjectCannedACL::AUTHENTICATED_READ
        | ObjectCannedACL::AWS_EXEC_READ
        | ObjectCannedACL::BUCKET_OWNER_READ
        | "log-delivery-write" => Err(unsupported()),
        _ => Err(s3(S3ErrorCode::InvalidArgument, "There is no such canned ACL.")),
    }
}

/// Whether a grant header names the owner and nobody else: `id="NAME"`.
fn names_owner(grantee: &str, owner: &str) -> bool {
    grantee.trim().strip_prefix("id=").is_some_and(|id| id.trim_matches('"') == owner)
}

fn unsupported() -> S3Error {
    s3(
        S3ErrorCode::AccessControlListNotSupported,
        "The bucket does not allow ACLs. Use a bucket policy to grant access.",
    )
}

/// An owner as clients are told; who owns a bucket owns all in it.
pub(super) fn owner(name: &str) -> Owner {
    Owner { display_name: Some(name.to_owned()), id: Some(name.to_owned()) }
}

/// What an ACL says, if one is read.
fn grants(bucket: &BucketRecord) -> Grants {
    let grantee = Grantee {
        display_name: Some(bucket.owner.clone()),
        email_address: None,
        id: Some(bucket.owner.clone()),
        type_: Type::from_static(Type::CANONICAL_USER),
        uri: None,
    };
    let permission = Permission::from_static(Permission::FULL_CONTROL);
    vec![Grant { grantee: Some(grantee), permission: Some(permission) }]
}

/// Checks an ACL that was sent as XML: full control for the owner is all it may say.
fn check_policy(policy: Option<&AccessControlPolicy>, bucket: &BucketRecord) -> S3Result<()> {
    let Some(policy) = policy else { return Ok(()) };
    if bucket.settings.ownership.is_some() {
        return Err(unsupported());
    }
    let is_owner = |id: Option<&String>| id.is_some_and(|id| *id == bucket.owner);
    let malformed = |message: &str| s3(S3ErrorCode::MalformedACLError, message);
    let owner = policy.owner.as_ref().ok_or_else(|| malformed("The ACL has no owner."))?;
    if !is_owner(owner.id.as_ref()) {
        return Err(unsupported());
    }
    let said = policy.grants.as_deref().unwrap_or_default();
    let full = |grant: &Grant| {
        grant.grantee.as_ref().is_some_and(|g| is_owner(g.id.as_ref()))
            && grant.permission.as_ref().is_some_and(|p| p.as_str() == Permission::FULL_CONTROL)
    };
    if !said.is_empty() && said.iter().all(full) { Ok(()) } else { Err(unsupported()) }
}

impl CofferS3 {
    pub(super) async fn bucket_acl(
        &self,
        input: GetBucketAclInput,
    ) -> S3Result<GetBucketAclOutput> {
        let record = self.bucket_record(&convert::bucket(&input.bucket)?).await?;
        Ok(GetBucketAclOutput { grants: Some(grants(&record)), owner: Some(owner(&record.owner)) })
    }

    pub(super) async fn set_bucket_acl(
        &self,
        input: PutBucketAclInput,
    ) -> S3Result<PutBucketAclOutput> {
        let record = self.bucket_record(&convert::bucket(&input.bucket)?).await?;
        check_policy(input.access_control_policy.as_ref(), &record)?;
        Ok(PutBucketAclOutput::default())
    }

    pub(super) async fn object_acl(
        &self,
        input: GetObjectAclInput,
    ) -> S3Result<GetObjectAclOutput> {
        let record = self.acl_of(&input.bucket, &input.key, input.version_id.as_deref()).await?;
        Ok(GetObjectAclOutput {
            grants: Some(grants(&record)),
            owner: Some(owner(&record.owner)),
            ..GetObjectAclOutput::default()
        })
    }

    pub(super) async fn set_object_acl(
        &self,
        input: PutObjectAclInput,
    ) -> S3Result<PutObjectAclOutput> {
        let record = self.acl_of(&input.bucket, &input.key, input.version_id.as_deref()).await?;
        check_policy(input.access_control_policy.as_ref(), &record)?;
        Ok(PutObjectAclOutput::default())
    }

    /// The bucket of an object that must be there.
    async fn acl_of(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
    ) -> S3Result<BucketRecord> {
        let (bucket, key) = (convert::bucket(bucket)?, convert::key(key)?);
        let name = convert::version(version)?;
        let scope = Scope::Object(&bucket, &key);
        self.catalog.read(scope, |c| c.version(&bucket, &key, name)).await.map_err(to_s3)?;
        self.bucket_record(&bucket).await
    }

    pub(super) async fn ownership(
        &self,
        input: GetBucketOwnershipControlsInput,
    ) -> S3Result<GetBucketOwnershipControlsOutput> {
        let record = self.bucket_record(&convert::bucket(&input.bucket)?).await?;
        let code = S3ErrorCode::OwnershipControlsNotFoundError;
        let none = || s3(code, "The bucket ownership controls were not found.");
        let Ownership::BucketOwnerEnforced = record.settings.ownership.ok_or_else(none)?;
        let enforced = ObjectOwnership::from_static(ObjectOwnership::BUCKET_OWNER_ENFORCED);
        let rules = vec![OwnershipControlsRule { object_ownership: enforced }];
        let controls = OwnershipControls { rules };
        Ok(GetBucketOwnershipControlsOutput { ownership_controls: Some(controls) })
    }

    pub(super) async fn set_ownership(
        &self,
        input: PutBucketOwnershipControlsInput,
    ) -> S3Result<PutBucketOwnershipControlsOutput> {
        let [rule] = &input.ownership_controls.rules[..] else {
            return Err(s3(S3ErrorCode::MalformedXML, "There must be one rule."));
        };
        let ownership = read_ownership(&rule.object_ownership)?;
        self.set(&input.bucket, Setting::Ownership(Some(ownership))).await?;
        Ok(PutBucketOwnershipControlsOutput::default())
    }

    pub(super) async fn unset_ownership(
        &self,
        input: DeleteBucketOwnershipControlsInput,
    ) -> S3Result<DeleteBucketOwnershipControlsOutput> {
        self.set(&input.bucket, Setting::Ownership(None)).await?;
        Ok(DeleteBucketOwnershipControlsOutput::default())
    }
}

/// The one ownership that there is.
pub(super) fn read_ownership(asked: &ObjectOwnership) -> S3Result<Ownership> {
    match asked.as_str() {
        ObjectOwnership::BUCKET_OWNER_ENFORCED => Ok(Ownership::BucketOwnerEnforced),
        ObjectOwnership::BUCKET_OWNER_PREFERRED | ObjectOwnership::OBJECT_WRITER => {
            Err(unsupported())
        }
        _ => Err(s3(S3ErrorCode::InvalidArgument, "There is no such object ownership.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_core::bucket::BucketSettings;
    use coffer_core::erasure::Code;

    fn bucket(ownership: Option<Ownership>) -> BucketRecord {
        BucketRecord {
            created_ms: 0,
            wrapped_key: vec![],
            code: Code::DEFAULT,
            owner: "ann".into(),
            settings: BucketSettings { ownership, ..BucketSettings::default() },
        }
    }

    #[test]
    fn headers_may_ask_for_what_is_so() {
        use S3ErrorCode::{AccessControlListNotSupported, InvalidArgument};
        let plain = bucket(None);
        let enforced = bucket(Some(Ownership::BucketOwnerEnforced));
        for (name, value, of_plain, of_enforced) in [
            ("x-amz-acl", "bucket-owner-full-control", None, None),
            ("x-amz-acl", "private", None, Some(AccessControlListNotSupported)),
            (
                "x-amz-acl",
                "public-read",
                Some(AccessControlListNotSupported),
                Some(AccessControlListNotSupported),
            ),
            ("x-amz-acl", "open", Some(InvalidArgument), Some(InvalidArgument)),
            ("x-amz-grant-full-control", "id=ann", None, None),
            ("x-amz-grant-full-control", "id=\"ann\"", None, None),
            (
                "x-amz-grant-full-control",
                "id=ann, id=bob",
                Some(AccessControlListNotSupported),
                Some(AccessControlListNotSupported),
            ),
            (
                "x-amz-grant-read",
                "id=ann",
                Some(AccessControlListNotSupported),
                Some(AccessControlListNotSupported),
            ),
            ("x-amz-meta-acl", "public-read", None, None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            let code = |bucket| check_headers(&headers, bucket).err().map(|e| e.code().clone());
            assert_eq!(code(&plain), of_plain, "{name}: {value}");
            assert_eq!(code(&enforced), of_enforced, "{name}: {value}");
        }
    }

    #[test]
    fn an_acl_that_was_read_can_be_set_again() {
        let plain = bucket(None);
        let mut policy =
            AccessControlPolicy { grants: Some(grants(&plain)), owner: Some(owner(&plain.owner)) };
        assert!(check_policy(Some(&policy), &plain).is_ok());
        assert!(check_policy(None, &plain).is_ok());
        policy.grants = Some(vec![]);
        assert!(check_policy(Some(&policy), &plain).is_err());
        policy.grants = Some(grants(&bucket(None)));
        policy.owner = None;
        let error = check_policy(Some(&policy), &plain).unwrap_err();
        assert_eq!(*error.code(), S3ErrorCode::MalformedACLError);
    }
}
