//! Tags of objects and buckets, within the limits that S3 sets.

use percent_encoding::percent_decode;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many tags what is tagged may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagLimit {
    /// An object: 10.
    Object,
    /// A bucket: 50.
    Bucket,
}

impl TagLimit {
    /// The number.
    pub const fn max(self) -> usize {
        match self {
            Self::Object => 10,
            Self::Bucket => 50,
        }
    }
}

/// Why a set of tags was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// More tags than there may be.
    #[error("there are {found} tags; at most {max} are allowed")]
    TooMany {
        /// How many there are.
        found: usize,
        /// How many there may be.
        max: usize,
    },
    /// A key that is empty, too long or has characters that S3 does not allow.
    #[error(
        "tag key {0:?} is invalid; keys have 1 to {max} letters, digits, spaces or + - = . _ : / @",
        max = Tags::MAX_KEY
    )]
    Key(String),
    /// A value that is too long or has characters that S3 does not allow.
    #[error(
        "the value of tag {0:?} is invalid; values have at most {max} letters, digits, spaces or \
         + - = . _ : / @",
        max = Tags::MAX_VALUE
    )]
    Value(String),
    /// Keys with `aws:` in front are the provider's.
    #[error("tag key {0:?} is invalid; keys must not begin with aws:")]
    Reserved(String),
    /// One key twice.
    #[error("tag key {0:?} is given more than once")]
    Duplicate(String),
    /// The text is not `key=value&key=value` in URL encoding.
    #[error("the tags are not in the form key=value&key=value, URL-encoded as UTF-8")]
    Encoding,
}

/// Tags: distinct keys with their values, in the order of the keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tags(BTreeMap<String, String>);

impl Tags {
    /// The longest key, in characters.
    pub const MAX_KEY: usize = 128;
    /// The longest value, in characters.
    pub const MAX_VALUE: usize = 256;

    /// Checks tags against S3's rules.
    ///
    /// # Errors
    /// [`TagError`] with the tag and the rule that it breaks.
    pub fn new(
        limit: TagLimit,
        pairs: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, TagError> {
        let (mut tags, mut found) = (BTreeMap::new(), 0);
        for (key, value) in pairs {
            found += 1;
            if key.is_empty() || !allowed(&key, Self::MAX_KEY) {
                return Err(TagError::Key(excerpt(&key)));
            }
            if key.get(..4).is_some_and(|p| p.eq_ignore_ascii_case("aws:")) {
                return Err(TagError::Reserved(key));
            }
            if !allowed(&value, Self::MAX_VALUE) {
                return Err(TagError::Value(key));
            }
            if tags.contains_key(&key) {
                return Err(TagError::Duplicate(key));
            }
            tags.insert(key, value);
        }
        let max = limit.max();
        if found > max { Err(TagError::TooMany { found, max }) } else { Ok(Self(tags)) }
    }

    /// Reads the form of the `x-amz-tagging` header: a URL query.
    ///
    /// # Errors
    /// [`TagError`] with the tag and the rule that it breaks.
    pub fn from_query(limit: TagLimit, query: &str) -> Result<Self, TagError> {
        let pairs = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                Ok((decoded(key)?, decoded(value)?))
            })
            .collect::<Result<Vec<_>, TagError>>()?;
        Self::new(limit, pairs)
    }

    /// The value of a tag.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// The tags, in the order of their keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn allowed(text: &str, max: usize) -> bool {
    let fits = |c: char| c.is_alphanumeric() || c == ' ' || "+-=._:/@".contains(c);
    text.chars().count() <= max && text.chars().all(|c| fits(c) || separator(c))
}

/// Spaces other than the ASCII one; not the control characters, which are white space too.
fn separator(c: char) -> bool {
    c.is_whitespace() && !c.is_control()
}

/// The beginning of a key that may be very long, for a message.
fn excerpt(key: &str) -> String {
    key.chars().take(Tags::MAX_KEY).collect()
}

fn decoded(text: &str) -> Result<String, TagError> {
    let spaced = text.replace('+', " ");
    percent_decode(spaced.as_bytes())
        .decode_utf8()
        .map(String::from)
        .map_err(|_| TagError::Encoding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn object(query: &str) -> Result<Tags, TagError> {
        Tags::from_query(TagLimit::Object, query)
    }

    #[test]
    fn the_header_is_a_url_query() {
        let tags = object("foo=bar&bar&a%20b=%C3%A9+%2B&").unwrap();
        let all: Vec<_> = tags.iter().collect();
        assert_eq!(all, [("a b", "é +"), ("bar", ""), ("foo", "bar")]);
        assert_eq!(tags.get("foo"), Some("bar"));
        assert!(object("").unwrap().is_empty());
    }

    #[test]
    fn the_limits_are_those_of_s3() {
        let many = |n: usize| (0..n).map(|i| (format!("k{i}"), String::new()));
        assert_eq!(Tags::new(TagLimit::Object, many(10)).unwrap().len(), 10);
        assert_eq!(
            Tags::new(TagLimit::Object, many(11)),
            Err(TagError::TooMany { found: 11, max: 10 })
        );
        assert!(Tags::new(TagLimit::Bucket, many(50)).is_ok());
        assert!(Tags::new(TagLimit::Bucket, many(51)).is_err());

        let (key, value) = ("é".repeat(128), "é".repeat(256));
        assert!(object(&format!("{key}={value}")).is_ok());
        assert_eq!(object(&format!("{key}x={value}")), Err(TagError::Key(key.clone())));
        assert_eq!(object(&format!("{key}={value}x")), Err(TagError::Value(key)));
        assert_eq!(object("=x"), Err(TagError::Key(String::new())));
        assert_eq!(object("AWS:x=1"), Err(TagError::Reserved("AWS:x".into())));
        assert_eq!(object("a=1&%61=2"), Err(TagError::Duplicate("a".into())));
        assert_eq!(object("a=%FF"), Err(TagError::Encoding));
        assert_eq!(object("a=%0A"), Err(TagError::Value("a".into())));
        assert_eq!(object("a<=1"), Err(TagError::Key("a<".into())));
    }

    proptest! {
        #[test]
        fn reading_tags_never_panics_and_keeps_the_limits(query: String) {
            if let Ok(tags) = object(&query) {
                prop_assert!(tags.len() <= TagLimit::Object.max());
                for (key, value) in tags.iter() {
                    prop_assert!((1..=128).contains(&key.chars().count()));
                    prop_assert!(value.chars().count() <= 256);
                }
            }
        }
    }
}
