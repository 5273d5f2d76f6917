//! Who may do what. Everything that is not granted is denied.

use crate::ids::{BucketName, ObjectKey};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a request wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Read objects and their metadata.
    Read,
    /// Create and replace objects.
    Write,
    /// Delete objects.
    Delete,
    /// List keys.
    List,
    /// Create and delete buckets, issue tokens.
    Admin,
}

impl Verb {
    /// All verbs, weakest first.
    pub const ALL: [Self; 5] = [Self::Read, Self::List, Self::Write, Self::Delete, Self::Admin];

    /// The verb's name in tokens, configuration and command lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Verb {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|v| v.as_str() == s)
            .ok_or_else(|| format!("{s:?} is not a verb; use read, write, delete, list or admin"))
    }
}

/// What a request touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// The cluster as a whole: listing buckets, issuing tokens.
    Cluster,
    /// A bucket.
    Bucket(&'a BucketName),
    /// Keys that begin with a prefix: a listing.
    Prefix(&'a BucketName, &'a str),
    /// An object.
    Object(&'a BucketName, &'a ObjectKey),
}

/// A permission: some verbs, within a bucket and a key prefix if these are given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The verbs that are allowed.
    pub verbs: Vec<Verb>,
    /// Only this bucket; any bucket if `None`.
    #[serde(default)]
    pub bucket: Option<BucketName>,
    /// Only keys with this prefix; any key if `None`.
    #[serde(default)]
    pub prefix: Option<String>,
    /// Only buckets that the holder owns, having made them.
    #[serde(default)]
    pub owned: bool,
}

impl Grant {
    /// Everything, everywhere.
    pub fn root() -> Self {
        Self { verbs: Verb::ALL.to_vec(), bucket: None, prefix: None, owned: false }
    }

    /// Whether this grant allows `verb` on `target`. `owner`: whether its holder owns the bucket,
    /// or will, having made it.
    pub fn allows(&self, verb: Verb, target: Target<'_>, owner: bool) -> bool {
        let bucket_fits = |b: &BucketName| self.bucket.as_ref().is_none_or(|own| own == b);
        let within = |key: &str| self.prefix.as_deref().is_none_or(|p| key.starts_with(p));
        self.verbs.contains(&verb)
            && (owner || !self.owned)
            && match target {
                Target::Cluster => self.bucket.is_none() && self.prefix.is_none() && !self.owned,
                // A grant on a prefix lets its holder see that the bucket is there, not change it.
                Target::Bucket(b) => {
                    bucket_fits(b) && (self.prefix.is_none() || verb != Verb::Admin)
                }
                Target::Prefix(b, p) => bucket_fits(b) && within(p),
                Target::Object(b, k) => bucket_fits(b) && within(k.as_str()),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_narrow_in_every_direction() {
        let a = BucketName::new("aaa").unwrap();
        let b = BucketName::new("bbb").unwrap();
        let inside = ObjectKey::new("mnist/0.tar").unwrap();
        let outside = ObjectKey::new("mnis").unwrap();
        let grant = Grant {
            verbs: vec![Verb::Read, Verb::List, Verb::Admin],
            bucket: Some(a.clone()),
            prefix: Some("mnist/".into()),
            owned: false,
        };
        let table = [
            (Verb::Read, Target::Object(&a, &inside), true),
            (Verb::Read, Target::Object(&a, &outside), false),
            (Verb::Read, Target::Object(&b, &inside), false),
            (Verb::Write, Target::Object(&a, &inside), false),
            (Verb::List, Target::Prefix(&a, "mnist/train"), true),
            (Verb::List, Target::Prefix(&a, ""), false),
            (Verb::List, Target::Cluster, false),
            (Verb::Read, Target::Bucket(&a), true),
            (Verb::Read, Target::Bucket(&b), false),
            (Verb::Admin, Target::Bucket(&a), false),
            (Verb::Admin, Target::Cluster, false),
        ];
        for (verb, target, allowed) in table {
            assert_eq!(grant.allows(verb, target, false), allowed, "{verb} {target:?}");
        }
        let own = Grant { owned: true, ..Grant::root() };
        for verb in Verb::ALL {
            assert!(Grant::root().allows(verb, Target::Cluster, false));
            assert!(Grant::root().allows(verb, Target::Object(&b, &outside), false));
            assert!(own.allows(verb, Target::Object(&b, &outside), true));
            assert!(!own.allows(verb, Target::Object(&b, &outside), false));
            assert!(!own.allows(verb, Target::Cluster, true));
        }
    }

    #[test]
    fn verbs_parse_as_they_print() {
        for verb in Verb::ALL {
            assert_eq!(verb.as_str().parse(), Ok(verb));
        }
        assert!("Read".parse::<Verb>().is_err());
    }
}
