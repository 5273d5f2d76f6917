//! The names of S3's actions, and patterns of them.

use super::wildcard;
use serde::{Deserialize, Serialize};

/// A pattern of actions: `s3:GetObject`, `s3:Get*`, `*`. The case of letters does not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActionPattern(String);

impl ActionPattern {
    /// Takes a pattern that names at least one of S3's actions.
    pub(super) fn new(pattern: &str) -> Option<Self> {
        let pattern = Self(pattern.to_ascii_lowercase());
        ACTIONS.iter().any(|name| pattern.matches(&format!("s3:{name}"))).then_some(pattern)
    }

    /// Whether it stands for `action`, which has the form `s3:GetObject`.
    pub fn matches(&self, action: &str) -> bool {
        wildcard::matches(&self.0, &action.to_ascii_lowercase())
    }
}

/// What can be done to buckets and objects in S3, by the names that policies use. Those that Coffer
/// does not have are there too: a policy that denies them is right.
/// Source: AWS Service Authorization Reference, "Actions, resources, and condition keys for S3".
const ACTIONS: &[&str] = &[
    "AbortMultipartUpload",
    "BypassGovernanceRetention",
    "CreateBucket",
    "CreateSession",
    "DeleteBucket",
    "DeleteBucketOwnershipControls",
    "DeleteBucketPolicy",
    "DeleteBucketWebsite",
    "DeleteObject",
    "DeleteObjectTagging",
    "DeleteObjectVersion",
    "DeleteObjectVersionTagging",
    "GetAccelerateConfiguration",
    "GetAnalyticsConfiguration",
    "GetBucketAcl",
    "GetBucketCORS",
    "GetBucketLocation",
    "GetBucketLogging",
    "GetBucketNotification",
    "GetBucketObjectLockConfiguration",
    "GetBucketOwnershipControls",
    "GetBucketPolicy",
    "GetBucketPolicyStatus",
    "GetBucketPublicAccessBlock",
    "GetBucketRequestPayment",
    "GetBucketTagging",
    "GetBucketVersioning",
    "GetBucketWebsite",
    "GetEncryptionConfiguration",
    "GetIntelligentTieringConfiguration",
    "GetInventoryConfiguration",
    "GetLifecycleConfiguration",
    "GetMetricsConfiguration",
    "GetObject",
    "GetObjectAcl",
    "GetObjectAttributes",
    "GetObjectLegalHold",
    "GetObjectRetention",
    "GetObjectTagging",
    "GetObjectTorrent",
    "GetObjectVersion",
    "GetObjectVersionAcl",
    "GetObjectVersionAttributes",
    "GetObjectVersionForReplication",
    "GetObjectVersionTagging",
    "GetObjectVersionTorrent",
    "GetReplicationConfiguration",
    "ListBucket",
    "ListBucketMultipartUploads",
    "ListBucketVersions",
    "ListMultipartUploadParts",
    "ObjectOwnerOverrideToBucketOwner",
    "PostBucketLogging",
    "PutAccelerateConfiguration",
    "PutAnalyticsConfiguration",
    "PutBucketAcl",
    "PutBucketCORS",
    "PutBucketLogging",
    "PutBucketNotification",
    "PutBucketObjectLockConfiguration",
    "PutBucketOwnershipControls",
    "PutBucketPolicy",
    "PutBucketPublicAccessBlock",
    "PutBucketRequestPayment",
    "PutBucketTagging",
    "PutBucketVersioning",
    "PutBucketWebsite",
    "PutEncryptionConfiguration",
    "PutIntelligentTieringConfiguration",
    "PutInventoryConfiguration",
    "PutLifecycleConfiguration",
    "PutMetricsConfiguration",
    "PutObject",
    "PutObjectAcl",
    "PutObjectLegalHold",
    "PutObjectRetention",
    "PutObjectTagging",
    "PutObjectVersionAcl",
    "PutObjectVersionTagging",
    "PutReplicationConfiguration",
    "ReplicateDelete",
    "ReplicateObject",
    "ReplicateTags",
    "RestoreObject",
    "UpdateObjectEncryption",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_actions_that_exist() {
        for good in ["s3:GetObject", "S3:getobject", "s3:*", "*", "s3:Get*", "s3:?etObject"] {
            let pattern = ActionPattern::new(good).unwrap();
            assert!(pattern.matches("s3:GetObject"), "{good}");
        }
        for bad in ["", "s3:", "GetObject", "s3:GetObjekt", "ec2:*", "s3:GetObject ", "s3::*"] {
            assert!(ActionPattern::new(bad).is_none(), "{bad}");
        }
        assert!(!ActionPattern::new("s3:Get*").unwrap().matches("s3:PutObject"));
    }
}
