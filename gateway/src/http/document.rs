//! Bodies that are not an object's bytes: XML that `s3s` reads into memory before it looks at it.
//!
//! It does not compare them with Content-MD5 or checksums, so that a list of objects to delete that
//! changed on its way would be obeyed, and it answers 500 to one that is too long.

use super::body::Fault;
use super::failure::Failure;
use super::forms::Forms;
use crate::engine::write::Observer;
use crate::s3::checksums::{Hasher, Promised};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use md5::{Digest, Md5};
use s3s::{Body, S3ErrorCode, StdError};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The most bytes of a document: 10,000 parts with a checksum each, or 1,000 keys of 1 KiB, or
/// 1,000 lifecycle rules.
pub(crate) const MAX_DOCUMENT: usize = 4 * 1024 * 1024;

/// What a PUT with one of these in its query sets, instead of an object's bytes.
const SETTINGS: [&str; 21] = [
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "retention",
    "tagging",
    "versioning",
];

const TOO_LONG: Failure =
    Failure(StatusCode::BAD_REQUEST, "MaxMessageLengthExceeded", "Your request was too big.");
const BAD_DIGEST: Failure = Failure(
    StatusCode::BAD_REQUEST,
    "BadDigest",
    "The Content-MD5 or checksum value that you specified did not match what was received.",
);
const INVALID_DIGEST: Failure = Failure(
    StatusCode::BAD_REQUEST,
    "InvalidDigest",
    "The Content-MD5 or checksum value that you specified is not valid.",
);

/// A request whose body, if it is a document, fails when it is too long or not what was promised.
pub(super) fn guard(request: Request<Body>, fault: &Fault) -> Result<Request<Body>, Failure> {
    if !is_document(&request) {
        return Ok(request);
    }
    // What is framed is checked chunk by chunk, or by its trailer.
    let framed = super::framing::announced(request.headers()).is_some();
    let digest = if framed { None } else { Some(Expected::from_request(&request)?) };
    Ok(request.map(|body| {
        if body.is_end_stream() {
            return body;
        }
        Body::http_body_unsync(Document { body, length: 0, digest, fault: fault.clone() })
    }))
}

fn is_document(request: &Request<Body>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    match *request.method() {
        Method::POST => Forms::boundary(request).is_none(),
        Method::PUT => {
            form_urlencoded::parse(query.as_bytes()).any(|(name, _)| SETTINGS.contains(&&*name))
        }
        _ => false,
    }
}

/// What the head promises of the body.
struct Expected {
    promised: Promised,
    md5: Md5,
    hasher: Hasher,
}

impl Expected {
    fn from_request(request: &Request<Body>) -> Result<Self, Failure> {
        let headers = request.headers();
        // A completion's checksums are those of the object.
        let completes = request.uri().query().is_some_and(|q| q.contains("uploadId="));
        let promised = if completes {
            Promised::md5_from_headers(headers)
        } else {
            Promised::from_headers(headers, None)
        };
        let promised = promised.map_err(|_| INVALID_DIGEST)?;
        let hasher = promised.hasher();
        Ok(Self { promised, md5: Md5::new(), hasher })
    }

    fn update(&mut self, data: &[u8]) {
        self.md5.update(data);
        self.hasher.update(data);
    }

    fn verify(self) -> Result<(), Failure> {
        let outcome = self.promised.verify(self.md5.finalize().into(), self.hasher);
        outcome.map(|_| ()).map_err(|error| match error.code() {
            S3ErrorCode::BadDigest => BAD_DIGEST,
            _ => INVALID_DIGEST,
        })
    }
}

/// A document on its way.
struct Document {
    body: Body,
    length: usize,
    digest: Option<Expected>,
    fault: Fault,
}

impl HttpBody for Document {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = &mut *self;
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        let found = match frame.as_ref().map(|f| f.as_ref().ok().and_then(Frame::data_ref)) {
            Some(Some(data)) => {
                this.length = this.length.saturating_add(data.len());
                if let Some(digest) = &mut this.digest {
                    digest.update(data);
                }
                if this.length > MAX_DOCUMENT { Err(TOO_LONG) } else { Ok(()) }
            }
            Some(None) => Ok(()),
            None => this.digest.take().map_or(Ok(()), Expected::verify),
        };
        match found {
            Ok(()) => Poll::Ready(frame),
            Err(failure) => {
                this.body = Body::empty();
                this.digest = None;
                Poll::Ready(Some(Err(this.fault.raise(failure))))
            }
        }
    }

    /// The end is only known when it was seen, and compared.
    fn is_end_stream(&self) -> bool {
        false
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_told_from_objects() {
        let is = |method: &str, uri: &str, form: bool| {
            let mut request = Request::builder().method(method).uri(uri);
            if form {
                request = request.header("content-type", "multipart/form-data; boundary=x");
            }
            is_document(&request.body(Body::empty()).unwrap())
        };
        assert!(is("POST", "/b?delete", false) && is("POST", "/b/k?uploadId=1", false));
        assert!(is("PUT", "/b?policy", false) && is("PUT", "/b/k?tagging&versionId=1", false));
        assert!(!is("POST", "/b", true));
        assert!(!is("PUT", "/b/k", false) && !is("PUT", "/b/k?partNumber=1&uploadId=2", false));
        assert!(!is("PUT", "/b/policy?x-id=PutObject", false) && !is("GET", "/b?policy", false));
    }
}
