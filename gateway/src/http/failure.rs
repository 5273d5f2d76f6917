//! Answers that are made here, before or instead of S3's.

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use s3s::Body;

/// Status, S3 error code, message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure(pub(crate) StatusCode, pub(crate) &'static str, pub(crate) &'static str);

impl Failure {
    /// The answer, as S3 words its errors.
    pub(crate) fn response(&self, request_id: &str) -> Response<Body> {
        let Self(status, code, message) = self;
        let xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code>\
             <Message>{message}</Message><RequestId>{request_id}</RequestId></Error>"
        );
        let mut response = Response::new(Body::from(xml));
        *response.status_mut() = *status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        response
    }
}
