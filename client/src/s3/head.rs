//! What is known about an object without reading it.

use super::call::Call;
use crate::client::Client;
use crate::error::Error;
use crate::url::S3Url;
use http::Method;
use std::collections::BTreeMap;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

const METADATA: &str = "x-amz-meta-";

/// An object's properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Size in bytes.
    pub size: u64,
    /// Entity tag, with quotes as sent.
    pub etag: Option<String>,
    /// When it was last written.
    pub modified: Option<OffsetDateTime>,
    /// Media type.
    pub content_type: Option<String>,
    /// Version, in buckets that keep versions.
    pub version: Option<String>,
    /// The writer's own metadata, names without their prefix.
    pub metadata: BTreeMap<String, String>,
}

impl Client {
    /// Asks for an object's properties.
    ///
    /// # Errors
    /// Of kind [`crate::ErrorKind::NotFound`] if there is no such object (or bucket: the answer
    /// does not tell).
    pub async fn head(&self, object: &S3Url) -> Result<ObjectInfo, Error> {
        let answer = Call::new(Method::HEAD, object.bucket(), object.key()).send(self).await?;
        let size = answer.header("content-length").and_then(|length| length.parse().ok());
        let text = |name| answer.header(name).map(str::to_owned);
        // HTTP dates end in GMT, which RFC 2822 readers know as a zone of old.
        let modified = answer
            .header("last-modified")
            .and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok());
        let metadata = answer.headers.iter().filter_map(|(name, value)| {
            let name = name.as_str().strip_prefix(METADATA)?;
            Some((name.to_owned(), value.to_str().ok()?.to_owned()))
        });
        Ok(ObjectInfo {
            size: size.ok_or_else(|| answer.nonsense("it does not tell the object's size"))?,
            etag: text("etag"),
            modified,
            content_type: text("content-type"),
            version: text("x-amz-version-id"),
            metadata: metadata.collect(),
        })
    }
}
