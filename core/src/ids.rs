//! Names: what things are called, and which names are legal.
//!
//! Every name that comes from outside is checked once, here, and is a type of its own afterwards.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Why a name was refused. The text is fit for the user who sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a legal S3 bucket name.
    #[error("bucket name {name:?} is not valid: {why}")]
    Bucket {
        /// The name as given, cut to 80 characters.
        name: String,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// Not a legal object key.
    #[error("object key is not valid: {0}")]
    Key(&'static str),
    /// Not a 128-bit identifier in 32 hexadecimal digits.
    #[error("{0:?} is not an identifier of 32 hexadecimal digits")]
    Hex(String),
    /// A version id that is not one of ours.
    #[error("{0:?} is not a version id")]
    Version(String),
    /// A part number outside 1..=10,000.
    #[error("part number {0} is not between 1 and 10000")]
    Part(i64),
}

macro_rules! id128 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name([u8; 16]);

        impl $name {
            /// From raw bytes, for instance 16 random ones.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The raw bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(s: &str) -> Result<Self, NameError> {
                let mut bytes = [0u8; 16];
                hex::decode_to_slice(s, &mut bytes)
                    .map_err(|_| NameError::Hex(s.chars().take(80).collect()))?;
                Ok(Self(bytes))
            }
        }
    };
}

id128! {
    /// The sealed data of one part of one object. Random, so that no two uploads ever share one.
    BlobId
}
id128! {
    /// A storage node, for life. Drawn at random when its data directory is made.
    NodeId
}
id128! {
    /// One version of an object.
    VersionId
}
id128! {
    /// A multipart upload in progress.
    UploadId
}
id128! {
    /// An access token, for the log and for revocation.
    TokenId
}

impl BlobId {
    /// Whether the id is none of a part's: such ids are kept for what the cluster stores for itself.
    /// A random id is one with a probability of 2^-64.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with(&[0xFF; 8])
    }
}

/// What clients call a version: "null", or 48 hexadecimal digits that also say where it is to be
/// found among the versions of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum VersionName {
    /// The version that was written while the bucket was not versioned.
    Null,
    /// Any other.
    Id {
        /// Its place among the versions of its key.
        seq: u64,
        /// The version.
        version: VersionId,
    },
}

impl fmt::Display for VersionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Id { seq, version } => write!(f, "{seq:016x}{version}"),
        }
    }
}

impl FromStr for VersionName {
    type Err = NameError;

    fn from_str(s: &str) -> Result<Self, NameError> {
        if s == "null" {
            return Ok(Self::Null);
        }
        let malformed = || NameError::Version(s.chars().take(80).collect());
        let mut bytes = [0u8; 24];
        hex::decode_to_slice(s, &mut bytes).map_err(|_| malformed())?;
        let (seq, version) = bytes.split_first_chunk::<8>().ok_or_else(malformed)?;
        let version = VersionId::from_bytes(version.try_into().map_err(|_| malformed())?);
        Ok(Self::Id { seq: u64::from_be_bytes(*seq), version })
    }
}

/// An S3 bucket name: 3 to 63 characters of `a-z 0-9 . -`, with the rules of AWS.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BucketName(String);

impl BucketName {
    /// Checks `name` against the naming rules.
    ///
    /// # Errors
    /// [`NameError::Bucket`] with the rule that is broken.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        match bucket_rule_broken(&name) {
            None => Ok(Self(name)),
            Some(why) => Err(NameError::Bucket { name: name.chars().take(80).collect(), why }),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn bucket_rule_broken(name: &str) -> Option<&'static str> {
    let b = name.as_bytes();
    let legal = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == b'.' || *c == b'-';
    let edge = |c: Option<&u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    if !(3..=63).contains(&b.len()) {
        Some("it must have 3 to 63 characters")
    } else if !b.iter().all(legal) {
        Some("only a-z, 0-9, '.' and '-' are allowed")
    } else if !edge(b.first()) || !edge(b.last()) {
        Some("it must begin and end with a letter or a digit")
    } else if name.contains("..") {
        Some("it must not contain two dots in a row")
    } else if name.contains(".-") || name.contains("-.") {
        Some("it must not have a dot beside a hyphen")
    } else if name.parse::<std::net::Ipv4Addr>().is_ok() {
        Some("it must not look like an IP address")
    } else {
        None
    }
}

