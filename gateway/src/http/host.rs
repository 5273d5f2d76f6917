//! Virtual-host style: buckets that are named by the host of a request, `BUCKET.DOMAIN`.
//!
//! Under each configured domain, what stands before it names a bucket, and the whole path is a key.
//! The domain itself and all other hosts are addressed in path style.

use coffer_core::ids::BucketName;
use http::Request;
use http::header::HOST;
use s3s::S3Result;
use s3s::host::{S3Host, VirtualHost};
use std::sync::Arc;

/// The domains under which hosts name buckets. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Domains(Arc<[String]>);

/// The bucket that a request's host names; in the extensions of requests in virtual-host style.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostBucket(pub(crate) String);

/// Why a domain can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a domain: write its name alone, such as s3.example.com")]
pub struct DomainError(String);

impl Domains {
    /// Checks the domains.
    ///
    /// # Errors
    /// [`DomainError`] for a name that no host can have.
    pub fn new<S: AsRef<str>>(names: &[S]) -> Result<Self, DomainError> {
        let mut domains = Vec::new();
        for name in names.iter().map(AsRef::as_ref) {
            if !is_domain(name) {
                return Err(DomainError(name.to_owned()));
            }
            domains.push(name.to_ascii_lowercase());
        }
        // Of domains that end alike, the longest counts.
        domains.sort_by_key(|domain| std::cmp::Reverse(domain.len()));
        Ok(Self(domains.into()))
    }

    /// The bucket that a host names, with or without a port.
    pub fn bucket(&self, host: &str) -> Option<String> {
        self.split(host).and_then(|(_, bucket)| bucket)
    }

    /// Notes the bucket that the host of a request names, for all who look at it later.
    pub(crate) fn note<B>(&self, request: &mut Request<B>) {
        if self.0.is_empty() {
            return;
        }
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let host = host.or_else(|| request.uri().authority().map(|a| a.as_str()));
        if let Some(bucket) = host.and_then(|host| self.bucket(host)) {
            request.extensions_mut().insert(HostBucket(bucket));
        }
    }

    /// The domain that a host belongs to, and what stands before it.
    fn split(&self, host: &str) -> Option<(&str, Option<String>)> {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase();
        self.0.iter().find_map(|domain| match name.strip_suffix(domain.as_str())? {
            "" => Some((domain.as_str(), None)),
            rest => Some((domain.as_str(), Some(rest.strip_suffix('.')?.to_owned()))),
        })
    }
}

impl S3Host for Domains {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        Ok(match self.split(host) {
            Some((domain, Some(bucket))) => VirtualHost::new(domain).with_bucket(bucket),
            Some((domain, None)) => VirtualHost::new(domain),
            None => VirtualHost::new(host),
        })
    }
}

/// The bucket that a request names: by its host, or else by the beginning of its path.
pub(crate) fn bucket_of<B>(request: &Request<B>) -> Option<BucketName> {
    if let Some(HostBucket(name)) = request.extensions().get() {
        return BucketName::new(name.clone()).ok();
    }
    let first = request.uri().path().strip_prefix('/')?.split('/').next()?;
    BucketName::new(percent_encoding::percent_decode_str(first).decode_utf8().ok()?).ok()
}

fn is_domain(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    name.len() <= 253 && name.split('.').all(label) && name.parse::<std::net::Ipv4Addr>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_name_buckets_under_the_domains_alone() {
        let domains = Domains::new(&["example.com", "S3.example.com"]).unwrap();
        for (host, bucket) in [
            ("data.s3.example.com", Some("data")),
            ("Data.S3.Example.COM:9000", Some("data")),
            ("a.b.s3.example.com", Some("a.b")),
            ("data.example.com", Some("data")),
            ("s3.example.com", None),
            ("s3.example.com:9000", None),
            ("datas3.example.org", None),
            ("xexample.com", None),
            ("localhost", None),
            ("127.0.0.1:9000", None),
            ("[::1]:9000", None),
            (".example.com", Some("")),
            ("", None),
        ] {
            assert_eq!(domains.bucket(host).as_deref(), bucket, "{host}");
            let parsed = domains.parse_host_header(host).unwrap();
            assert_eq!(parsed.bucket(), bucket, "{host}");
        }
        assert_eq!(Domains::default().bucket("data.s3.example.com"), None);
    }

    #[test]
    fn domains_are_names_of_hosts() {
        for bad in ["", "a..b", ".a", "a.", "*.a", "a:9000", "-a.b", "https://a", "10.0.0.1"] {
            assert!(Domains::new(&[bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn requests_name_buckets_by_host_or_path() {
        let domains = Domains::new(&["s3.local"]).unwrap();
        for (host, path, expected) in [
            ("x", "/data", Some("data")),
            ("x", "/data/a/b", Some("data")),
            ("x", "/d%61ta/x", Some("data")),
            ("x", "/", None),
            ("x", "/.coffer/v1/tokens", None),
            ("x", "/%ff/x", None),
            ("logs.s3.local", "/data", Some("logs")),
            ("logs.s3.local", "/", Some("logs")),
            ("NO_BUCKET.s3.local", "/data", None),
            ("s3.local", "/data", Some("data")),
        ] {
            let mut request = Request::builder().uri(path).header(HOST, host).body(()).unwrap();
            domains.note(&mut request);
            let found = bucket_of(&request);
            assert_eq!(found.as_ref().map(BucketName::as_str), expected, "{host} {path}");
        }
    }
}
