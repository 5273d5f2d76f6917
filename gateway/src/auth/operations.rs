//! What each S3 operation needs: one of some verbs by the caller's grants, or an action by the
//! bucket's policy.

use coffer_core::access::Verb;

/// What an operation is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    /// All buckets: whoever is known may ask, and is told of those that they may see.
    Cluster,
    /// A bucket that is to be.
    NewBucket,
    /// A bucket.
    Bucket,
    /// A bucket's policy, from which no policy can keep an administrator.
    Policy,
    /// The keys that begin with the query's `prefix`.
    Listing,
    /// An object.
    Object,
    /// Objects that only the body names. Each is checked by itself when it has been read.
    InBody,
}

/// What an operation needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    /// One of these verbs, by the caller's grants…
    pub(crate) verbs: &'static [Verb],
    /// … on this.
    pub(crate) on: On,
    /// Or this action, by the policy.
    pub(crate) action: &'static str,
    /// The action instead if the request names a version.
    pub(crate) on_version: Option<&'static str>,
}

impl Need {
    /// The action, given the version that the request names.
    pub(crate) fn action(&self, version: Option<&str>) -> &'static str {
        self.on_version.filter(|_| version.is_some()).unwrap_or(self.action)
    }
}

/// Reads an object: also the source of a copy.
pub(crate) const READ: Need = object(&[Verb::Read], "s3:GetObject", Some("s3:GetObjectVersion"));
/// Writes an object.
pub(crate) const WRITE: Need = object(&[Verb::Write], "s3:PutObject", None);
/// Changes an object's tags.
pub(crate) const TAG: Need =
    object(&[Verb::Write], "s3:PutObjectTagging", Some("s3:PutObjectVersionTagging"));
/// Deletes an object: also a line of a multi-object delete.
pub(crate) const DELETE: Need =
    object(&[Verb::Delete], "s3:DeleteObject", Some("s3:DeleteObjectVersion"));
/// Lists keys, and so learns which are not there.
pub(crate) const LIST: Need = need(&[Verb::List], On::Listing, "s3:ListBucket");
/// Lifts retention in governance mode.
pub(crate) const BYPASS: Need = object(&[Verb::Admin], "s3:BypassGovernanceRetention", None);

const fn need(verbs: &'static [Verb], on: On, action: &'static str) -> Need {
    Need { verbs, on, action, on_version: None }
}

const fn object(
    verbs: &'static [Verb],
    action: &'static str,
    on_version: Option<&'static str>,
) -> Need {
    Need { verbs, on: On::Object, action, on_version }
}

