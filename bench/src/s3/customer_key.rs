//! A key that goes with each request about an object, for the server to encrypt it with (SSE-C).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coffer_client::Secret;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use md5::{Digest, Md5};
use std::str::FromStr;

/// Bytes of a key: S3 knows AES-256 only.
const LEN: usize = 32;

/// A customer's key.
#[derive(Debug, Clone)]
pub struct CustomerKey {
    key: Secret,
    md5: String,
}

impl FromStr for CustomerKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match STANDARD.decode(text) {
            Ok(key) if key.len() == LEN => {
                Ok(Self { key: Secret::new(text), md5: STANDARD.encode(Md5::digest(&key)) })
            }
            Ok(key) => Err(format!("the key has {} bytes, not {LEN}", key.len())),
            Err(_) => Err(format!("not base64: `head -c {LEN} /dev/urandom | base64` makes a key")),
        }
    }
}

impl CustomerKey {
    /// Adds its headers to a request about an object, if it is of those that write or read content.
    pub(super) fn add(&self, method: &Method, query: &[(&str, &str)], headers: &mut HeaderMap) {
        let begins_upload = || query.iter().any(|(name, _)| *name == "uploads");
        let wanted = match *method {
            Method::PUT | Method::GET | Method::HEAD => true,
            Method::POST => begins_upload(),
            _ => false,
        };
        if !wanted {
            return;
        }
        let values = [
            ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
            ("x-amz-server-side-encryption-customer-key", self.key.expose()),
            ("x-amz-server-side-encryption-customer-key-md5", &self.md5),
        ];
        for (name, value) in values {
            // Base64 can stand in a header.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }
}
