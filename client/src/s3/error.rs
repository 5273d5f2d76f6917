//! The error answers of S3.

use crate::error::ErrorKind;
use serde::Deserialize;
use std::fmt;

/// An error the gateway answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Error {
    /// HTTP status.
    pub status: u16,
    /// S3's error code.
    pub code: S3Code,
    /// The gateway's explanation; may be empty.
    pub message: String,
    /// The bucket or key it is about, if the gateway said so.
    pub resource: Option<String>,
    /// Id under which the gateway logged the request.
    pub request_id: Option<String>,
}

/// S3's error codes, as far as the client treats them differently.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are S3's own")]
pub enum S3Code {
    AccessDenied,
    BucketAlreadyExists,
    BucketAlreadyOwnedByYou,
    BucketNotEmpty,
    ExpiredToken,
    InternalError,
    InvalidAccessKeyId,
    InvalidRange,
    InvalidToken,
    NoSuchBucket,
    NoSuchKey,
    NoSuchUpload,
    NotImplemented,
    PreconditionFailed,
    QuotaExceeded,
    RequestTimeTooSkewed,
    ServiceUnavailable,
    SignatureDoesNotMatch,
    SlowDown,
    /// Any other code, as sent.
    Other(String),
}

/// Codes with their names; the one place that spells them.
const NAMES: [(&str, S3Code); 19] = [
    ("AccessDenied", S3Code::AccessDenied),
    ("BucketAlreadyExists", S3Code::BucketAlreadyExists),
    ("BucketAlreadyOwnedByYou", S3Code::BucketAlreadyOwnedByYou),
    ("BucketNotEmpty", S3Code::BucketNotEmpty),
    ("ExpiredToken", S3Code::ExpiredToken),
    ("InternalError", S3Code::InternalError),
    ("InvalidAccessKeyId", S3Code::InvalidAccessKeyId),
    ("InvalidRange", S3Code::InvalidRange),
    ("InvalidToken", S3Code::InvalidToken),
    ("NoSuchBucket", S3Code::NoSuchBucket),
    ("NoSuchKey", S3Code::NoSuchKey),
    ("NoSuchUpload", S3Code::NoSuchUpload),
    ("NotImplemented", S3Code::NotImplemented),
    ("PreconditionFailed", S3Code::PreconditionFailed),
    ("QuotaExceeded", S3Code::QuotaExceeded),
    ("RequestTimeTooSkewed", S3Code::RequestTimeTooSkewed),
    ("ServiceUnavailable", S3Code::ServiceUnavailable),
    ("SignatureDoesNotMatch", S3Code::SignatureDoesNotMatch),
    ("SlowDown", S3Code::SlowDown),
];

impl From<&str> for S3Code {
    fn from(name: &str) -> Self {
        NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map_or_else(|| Self::Other(name.to_owned()), |(_, code)| code.clone())
    }
}

impl fmt::Display for S3Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(name) => f.write_str(name),
            known => f.write_str(
                NAMES.iter().find(|(_, code)| code == known).map_or("", |(name, _)| name),
            ),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorBody {
    code: String,
    #[serde(default)]
    message: String,
    resource: Option<String>,
    key: Option<String>,
    bucket_name: Option<String>,
    request_id: Option<String>,
}

impl S3Error {
    /// An error of which only the status is known, as in an answer to HEAD.
    pub(crate) fn bare(status: u16, code: S3Code) -> Self {
        let message = match status {
            404 => "there is no such object, or no such bucket".to_owned(),
            _ => String::new(),
        };
        Self { status, code, message, resource: None, request_id: None }
    }

    /// The error for a key or prefix that a listing does not have.
    pub fn no_such_key(message: &str) -> Self {
        Self { message: message.to_owned(), ..Self::bare(404, S3Code::NoSuchKey) }
    }

    /// The error for a bucket that does not exist.
    pub fn no_such_bucket() -> Self {
        let message = "there is no such bucket".to_owned();
        Self { message, ..Self::bare(404, S3Code::NoSuchBucket) }
    }

    /// The error in an answer's body; of the status alone if the body does not tell.
    pub(crate) fn from_answer(status: u16, body: &str, request_id: Option<String>) -> Self {
        let mut error = Self::find_in_text(status, body).unwrap_or_else(|| {
            let code = match status {
                401 | 403 => S3Code::AccessDenied,
                404 => S3Code::Other("NotFound".to_owned()),
                412 => S3Code::PreconditionFailed,
                416 => S3Code::InvalidRange,
                501 => S3Code::NotImplemented,
                503 => S3Code::ServiceUnavailable,
                500.. => S3Code::InternalError,
                _ => S3Code::Other(format!("HTTP {status}")),
            };
            Self::bare(status, code)
        });
        error.request_id = error.request_id.or(request_id);
        error
    }

    /// Finds an `<Error>` document within `text`.
    pub(crate) fn find_in_text(status: u16, text: &str) -> Option<Self> {
        const END: &str = "</Error>";
        let document = &text[text.find("<Error>").or_else(|| text.find("<Error "))?..];
        let document = &document[..document.find(END)? + END.len()];
        let body: ErrorBody = quick_xml::de::from_str(document).ok()?;
        Some(Self {
            status: if status == 0 { status_in(text) } else { status },
            code: body.code.as_str().into(),
            message: body.message,
            resource: body.resource.or(body.key).or(body.bucket_name),
            request_id: body.request_id.filter(|id| !id.is_empty()),
        })
    }

