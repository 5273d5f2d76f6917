//! Condition keys: what a condition can ask of a request.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A condition key. Names of keys are written in any case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Key {
    /// `aws:SourceIp`: the client's address.
    SourceIp,
    /// `aws:SecureTransport`: whether the request came over TLS.
    SecureTransport,
    /// `aws:Referer`: the header.
    Referer,
    /// `aws:UserAgent`: the header.
    UserAgent,
    /// `aws:CurrentTime`: now, as a date in ISO 8601.
    CurrentTime,
    /// `aws:EpochTime`: now, in seconds since the Unix epoch.
    EpochTime,
    /// `aws:username`: the caller's name.
    Username,
    /// `aws:PrincipalArn`: the caller's ARN.
    PrincipalArn,
    /// `s3:prefix`: the parameter of a listing.
    Prefix,
    /// `s3:delimiter`: the parameter of a listing.
    Delimiter,
    /// `s3:max-keys`: the parameter of a listing.
    MaxKeys,
    /// `s3:VersionId`: the parameter.
    VersionId,
    /// `s3:signatureversion`: `AWS4-HMAC-SHA256`.
    SignatureVersion,
    /// `s3:authType`: `REST-HEADER`, `REST-QUERY-STRING` or `POST`.
    AuthType,
    /// `s3:signatureAge`: ms since the request was signed.
    SignatureAge,
    /// `s3:TlsVersion`: `1.2` or `1.3`.
    TlsVersion,
    /// `s3:x-amz-…`: a header of the request; the name in lower case, of [`HEADERS`].
    Header(String),
    /// `s3:ExistingObjectTag/…`: the value of a tag that the object has.
    ExistingTag(String),
    /// `s3:RequestObjectTag/…`: the value of a tag that the request sets.
    RequestTag(String),
    /// `s3:RequestObjectTagKeys`: the keys of the tags that the request sets.
    RequestTagKeys,
    /// `s3:object-lock-mode`: `GOVERNANCE` or `COMPLIANCE`, as the request sets it.
    LockMode,
    /// `s3:object-lock-retain-until-date`: the date that the request sets.
    LockRetainUntil,
    /// `s3:object-lock-remaining-retention-days`: days until that date.
    LockRemainingDays,
    /// `s3:object-lock-legal-hold`: `ON` or `OFF`, as the request sets it.
    LegalHold,
    /// A key of something that a request to Coffer never has, such as `aws:SourceVpce`; of
    /// [`NEVER_SET`], in lower case.
    Never(String),
}

/// Keys that have a name of their own.
const NAMED: &[(&str, Key)] = &[
    ("aws:SourceIp", Key::SourceIp),
    ("aws:SecureTransport", Key::SecureTransport),
    ("aws:Referer", Key::Referer),
    ("aws:UserAgent", Key::UserAgent),
    ("aws:CurrentTime", Key::CurrentTime),
    ("aws:EpochTime", Key::EpochTime),
    ("aws:username", Key::Username),
    ("aws:PrincipalArn", Key::PrincipalArn),
    ("s3:prefix", Key::Prefix),
    ("s3:delimiter", Key::Delimiter),
    ("s3:max-keys", Key::MaxKeys),
    ("s3:VersionId", Key::VersionId),
    ("s3:signatureversion", Key::SignatureVersion),
    ("s3:authType", Key::AuthType),
    ("s3:signatureAge", Key::SignatureAge),
    ("s3:TlsVersion", Key::TlsVersion),
    ("s3:RequestObjectTagKeys", Key::RequestTagKeys),
    ("s3:object-lock-mode", Key::LockMode),
    ("s3:object-lock-retain-until-date", Key::LockRetainUntil),
    ("s3:object-lock-remaining-retention-days", Key::LockRemainingDays),
    ("s3:object-lock-legal-hold", Key::LegalHold),
];

/// The headers that conditions can ask for, as `s3:` and the name.
pub const HEADERS: &[&str] = &[
    "x-amz-acl",
    "x-amz-content-sha256",
    "x-amz-copy-source",
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write",
    "x-amz-grant-write-acp",
    "x-amz-metadata-directive",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
];

/// Keys of virtual networks and of other services; requests to Coffer come from neither.
pub const NEVER_SET: &[&str] =
    &["aws:sourceaccount", "aws:sourcearn", "aws:sourcevpc", "aws:sourcevpce", "aws:vpcsourceip"];

const EXISTING_TAG: &str = "s3:ExistingObjectTag/";
const REQUEST_TAG: &str = "s3:RequestObjectTag/";

impl Key {
    /// Reads a key; `None` if there is none of that name.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some((_, key)) = NAMED.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
            return Some(key.clone());
        }
        for (prefix, make) in [
            (EXISTING_TAG, Self::ExistingTag as fn(String) -> Self),
            (REQUEST_TAG, Self::RequestTag),
        ] {
            let tag = text.get(prefix.len()..).filter(|tag| !tag.is_empty());
            if let Some(tag) = tag
                && text[..prefix.len()].eq_ignore_ascii_case(prefix)
            {
                return Some(make(tag.to_owned()));
            }
        }
        let lower = text.to_ascii_lowercase();
        match lower.strip_prefix("s3:") {
            Some(header) if HEADERS.contains(&header) => Some(Self::Header(header.to_owned())),
            _ => NEVER_SET.contains(&lower.as_str()).then_some(Self::Never(lower)),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "s3:{name}"),
            Self::ExistingTag(tag) => write!(f, "{EXISTING_TAG}{tag}"),
            Self::RequestTag(tag) => write!(f, "{REQUEST_TAG}{tag}"),
            Self::Never(name) => f.write_str(name),
            named => match NAMED.iter().find(|(_, key)| key == named) {
                Some((name, _)) => f.write_str(name),
                None => fmt::Debug::fmt(named, f),
            },
        }
    }
}

/// What a policy may ask of the request that it judges.
pub trait Context {
    /// The values of a key: none if the request does not have it.
    fn values(&self, key: &Key) -> Vec<String>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_parse_as_they_print_in_any_case() {
        let named = NAMED.iter().map(|(name, _)| (*name).to_owned());
        let headers = HEADERS.iter().map(|h| format!("s3:{h}"));
        let tags = ["s3:ExistingObjectTag/Team", "s3:RequestObjectTag/a/b"].map(str::to_owned);
        let never = NEVER_SET.iter().map(|n| (*n).to_owned());
        for name in named.chain(headers).chain(tags).chain(never) {
            let key = Key::parse(&name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(key.to_string(), name);
            if !name.contains('/') {
                assert_eq!(Key::parse(&name.to_uppercase()), Some(key), "{name}");
            }
        }
        for bad in ["", "s3:", "aws:", "s3:x-amz-grant-nothing", "s3:ExistingObjectTag/", "prefix"]
        {
            assert_eq!(Key::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn parsing_a_key_never_panics(text: String) {
            let _ = Key::parse(&text);
            let _ = Key::parse(&format!("s3:ExistingObjectTag/{text}"));
        }
    }
}
