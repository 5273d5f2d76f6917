//! `s3://bucket/key` addresses, parsed in one place.

use std::fmt;
use std::str::FromStr;

/// Longest key S3 allows, in bytes of UTF-8.
pub const MAX_KEY_BYTES: usize = 1024;

/// An `s3://` address: a bucket and, after it, a key or a prefix of keys (possibly empty).
///
/// Nothing is decoded or normalised: what stands after the bucket's slash is the key, byte for
/// byte, so `s3://b/a%20b` names the key `a%20b`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct S3Url {
    bucket: String,
    key: String,
}

/// Why a text is no usable `s3://` address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum S3UrlError {
    /// The scheme is missing or another one.
    #[error("`{0}` is not an s3:// address: write s3://BUCKET or s3://BUCKET/KEY")]
    Scheme(String),
    /// The bucket's name breaks the rules for names.
    #[error(
        "`{0}` is not a bucket name: use 3 to 63 of a-z, 0-9, `-` and `.`, \
         starting and ending with a letter or digit"
    )]
    Bucket(String),
    /// The key is longer than S3 allows.
    #[error("the key is {0} bytes long, and S3 allows at most {MAX_KEY_BYTES}")]
    KeyTooLong(usize),
    /// The key holds a control character, or `.` or `..` as a path segment.
    #[error(
        "the key `{0}` can't be addressed: control characters and the segments `.` and `..` \
         do not survive HTTP paths"
    )]
    Key(String),
}

impl S3Url {
    /// An address from its parts.
    ///
    /// # Errors
    /// If the bucket or the key is invalid (see [`S3UrlError`]).
    pub fn new(bucket: &str, key: &str) -> Result<Self, S3UrlError> {
        check_bucket(bucket)?;
        check_key(key)?;
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned() })
    }

    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The key or prefix; empty if the address names the bucket alone.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether the address can only mean a group of keys: the bucket alone, or a key ending in `/`.
    pub fn is_prefix(&self) -> bool {
        self.key.is_empty() || self.key.ends_with('/')
    }

    /// The key's last segment, the file name it would have on disk.
    pub fn file_name(&self) -> Option<&str> {
        self.key.rsplit('/').next().filter(|name| !name.is_empty())
    }

    /// The key as a folder: with a `/` at the end, or empty for the bucket's root.
    pub fn folder(&self) -> String {
        if self.is_prefix() { self.key.clone() } else { format!("{}/", self.key) }
    }

    /// The address of `relative` in this address seen as a folder.
    ///
    /// # Errors
    /// If the key that results is invalid.
    pub fn join(&self, relative: &str) -> Result<Self, S3UrlError> {
        Self::new(&self.bucket, &format!("{}{relative}", self.folder()))
    }
}

/// Checks a bucket name against the rules S3 shares with DNS labels.
fn check_bucket(bucket: &str) -> Result<(), S3UrlError> {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let valid = (3..=63).contains(&bucket.len())
        && bucket.chars().all(|c| edge(c) || c == '-' || c == '.')
        && bucket.starts_with(edge)
        && bucket.ends_with(edge)
        && !bucket.contains("..");
    if valid { Ok(()) } else { Err(S3UrlError::Bucket(bucket.to_owned())) }
}

fn check_key(key: &str) -> Result<(), S3UrlError> {
    if key.len() > MAX_KEY_BYTES {
        return Err(S3UrlError::KeyTooLong(key.len()));
    }
    let bad_segment = key.split('/').any(|segment| segment == "." || segment == "..");
    if bad_segment || key.chars().any(char::is_control) {
        return Err(S3UrlError::Key(key.escape_debug().to_string()));
    }
    Ok(())
}

impl FromStr for S3Url {
    type Err = S3UrlError;

    fn from_str(text: &str) -> Result<Self, S3UrlError> {
        let rest = text.strip_prefix("s3://").ok_or_else(|| S3UrlError::Scheme(text.to_owned()))?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        Self::new(bucket, key)
    }
}

impl fmt::Display for S3Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        if !self.key.is_empty() {
            write!(f, "/{}", self.key)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn url(text: &str) -> S3Url {
        text.parse().unwrap()
    }

    #[test]
    fn splits_bucket_and_key_at_the_first_slash() {
        assert_eq!(url("s3://data").key(), "");
        assert_eq!(url("s3://data/").key(), "");
        assert_eq!(url("s3://data/a/b c").key(), "a/b c");
        assert_eq!(url("s3://data//a").key(), "/a", "keys may start with a slash");
        assert_eq!(url("s3://data/a%20b").key(), "a%20b", "nothing is decoded");
    }

    #[test]
    fn tells_keys_from_prefixes() {
        assert!(url("s3://data").is_prefix());
        assert!(url("s3://data/a/").is_prefix());
        assert!(!url("s3://data/a").is_prefix());
        assert_eq!(url("s3://data/a/b.tar").file_name(), Some("b.tar"));
        assert_eq!(url("s3://data/a/").file_name(), None);
        assert_eq!(url("s3://data/a").join("b").unwrap(), url("s3://data/a/b"));
        assert_eq!(url("s3://data").join("b").unwrap(), url("s3://data/b"));
    }

    #[test]
    fn refuses_what_cannot_be_addressed() {
        for text in ["data/a", "http://data/a", "s3:/data", ""] {
            assert!(matches!(text.parse::<S3Url>(), Err(S3UrlError::Scheme(_))), "{text}");
        }
        for text in
            ["s3://", "s3:///a", "s3://ab", "s3://Data", "s3://-ab", "s3://a..b", "s3://a_b"]
        {
            assert!(matches!(text.parse::<S3Url>(), Err(S3UrlError::Bucket(_))), "{text}");
        }
        for text in ["s3://data/../a", "s3://data/a/.", "s3://data/a\0b", "s3://data/a\nb"] {
            assert!(matches!(text.parse::<S3Url>(), Err(S3UrlError::Key(_))), "{text:?}");
        }
        let long = format!("s3://data/{}", "k".repeat(MAX_KEY_BYTES + 1));
        assert_eq!(long.parse::<S3Url>(), Err(S3UrlError::KeyTooLong(MAX_KEY_BYTES + 1)));
    }

    proptest! {
        #[test]
        fn display_and_parse_are_inverse(bucket in "[a-z0-9][a-z0-9-]{1,20}[a-z0-9]", key in "[^\\p{Cc}]{0,64}") {
            if let Ok(address) = S3Url::new(&bucket, &key) {
                prop_assert_eq!(address.to_string().parse::<S3Url>().unwrap(), address);
            }
        }

        #[test]
        fn never_panics_and_never_accepts_dot_segments(text in "\\PC{0,80}") {
            if let Ok(address) = format!("s3://data/{text}").parse::<S3Url>() {
                prop_assert!(address.key().split('/').all(|s| s != "." && s != ".."));
                prop_assert_eq!(address.key(), &text);
            }
            let _ = text.parse::<S3Url>();
        }
    }
}
