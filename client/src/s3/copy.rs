//! Copies that the gateway makes by itself (CopyObject).

use super::call::Call;
use crate::client::Client;
use crate::error::Error;
use crate::url::S3Url;
use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

/// The header's value is a URL path: everything but the unreserved characters and the slash is
/// encoded.
const SOURCE: AsciiSet =
    NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The largest object that CopyObject takes, 5 GiB.
pub(crate) const COPY_LIMIT: u64 = 5 * 1024 * 1024 * 1024;

#[derive(Deserialize)]
struct CopyObjectResult {
    #[serde(rename = "ETag")]
    etag: Option<String>,
}

impl Client {
    /// Copies an object of up to 5 GiB within the gateway, its metadata included; returns the
    /// entity tag of the copy.
    ///
    /// # Errors
    /// If there is no such object, or it may not be read or written.
    pub async fn copy(&self, from: &S3Url, to: &S3Url) -> Result<Option<String>, Error> {
        let source = format!("/{}/{}", from.bucket(), utf8_percent_encode(from.key(), &SOURCE));
        let answer = Call::new(Method::PUT, to.bucket(), to.key())
            .header("x-amz-copy-source", &source)?
            .send(self)
            .await?;
        let result: CopyObjectResult = answer.xml()?;
        Ok(result.etag)
    }
}
