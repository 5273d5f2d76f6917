//! All settings of a bucket, as the catalog keeps them.

use super::{
    Cors, DefaultEncryption, DefaultRetention, Lifecycle, Ownership, Policy, PublicAccessBlock,
    Tags, Versioning,
};
use serde::{Deserialize, Serialize};

/// A bucket that was made for Object Lock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectLock {
    /// What new versions get that bring no retention of their own.
    pub default: Option<DefaultRetention>,
}

/// The settings of a bucket. `None` is what the owner has not set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketSettings {
    /// Whether versions are kept.
    pub versioning: Versioning,
    /// Set if the bucket was made for Object Lock; never taken back.
    pub object_lock: Option<ObjectLock>,
    /// The bucket's own tags.
    pub tags: Option<Tags>,
    /// How new objects are encrypted.
    pub encryption: Option<DefaultEncryption>,
    /// What is turned off, whatever the policy says.
    pub public_access: Option<PublicAccessBlock>,
    /// Who owns new objects.
    pub ownership: Option<Ownership>,
    /// Who may do what, beside those who have grants.
    pub policy: Option<Policy>,
    /// Which web pages may read what a browser gets.
    pub cors: Option<Cors>,
    /// What becomes of objects with time.
    pub lifecycle: Option<Lifecycle>,
    /// The most bytes that the bucket may hold.
    pub quota_bytes: Option<u64>,
}

/// A change of one setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Setting {
    /// Whether versions are kept.
    Versioning(Versioning),
    /// Object Lock and its default.
    ObjectLock(ObjectLock),
    /// The bucket's own tags.
    Tags(Option<Tags>),
    /// How new objects are encrypted.
    Encryption(Option<DefaultEncryption>),
    /// What is turned off.
    PublicAccess(Option<PublicAccessBlock>),
    /// Who owns new objects.
    Ownership(Option<Ownership>),
    /// Who may do what.
    Policy(Option<Policy>),
    /// Which web pages may read.
    Cors(Option<Cors>),
    /// What becomes of objects with time.
    Lifecycle(Option<Lifecycle>),
    /// The most bytes that the bucket may hold.
    Quota(Option<u64>),
}

impl BucketSettings {
    /// Changes one setting.
    pub fn set(&mut self, setting: Setting) {
        match setting {
            Setting::Versioning(versioning) => self.versioning = versioning,
            Setting::ObjectLock(lock) => self.object_lock = Some(lock),
            Setting::Tags(tags) => self.tags = tags,
            Setting::Encryption(encryption) => self.encryption = encryption,
            Setting::PublicAccess(block) => self.public_access = block,
            Setting::Ownership(ownership) => self.ownership = ownership,
            Setting::Policy(policy) => self.policy = policy,
            Setting::Cors(cors) => self.cors = cors,
            Setting::Lifecycle(lifecycle) => self.lifecycle = lifecycle,
            Setting::Quota(quota) => self.quota_bytes = quota,
        }
    }
}