/// What an operation needs. Operations that are not here are denied.
pub(crate) fn needs(operation: &str) -> Option<Need> {
    use Verb::{Admin, List, Read, Write};
    const ANY: &[Verb] = &[List, Read, Write];
    let bucket = |verbs, action| need(verbs, On::Bucket, action);
    let admin = |action| need(&[Admin], On::Bucket, action);
    let policy = |action| need(&[Admin], On::Policy, action);
    let read = |action, on_version| object(&[Read], action, Some(on_version));
    let write = |action, on_version| object(&[Write], action, Some(on_version));
    Some(match operation {
        "ListBuckets" => need(&[], On::Cluster, "s3:ListAllMyBuckets"),
        "CreateBucket" => need(&[Admin], On::NewBucket, "s3:CreateBucket"),
        "DeleteBucket" => admin("s3:DeleteBucket"),
        "HeadBucket" => bucket(ANY, "s3:ListBucket"),
        "GetBucketLocation" => bucket(ANY, "s3:GetBucketLocation"),
        "GetBucketVersioning" => bucket(ANY, "s3:GetBucketVersioning"),
        "PutBucketVersioning" => admin("s3:PutBucketVersioning"),
        "GetBucketTagging" => bucket(ANY, "s3:GetBucketTagging"),
        "PutBucketTagging" | "DeleteBucketTagging" => admin("s3:PutBucketTagging"),
        "GetObjectLockConfiguration" => bucket(ANY, "s3:GetBucketObjectLockConfiguration"),
        "PutObjectLockConfiguration" => admin("s3:PutBucketObjectLockConfiguration"),
        "GetBucketEncryption" => bucket(ANY, "s3:GetEncryptionConfiguration"),
        "PutBucketEncryption" | "DeleteBucketEncryption" => admin("s3:PutEncryptionConfiguration"),
        "GetBucketLifecycleConfiguration" => admin("s3:GetLifecycleConfiguration"),
        "PutBucketLifecycleConfiguration" | "DeleteBucketLifecycle" => {
            admin("s3:PutLifecycleConfiguration")
        }
        "GetBucketCors" => admin("s3:GetBucketCORS"),
        "PutBucketCors" | "DeleteBucketCors" => admin("s3:PutBucketCORS"),
        "GetBucketAcl" => admin("s3:GetBucketAcl"),
        "PutBucketAcl" => admin("s3:PutBucketAcl"),
        "GetBucketOwnershipControls" => admin("s3:GetBucketOwnershipControls"),
        "PutBucketOwnershipControls" | "DeleteBucketOwnershipControls" => {
            admin("s3:PutBucketOwnershipControls")
        }
        "GetPublicAccessBlock" => admin("s3:GetBucketPublicAccessBlock"),
        "PutPublicAccessBlock" | "DeletePublicAccessBlock" => {
            admin("s3:PutBucketPublicAccessBlock")
        }
        "GetBucketPolicy" => policy("s3:GetBucketPolicy"),
        "GetBucketPolicyStatus" => policy("s3:GetBucketPolicyStatus"),
        "PutBucketPolicy" => policy("s3:PutBucketPolicy"),
        "DeleteBucketPolicy" => policy("s3:DeleteBucketPolicy"),
        "ListObjects" | "ListObjectsV2" => LIST,
        "ListObjectVersions" => need(&[List], On::Listing, "s3:ListBucketVersions"),
        "ListMultipartUploads" => {
            need(&[List, Write], On::Listing, "s3:ListBucketMultipartUploads")
        }
        "GetObject" | "HeadObject" => READ,
        "GetObjectAttributes" => read("s3:GetObjectAttributes", "s3:GetObjectVersionAttributes"),
        "GetObjectTagging" => read("s3:GetObjectTagging", "s3:GetObjectVersionTagging"),
        "GetObjectAcl" => read("s3:GetObjectAcl", "s3:GetObjectVersionAcl"),
        "GetObjectRetention" => object(&[Read], "s3:GetObjectRetention", None),
        "GetObjectLegalHold" => object(&[Read], "s3:GetObjectLegalHold", None),
        "PutObject"
        | "CopyObject"
        | "CreateMultipartUpload"
        | "UploadPart"
        | "UploadPartCopy"
        | "CompleteMultipartUpload" => WRITE,
        "AbortMultipartUpload" => object(&[Write], "s3:AbortMultipartUpload", None),
        "ListParts" => object(&[Write], "s3:ListMultipartUploadParts", None),
        "DeleteObjectTagging" => write("s3:DeleteObjectTagging", "s3:DeleteObjectVersionTagging"),
        "PutObjectAcl" => write("s3:PutObjectAcl", "s3:PutObjectVersionAcl"),
        "PutObjectRetention" => object(&[Write], "s3:PutObjectRetention", None),
        "PutObjectLegalHold" => object(&[Write], "s3:PutObjectLegalHold", None),
        "DeleteObject" => DELETE,
        "DeleteObjects" => Need { on: On::InBody, ..DELETE },
        "PutObjectTagging" => Need { on: On::InBody, ..TAG },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_core::bucket::Policy;
    use coffer_core::ids::BucketName;

    #[test]
    fn unknown_operations_need_more_than_anyone_has() {
        assert!(needs("PutBucketReplication").is_none());
        assert!(needs("").is_none());
    }

    #[test]
    fn policies_can_name_each_action() {
        let bucket = BucketName::new("data").unwrap();
        for operation in [
            "DeleteBucket",
            "HeadBucket",
            "GetBucketCors",
            "PutBucketCors",
            "GetBucketPolicy",
            "PutBucketPolicy",
            "GetPublicAccessBlock",
            "PutPublicAccessBlock",
            "ListObjectsV2",
            "ListObjectVersions",
            "ListMultipartUploads",
            "GetObject",
            "GetObjectAttributes",
            "GetObjectTagging",
            "GetObjectAcl",
            "PutObject",
            "AbortMultipartUpload",
            "ListParts",
            "PutObjectTagging",
            "DeleteObjectTagging",
            "PutObjectAcl",
            "PutObjectRetention",
            "DeleteObject",
            "GetBucketOwnershipControls",
            "PutBucketOwnershipControls",
            "GetBucketLifecycleConfiguration",
            "PutBucketLifecycleConfiguration",
            "GetBucketEncryption",
            "PutBucketEncryption",
            "GetObjectLockConfiguration",
        ] {
            let need = needs(operation).unwrap();
            for action in [Some(need.action), need.on_version].into_iter().flatten() {
                let text = format!(
                    r#"{{"Statement": {{"Effect": "Deny", "Principal": "*", "Action": "{action}",
                        "Resource": "arn:aws:s3:::data/*"}}}}"#
                );
                assert!(Policy::parse(&text, &bucket).is_ok(), "{operation}: {action}");
            }
        }
    }
}