impl TryFrom<String> for BucketName {
    type Error = NameError;

    fn try_from(s: String) -> Result<Self, NameError> {
        Self::new(s)
    }
}

impl From<BucketName> for String {
    fn from(b: BucketName) -> String {
        b.0
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An object key: 1 to 1024 bytes of UTF-8 without NUL. Slashes and dots have no meaning in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectKey(String);

impl ObjectKey {
    /// The longest legal key, in bytes (as in S3).
    pub const MAX_LEN: usize = 1024;

    /// Checks `key` against the naming rules.
    ///
    /// # Errors
    /// [`NameError::Key`] with the rule that is broken.
    pub fn new(key: impl Into<String>) -> Result<Self, NameError> {
        let key = key.into();
        if key.is_empty() {
            Err(NameError::Key("it is empty"))
        } else if key.len() > Self::MAX_LEN {
            Err(NameError::Key("it is longer than 1024 bytes"))
        } else if key.contains('\0') {
            Err(NameError::Key("it contains a NUL character"))
        } else {
            Ok(Self(key))
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ObjectKey {
    type Error = NameError;

    fn try_from(s: String) -> Result<Self, NameError> {
        Self::new(s)
    }
}

impl From<ObjectKey> for String {
    fn from(k: ObjectKey) -> String {
        k.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number of a part in a multipart upload: 1 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct PartNumber(u16);

impl PartNumber {
    /// The highest part number (as in S3).
    pub const MAX: u16 = 10_000;

    /// Checks the range.
    ///
    /// # Errors
    /// [`NameError::Part`] outside 1..=10,000.
    pub fn new(n: i64) -> Result<Self, NameError> {
        match u16::try_from(n) {
            Ok(p) if (1..=Self::MAX).contains(&p) => Ok(Self(p)),
            _ => Err(NameError::Part(n)),
        }
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for PartNumber {
    type Error = NameError;

    fn try_from(n: u16) -> Result<Self, NameError> {
        Self::new(i64::from(n))
    }
}

impl From<PartNumber> for u16 {
    fn from(p: PartNumber) -> u16 {
        p.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bucket_names_follow_the_s3_rules() {
        for good in ["abc", "a-b.c", "0ab", &"x".repeat(63)] {
            assert!(BucketName::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "ab",
            "Abc",
            "a_b",
            "-ab",
            "ab-",
            "a..b",
            "a.-b",
            "a-.b",
            "1.2.3.4",
            ".coffer",
            &"x".repeat(64),
        ] {
            assert!(BucketName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_keep_dots_and_slashes_but_not_nul() {
        assert_eq!(
            ObjectKey::new("../../etc/passwd").map(String::from).ok().as_deref(),
            Some("../../etc/passwd")
        );
        assert!(ObjectKey::new("a\0b").is_err());
        assert!(ObjectKey::new("é".repeat(512)).is_ok());
        assert!(ObjectKey::new("é".repeat(513)).is_err());
    }

    #[test]
    fn part_numbers_are_bounded() {
        assert!(PartNumber::new(0).is_err());
        assert!(PartNumber::new(10_001).is_err());
        assert!(PartNumber::new(-1).is_err());
        assert_eq!(PartNumber::new(10_000).map(PartNumber::get), Ok(10_000));
    }

    #[test]
    fn a_version_is_null_or_48_digits() {
        assert_eq!("null".parse(), Ok(VersionName::Null));
        for bad in ["", "Null", "ab", &"0".repeat(47), &"0".repeat(49), &"g".repeat(48)] {
            assert!(bad.parse::<VersionName>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn version_names_read_back_as_they_print(seq: u64, bytes: [u8; 16]) {
            let name = VersionName::Id { seq, version: VersionId::from_bytes(bytes) };
            prop_assert_eq!(name.to_string().parse(), Ok(name));
        }

        #[test]
        fn ids_read_back_as_they_print(bytes: [u8; 16]) {
            let id = BlobId::from_bytes(bytes);
            prop_assert_eq!(id.to_string().parse::<BlobId>(), Ok(id));
        }

        #[test]
        fn parsing_an_id_never_panics(s: String) {
            let _ = s.parse::<VersionId>();
        }
    }
}
