//! What a bucket's policy may ask of a request.

use super::identity;
use crate::http::connection::Connection;
use coffer_core::bucket::policy::{Key, user_arn};
use coffer_core::bucket::{Tags, policy};
use http::{Extensions, HeaderMap, Uri};
use s3s::dto::CopySource;
use std::time::{SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

/// A request that is to be judged: what has come of it, whether its body was read or not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) headers: &'a HeaderMap,
    pub(crate) uri: &'a Uri,
    pub(crate) extensions: &'a Extensions,
}

/// A request with the tags that are at stake.
pub(super) struct Facts<'a> {
    pub(super) asking: &'a Asking<'a>,
    /// The key that is asked for, where a listing is judged that the request does not name.
    pub(super) asked: Option<&'a str>,
    /// The tags that the object has.
    pub(super) existing: &'a Tags,
    /// The tags that the request's body sets; otherwise those of its header count.
    pub(super) from_body: Option<&'a Tags>,
    pub(super) now: SystemTime,
}

impl Asking<'_> {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The value of a query parameter, decoded.
    pub(super) fn query(&self, name: &str) -> Option<String> {
        form_urlencoded::parse(self.uri.query().unwrap_or_default().as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }

    /// The version that the request names.
    pub(super) fn version(&self) -> Option<String> {
        self.query("versionId").filter(|v| !v.is_empty())
    }

    fn connection(&self) -> Option<&Connection> {
        self.extensions.get::<Connection>()
    }

    fn is_presigned(&self) -> bool {
        self.query("X-Amz-Signature").is_some()
    }

    fn signed_at(&self) -> Option<OffsetDateTime> {
        let text = match self.header("x-amz-date") {
            Some(text) => text.to_owned(),
            None => self.query("X-Amz-Date")?,
        };
        let format = format_description!("[year][month][day]T[hour][minute][second]Z");
        time::PrimitiveDateTime::parse(&text, format).ok().map(time::PrimitiveDateTime::assume_utc)
    }
}

impl Facts<'_> {
    fn request_tags(&self) -> Tags {
        match self.from_body {
            Some(tags) => tags.clone(),
            None => {
                let header = self.asking.header("x-amz-tagging").unwrap_or_default();
                // A header that is wrong is refused later, whatever the policy says.
                Tags::from_query(coffer_core::bucket::TagLimit::Object, header).unwrap_or_default()
            }
        }
    }

    fn value(&self, key: &Key) -> Option<String> {
        let asking = self.asking;
        let header = |name: &str| asking.header(name).map(str::to_owned);
        let caller = identity::caller(asking.extensions);
        // Tokens are not signatures, and who has none is not authenticated.
        let signed = caller.is_some_and(|c| c.token_id().is_none());
        let now = || self.now.duration_since(UNIX_EPOCH).unwrap_or_default();
        match key {
            Key::SourceIp => asking.connection().map(|c| c.peer.to_canonical().to_string()),
            // There is no other way in.
            Key::SecureTransport => Some("true".to_owned()),
            Key::TlsVersion => asking.connection().map(|c| c.tls.to_owned()),
            Key::Referer => header("referer"),
            Key::UserAgent => header("user-agent"),
            Key::CurrentTime => OffsetDateTime::from(self.now).format(&Rfc3339).ok(),
            Key::EpochTime => Some(now().as_secs().to_string()),
            Key::Username => caller.map(|c| c.name().to_owned()),
            Key::PrincipalArn => caller.map(|c| user_arn(c.name())),
            Key::Prefix => self.asked.map(str::to_owned).or_else(|| asking.query("prefix")),
            Key::Delimiter => asking.query("delimiter"),
            Key::MaxKeys => asking.query("max-keys"),
            Key::VersionId => asking.version(),
            Key::SignatureVersion => signed.then(|| "AWS4-HMAC-SHA256".to_owned()),
            Key::AuthType if !signed => None,
            Key::AuthType if asking.is_presigned() => Some("REST-QUERY-STRING".to_owned()),
            Key::AuthType if asking.headers.contains_key("authorization") => {
                Some("REST-HEADER".to_owned())
            }
            Key::AuthType => Some("POST".to_owned()),
            Key::SignatureAge => {
                let age = OffsetDateTime::from(self.now) - asking.signed_at().filter(|_| signed)?;
                Some(age.whole_milliseconds().max(0).to_string())
            }
            Key::Header(name) if name == "x-amz-copy-source" => copy_source(&header(name)?),
            Key::Header(name) => header(name),
            Key::ExistingTag(tag) => self.existing.get(tag).map(str::to_owned),
            Key::RequestTag(tag) => self.request_tags().get(tag).map(str::to_owned),
            Key::LockMode => header("x-amz-object-lock-mode"),
            Key::LockRetainUntil => header("x-amz-object-lock-retain-until-date"),
            Key::LockRemainingDays => {
                let until = header("x-amz-object-lock-retain-until-date")?;
                let until = OffsetDateTime::parse(&until, &Rfc3339).ok()?;
                Some((until - OffsetDateTime::from(self.now)).whole_days().to_string())
            }
            Key::LegalHold => header("x-amz-object-lock-legal-hold"),
            Key::RequestTagKeys | Key::Never(_) => None,
        }
    }
}

