//! The small settings of a bucket, and the retention of an object.

use serde::{Deserialize, Serialize};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Why a setting was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// A default retention of no time at all, or of more than S3 allows.
    #[error("the default retention must be 1 to 36500 days or 1 to 100 years")]
    RetentionPeriod,
}

/// Whether a bucket keeps the versions of its objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Versioning {
    /// It never has.
    #[default]
    Unversioned,
    /// It does.
    Enabled,
    /// It did; what it has it keeps, and new objects replace the null version.
    Suspended,
}

/// What S3's public access block turns off, whatever policies and ACLs say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicAccessBlock {
    /// Requests that would set a public ACL are refused.
    pub block_public_acls: bool,
    /// Public ACLs count as private.
    pub ignore_public_acls: bool,
    /// Requests that would set a public policy are refused.
    pub block_public_policy: bool,
    /// With a public policy, only the owner gets in.
    pub restrict_public_buckets: bool,
}

/// Who owns the objects of a bucket. Coffer has the mode that S3 recommends and no other, because
/// the others need ACLs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ownership {
    /// The bucket's owner; ACLs are off.
    #[default]
    BucketOwnerEnforced,
}

/// How firmly a retention holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LockMode {
    /// Whoever has the right to may shorten or bypass it.
    Governance,
    /// Nobody may, not even an administrator; it can only be extended.
    Compliance,
}

/// Until when an object's version can neither be deleted nor be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Retention {
    /// How firmly.
    pub mode: LockMode,
    /// The end, in ms since the Unix epoch; from then on the version is free.
    pub until_ms: u64,
}

impl Retention {
    /// Whether it forbids to delete the version now. `bypass`: the request bypasses governance, and
    /// its caller may.
    pub fn forbids_deletion(&self, now_ms: u64, bypass: bool) -> bool {
        now_ms < self.until_ms && (self.mode == LockMode::Compliance || !bypass)
    }

    /// Whether it forbids that `new` takes its place now: anything is allowed that holds as firmly
    /// and at least as long. `bypass` as above.
    pub fn forbids_change(&self, new: Option<&Self>, now_ms: u64, bypass: bool) -> bool {
        let weakens = new.is_none_or(|new| new.until_ms < self.until_ms || new.mode != self.mode);
        weakens && self.forbids_deletion(now_ms, bypass)
    }
}

/// How long a default retention lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RetentionPeriod {
    /// Days of 24 hours.
    Days(u32),
    /// Years of 365 days.
    Years(u32),
}

/// The retention that a bucket gives to each new object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultRetention {
    /// How firmly it holds.
    pub mode: LockMode,
    /// How long it lasts.
    pub period: RetentionPeriod,
}

impl DefaultRetention {
    /// The longest period in days, as in S3.
    pub const MAX_DAYS: u32 = 36_500;
    /// The longest period in years, as in S3.
    pub const MAX_YEARS: u32 = 100;

    /// Checks the period.
    ///
    /// # Errors
    /// [`SettingError::RetentionPeriod`] if it is zero or longer than S3 allows.
    pub fn new(mode: LockMode, period: RetentionPeriod) -> Result<Self, SettingError> {
        let (length, max) = match period {
            RetentionPeriod::Days(n) => (n, Self::MAX_DAYS),
            RetentionPeriod::Years(n) => (n, Self::MAX_YEARS),
        };
        if (1..=max).contains(&length) {
            Ok(Self { mode, period })
        } else {
            Err(SettingError::RetentionPeriod)
        }
    }

    /// The retention of an object that is made at `created_ms`.
    pub fn of_object(&self, created_ms: u64) -> Retention {
        let days = match self.period {
            RetentionPeriod::Days(n) => u64::from(n),
            RetentionPeriod::Years(n) => 365 * u64::from(n),
        };
        let until_ms = created_ms.saturating_add(days.saturating_mul(DAY_MS));
        Retention { mode: self.mode, until_ms }
    }
}

/// How new objects are encrypted when their requests do not say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DefaultEncryption {
    /// Under the bucket's key (SSE-S3).
    #[default]
    S3Managed,
    /// Under a named key (SSE-KMS).
    Kms {
        /// Its id; the cluster's default key if `None`.
        key_id: Option<String>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use LockMode::{Compliance, Governance};

    #[test]
    fn nobody_shortens_compliance() {
        let held = |mode| Retention { mode, until_ms: 100 };
        let table = [
            // mode, new, now, bypass, refused
            (Governance, None, 50, false, true),
            (Governance, None, 50, true, false),
            (Governance, None, 100, false, false),
            (Governance, Some((Governance, 101)), 50, false, false),
            (Governance, Some((Compliance, 100)), 50, false, true),
            (Governance, Some((Compliance, 100)), 50, true, false),
            (Governance, Some((Compliance, 99)), 50, false, true),
            (Compliance, None, 99, true, true),
            (Compliance, None, 100, false, false),
            (Compliance, Some((Compliance, 99)), 50, true, true),
            (Compliance, Some((Governance, 200)), 50, true, true),
            (Compliance, Some((Compliance, 200)), 50, false, false),
        ];
        for (mode, new, now, bypass, refused) in table {
            let new = new.map(|(mode, until_ms)| Retention { mode, until_ms });
            let found = held(mode).forbids_change(new.as_ref(), now, bypass);
            assert_eq!(found, refused, "{mode:?} {new:?} at {now}, bypass {bypass}");
        }
        assert!(held(Compliance).forbids_deletion(99, true));
        assert!(!held(Governance).forbids_deletion(99, true));
    }

    #[test]
    fn default_retention_has_a_length() {
        for bad in [
            RetentionPeriod::Days(0),
            RetentionPeriod::Days(36_501),
            RetentionPeriod::Years(0),
            RetentionPeriod::Years(101),
        ] {
            assert!(DefaultRetention::new(Governance, bad).is_err(), "{bad:?}");
        }
        let year = DefaultRetention::new(Compliance, RetentionPeriod::Years(1)).unwrap();
        let days = DefaultRetention::new(Compliance, RetentionPeriod::Days(365)).unwrap();
        assert_eq!(year.of_object(5), days.of_object(5));
        assert_eq!(days.of_object(5).until_ms, 5 + 365 * 86_400_000);
        assert_eq!(year.of_object(u64::MAX).until_ms, u64::MAX);
    }
}