    /// What the error means to the caller.
    pub fn kind(&self) -> ErrorKind {
        match (&self.code, self.status) {
            (S3Code::NoSuchBucket | S3Code::NoSuchKey | S3Code::NoSuchUpload, _) | (_, 404) => {
                ErrorKind::NotFound
            }
            (S3Code::RequestTimeTooSkewed, _) => ErrorKind::Invalid,
            // Sent as 403, but it is not about who asks.
            (S3Code::QuotaExceeded, _) => ErrorKind::Conflict,
            (_, 401 | 403) => ErrorKind::AccessDenied,
            (
                S3Code::BucketNotEmpty
                | S3Code::BucketAlreadyExists
                | S3Code::BucketAlreadyOwnedByYou
                | S3Code::PreconditionFailed,
                _,
            )
            | (_, 409 | 412) => ErrorKind::Conflict,
            (S3Code::NotImplemented, _) | (_, 501) => ErrorKind::Invalid,
            (S3Code::SlowDown | S3Code::ServiceUnavailable | S3Code::InternalError, _)
            | (_, 429 | 500..) => ErrorKind::Unavailable,
            (S3Code::InvalidToken | S3Code::ExpiredToken | S3Code::InvalidAccessKeyId, _) => {
                ErrorKind::AccessDenied
            }
            _ => ErrorKind::Invalid,
        }
    }

    /// What the user can do about it, if we know.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match &self.code {
            S3Code::AccessDenied => {
                "the key or token in the profile does not allow this; a token is limited to its \
                 bucket, prefix, verbs and time"
            }
            S3Code::ExpiredToken => "make a new token with `coffer token create`",
            S3Code::InvalidToken => "check `token` or `token_file` in the profile",
            S3Code::InvalidAccessKeyId => {
                "check `access_key` in the profile and that `endpoint` is the gateway it is from"
            }
            S3Code::SignatureDoesNotMatch => "check `secret_key` in the profile",
            S3Code::RequestTimeTooSkewed => {
                "set this machine's clock: signatures hold for minutes only"
            }
            S3Code::NoSuchBucket => "list the buckets with `coffer ls`, make one with `coffer mb`",
            S3Code::BucketNotEmpty => "use `coffer rb --force` to delete its objects as well",
            S3Code::QuotaExceeded => {
                "delete what is not needed, noncurrent versions too, or have an administrator raise \
                 the quota: `coffer quota show` and `coffer quota set`"
            }
            S3Code::ServiceUnavailable => {
                "too few storage nodes answer the gateway; check them and try again"
            }
            S3Code::SlowDown => "the gateway is busy; try again with fewer parallel transfers",
            _ => return None,
        })
    }
}

/// The status in `object_store`'s wording of an error, or 500.
fn status_in(text: &str) -> u16 {
    const BEFORE: &str = "status code: ";
    text.find(BEFORE).and_then(|at| text[at + BEFORE.len()..].get(..3)?.parse().ok()).unwrap_or(500)
}

impl fmt::Display for S3Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        if let Some(resource) = &self.resource {
            write!(f, " [{resource}]")?;
        }
        match &self.request_id {
            Some(id) => write!(f, " (request {id})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for S3Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_an_error_document_within_other_text() {
        let text = "Error performing PUT https://h/b/k in 1ms - Server returned non-2xx status \
            code: 503 Service Unavailable: <?xml version=\"1.0\"?><Error><Code>SlowDown</Code>\
            <Message>Reduce &lt;rate&gt;</Message><RequestId>42</RequestId></Error>";
        let error = S3Error::find_in_text(0, text).unwrap();
        assert_eq!(error.code, S3Code::SlowDown);
        assert_eq!(error.status, 503);
        assert_eq!(error.message, "Reduce <rate>");
        assert_eq!(error.request_id.as_deref(), Some("42"));
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }

    #[test]
    fn falls_back_on_the_status() {
        for (status, kind) in [
            (403, ErrorKind::AccessDenied),
            (404, ErrorKind::NotFound),
            (409, ErrorKind::Conflict),
            (412, ErrorKind::Conflict),
            (400, ErrorKind::Invalid),
            (500, ErrorKind::Unavailable),
            (501, ErrorKind::Invalid),
            (503, ErrorKind::Unavailable),
        ] {
            let error = S3Error::from_answer(status, "<html>what", Some("id-1".to_owned()));
            assert_eq!(
                (error.kind(), error.request_id.as_deref()),
                (kind, Some("id-1")),
                "{status}"
            );
        }
    }

    #[test]
    fn every_code_is_spelled_once() {
        for (name, code) in &NAMES {
            assert_eq!(S3Code::from(*name), *code);
            assert_eq!(code.to_string(), *name);
        }
        assert_eq!(S3Code::from("Odd").to_string(), "Odd");
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_answers_never_panic(text: String, status: u16) {
            let _ = S3Error::from_answer(status, &text, None).to_string();
        }

        #[test]
        fn answers_that_are_nearly_errors_never_panic(
            text in "(<Error>|<Error |</Error>|<Code>|</Code>|<Message>|&lt;|&#x1;|&|é|x| ){0,20}",
            status: u16,
        ) {
            let error = S3Error::from_answer(status, &text, None);
            proptest::prop_assert!(error.to_string().len() < 1024 + text.len());
        }
    }
}