/// The source of a copy as `bucket/key`, read as the copy itself reads it: written encoded or not,
/// with or without a slash in front, with or without a version.
fn copy_source(header: &str) -> Option<String> {
    match CopySource::parse(header).ok()? {
        CopySource::Bucket { bucket, key, .. } => Some(format!("{bucket}/{key}")),
        _ => None,
    }
}

impl policy::Context for Facts<'_> {
    fn values(&self, key: &Key) -> Vec<String> {
        match key {
            Key::RequestTagKeys => {
                self.request_tags().iter().map(|(key, _)| key.to_owned()).collect()
            }
            key => self.value(key).into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn conditions_see_the_request_as_it_came() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("referer", "https://example.org/"),
            ("x-amz-acl", "private"),
            ("x-amz-copy-source", "/abc/%62%2Fc?versionId=x"),
            ("x-amz-tagging", "team=red&x=y"),
            ("x-amz-object-lock-retain-until-date", "1970-01-11T00:00:00Z"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        let uri: Uri = "/data?list-type=2&prefix=a%2Fb+c&max-keys=7&versionId=".parse().unwrap();
        let mut extensions = Extensions::new();
        extensions.insert(Connection { peer: "::ffff:192.0.2.1".parse().unwrap(), tls: "1.3" });
        let asking = Asking { headers: &headers, uri: &uri, extensions: &extensions };
        let existing = Tags::from_query(coffer_core::bucket::TagLimit::Object, "a=b").unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(100);
        let facts =
            Facts { asking: &asking, asked: None, existing: &existing, from_body: None, now };
        for (key, expected) in [
            ("aws:SourceIp", "192.0.2.1"),
            ("aws:SecureTransport", "true"),
            ("s3:TlsVersion", "1.3"),
            ("aws:Referer", "https://example.org/"),
            ("aws:UserAgent", ""),
            ("aws:CurrentTime", "1970-01-01T00:01:40Z"),
            ("aws:EpochTime", "100"),
            ("aws:username", ""),
            ("s3:prefix", "a/b c"),
            ("s3:delimiter", ""),
            ("s3:max-keys", "7"),
            ("s3:VersionId", ""),
            ("s3:signatureversion", ""),
            ("s3:authType", ""),
            ("s3:x-amz-acl", "private"),
            ("s3:x-amz-copy-source", "abc/b/c"),
            ("s3:x-amz-metadata-directive", ""),
            ("s3:ExistingObjectTag/a", "b"),
            ("s3:ExistingObjectTag/b", ""),
            ("s3:RequestObjectTag/team", "red"),
            ("s3:RequestObjectTagKeys", "team,x"),
            ("s3:object-lock-remaining-retention-days", "9"),
        ] {
            let values = policy::Context::values(&facts, &Key::parse(key).unwrap());
            assert_eq!(values.join(","), expected, "{key}");
        }
    }
}
