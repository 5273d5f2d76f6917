//! Signature version 4, for requests that no SDK would sign.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use aws_lc_rs::{digest, hmac};
use coffer_client::{Credentials, Profile};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use time::OffsetDateTime;
use time::macros::format_description;

const QUERY: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PATH: AsciiSet = QUERY.remove(b'/');

pub(crate) const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

/// Whose key, and for which server.
#[derive(Clone)]
pub(crate) struct Signer {
    pub(crate) host: String,
    id: String,
    secret: String,
}

/// A request's head. Headers in `unsigned` are sent all the same.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) method: &'static str,
    /// As it is sent.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) signed: Vec<(String, String)>,
    pub(crate) unsigned: Vec<(String, String)>,
    /// The value of x-amz-content-sha256.
    pub(crate) payload: String,
    /// Seconds from now to the time of signing.
    pub(crate) offset: i64,
}

impl Head {
    pub(crate) fn new(method: &'static str, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Self {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            signed: Vec::new(),
            unsigned: Vec::new(),
            payload: UNSIGNED.to_owned(),
            offset: 0,
        }
    }

    pub(crate) fn signed(mut self, name: &str, value: impl Into<String>) -> Self {
        self.signed.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn unsigned(mut self, name: &str, value: impl Into<String>) -> Self {
        self.unsigned.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn payload(mut self, payload: impl Into<String>) -> Self {
        self.payload = payload.into();
        self
    }

    pub(crate) fn at(mut self, offset: i64) -> Self {
        self.offset = offset;
        self
    }

    fn stamp(&self) -> String {
        let format = format_description!("[year][month][day]T[hour][minute][second]Z");
        (OffsetDateTime::now_utc() + time::Duration::seconds(self.offset)).format(format).unwrap()
    }
}

/// What a signature is made of, for the chunks that follow it.
pub(crate) struct Seed {
    stamp: String,
    key: hmac::Key,
    previous: String,
}

impl Signer {
    pub(crate) fn new(profile: &Profile) -> Self {
        let Credentials::AccessKey { id, secret, .. } = &profile.credentials else {
            panic!("the profile has no key");
        };
        let endpoint = profile.endpoint.to_string();
        let host = endpoint.split_once("://").unwrap().1.trim_end_matches('/').to_owned();
        Self { host, id: id.clone(), secret: secret.expose().to_owned() }
    }

    /// The head as HTTP/1.1 sends it, without its last empty line and without the body's length.
    pub(crate) fn head(&self, head: &Head) -> (Vec<u8>, Seed) {
        let stamp = head.stamp();
        let mut signed = vec![
            ("host".to_owned(), self.host.clone()),
            ("x-amz-content-sha256".to_owned(), head.payload.clone()),
            ("x-amz-date".to_owned(), stamp.clone()),
        ];
        signed.extend(head.signed.iter().cloned());
        let sent = [signed.as_slice(), &head.unsigned].concat();
        signed.sort();
        let names: Vec<&str> = signed.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(";");
        let (signature, key) = self.sign(head, &stamp, &head.query, &signed, &names, &head.payload);
        let scope = scope(&stamp);
        let query = if head.query.is_empty() { String::new() } else { format!("?{}", head.query) };
        let mut text = format!("{} {}{query} HTTP/1.1\r\n", head.method, head.path);
        for (name, value) in sent {
            text += &format!("{name}: {value}\r\n");
        }
        text += &format!(
            "authorization: AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, \
             Signature={signature}\r\n",
            self.id
        );
        (text.into_bytes(), Seed { stamp, key, previous: signature })
    }

    /// A whole request.
    pub(crate) fn request(&self, head: &Head, body: &[u8]) -> Vec<u8> {
        let (mut bytes, _) = self.head(head);
        bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    /// The target of a presigned URL, with these parameters beside or instead of the usual ones.
    pub(crate) fn presign(&self, head: &Head, parameters: &[(&str, &str)]) -> String {
        let stamp = head.stamp();
        let credential = format!("{}/{}", self.id, scope(&stamp));
        let mut all = vec![
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", &credential),
            ("X-Amz-Date", &stamp),
            ("X-Amz-Expires", "60"),
            ("X-Amz-SignedHeaders", "host"),
        ];
        for (name, value) in parameters {
            all.retain(|(n, _)| n != name);
            if !value.is_empty() {
                all.push((name, value));
            }
        }
        let query: Vec<String> = all
            .iter()
            .map(|(n, v)| format!("{n}={}", percent_encode(v.as_bytes(), &QUERY)))
            .collect();
        let query = query.join("&");
        let host = [("host".to_owned(), self.host.clone())];
        let (signature, _) = self.sign(head, &stamp, &query, &host, "host", UNSIGNED);
        format!("{}?{query}&X-Amz-Signature={signature}", head.path)
    }

    fn sign(
        &self,
        head: &Head,
        stamp: &str,
        query: &str,
        headers: &[(String, String)],
        names: &str,
        payload: &str,
    ) -> (String, hmac::Key) {
        let decoded: Vec<u8> = percent_decode_str(&head.path).collect();
        let path = percent_encode(&decoded, &PATH).to_string();
        let mut pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes())
            .map(|(n, v)| {
                let encode = |t: &str| percent_encode(t.as_bytes(), &QUERY).to_string();
                (encode(&n), encode(&v))
            })
            .collect();
        pairs.sort();
        let pairs: Vec<String> = pairs.into_iter().map(|(n, v)| format!("{n}={v}")).collect();
        let headers: String = headers.iter().map(|(n, v)| format!("{n}:{}\n", v.trim())).collect();
        let canonical =
            format!("{}\n{path}\n{}\n{headers}\n{names}\n{payload}", head.method, pairs.join("&"));
        let key = self.key(&stamp[..8]);
        let hash = sha256(canonical.as_bytes());
        let text = format!("AWS4-HMAC-SHA256\n{stamp}\n{}\n{hash}", scope(stamp));
        (mac(&key, &text), key)
    }

    fn key(&self, day: &str) -> hmac::Key {
        let new = |bytes: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, bytes);
        let first = new(format!("AWS4{}", self.secret).as_bytes());
        [day, "us-east-1", "s3", "aws4_request"]
            .iter()
            .fold(first, |key, text| new(hmac::sign(&key, text.as_bytes()).as_ref()))
    }
}

impl Seed {
    /// The signature of the next chunk.
    pub(crate) fn chunk(&mut self, data: &[u8]) -> String {
        let text = format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n{}\n{}\n{}\n{}\n{}",
            self.stamp,
            scope(&self.stamp),
            self.previous,
            sha256(b""),
            sha256(data)
        );
        self.previous = mac(&self.key, &text);
        self.previous.clone()
    }

    /// The signature of the trailers, each of which ends with a line feed.
    pub(crate) fn trailers(&self, trailers: &str) -> String {
        let text = format!(
            "AWS4-HMAC-SHA256-TRAILER\n{}\n{}\n{}\n{}",
            self.stamp,
            scope(&self.stamp),
            self.previous,
            sha256(trailers.as_bytes())
        );
        mac(&self.key, &text)
    }
}

fn scope(stamp: &str) -> String {
    format!("{}/us-east-1/s3/aws4_request", &stamp[..8])
}

fn mac(key: &hmac::Key, text: &str) -> String {
    hex::encode(hmac::sign(key, text.as_bytes()))
}
