//! Copies that the gateway makes by itself (CopyObject, UploadPartCopy).

use super::call::Call;
use crate::client::Client;
use crate::error::Error;
use crate::url::S3Url;
use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use std::ops::Range;

/// The header's value is a URL path: everything but the unreserved characters and the slash is
/// encoded.
const SOURCE: AsciiSet =
    NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The answer to CopyObject as to UploadPartCopy, whatever its root is called.
#[derive(Deserialize)]
struct CopyResult {
    #[serde(rename = "ETag")]
    etag: Option<String>,
}

/// A piece of a copy that is made in parts.
#[derive(Debug)]
pub(crate) struct PartCopy<'a> {
    pub(crate) from: &'a S3Url,
    /// The state of the source to copy.
    pub(crate) etag: Option<&'a str>,
    pub(crate) range: Range<u64>,
    pub(crate) to: &'a S3Url,
    pub(crate) upload_id: &'a str,
    /// Counted from 1.
    pub(crate) number: usize,
}

impl Client {
    /// Copies an object of up to 5 GiB within the gateway, its metadata included; returns the
    /// entity tag of the copy.
    ///
    /// # Errors
    /// If there is no such object, or it may not be read or written.
    pub async fn copy(&self, from: &S3Url, to: &S3Url) -> Result<Option<String>, Error> {
        let answer = Call::new(Method::PUT, to.bucket(), to.key())
            .header("x-amz-copy-source", &source(from))?
            .send(self)
            .await?;
        let result: CopyResult = answer.xml()?;
        Ok(result.etag)
    }

    /// Copies a range into a part of an upload; returns the part's entity tag.
    pub(crate) async fn copy_part(&self, part: PartCopy<'_>) -> Result<String, Error> {
        let Range { start, end } = part.range;
        let mut call = Call::new(Method::PUT, part.to.bucket(), part.to.key())
            .query("partNumber", part.number.to_string())
            .query("uploadId", part.upload_id)
            .header("x-amz-copy-source", &source(part.from))?
            .header(
                "x-amz-copy-source-range",
                &format!("bytes={start}-{}", end.saturating_sub(1)),
            )?;
        if let Some(etag) = part.etag {
            call = call.header("x-amz-copy-source-if-match", etag)?;
        }
        let answer = call.send(self).await?;
        let result: CopyResult = answer.xml()?;
        result.etag.ok_or_else(|| answer.nonsense("it has no entity tag"))
    }
}

fn source(from: &S3Url) -> String {
    format!("/{}/{}", from.bucket(), utf8_percent_encode(from.key(), &SOURCE))
}
