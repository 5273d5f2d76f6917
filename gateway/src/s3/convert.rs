//! Names, headers and times between S3's types and ours.

use super::errors::{s3, to_s3};
use coffer_core::ids::{BucketName, ObjectKey, UploadId, VersionName};
use coffer_core::manifest;
use s3s::dto::{self, Metadata, Timestamp, TimestampFormat};
use s3s::{S3ErrorCode, S3Result};
use std::time::{Duration, UNIX_EPOCH};

/// The most bytes of user metadata, names and values together (as in S3).
const MAX_USER_METADATA: usize = 2048;

/// A checked bucket name.
pub(super) fn bucket(name: &str) -> S3Result<BucketName> {
    BucketName::new(name).map_err(to_s3)
}

/// A checked object key.
pub(super) fn key(key: &str) -> S3Result<ObjectKey> {
    ObjectKey::new(key).map_err(to_s3)
}

/// An upload id; one that is not of our making names no upload.
pub(super) fn upload_id(text: &str) -> S3Result<UploadId> {
    text.parse().map_err(|_| s3(S3ErrorCode::NoSuchUpload, "There is no such upload."))
}

/// A time in S3's type.
pub(super) fn timestamp(ms: u64) -> Timestamp {
    // S3 shows objects' times in whole seconds; more would not survive HTTP dates.
    Timestamp::from(UNIX_EPOCH + Duration::from_secs(ms / 1000))
}

/// A time in S3's type, to the millisecond.
pub(super) fn exact_timestamp(ms: u64) -> Timestamp {
    Timestamp::from(UNIX_EPOCH + Duration::from_millis(ms))
}

/// A time of S3's in ms since the Unix epoch.
pub(super) fn millis(time: &Timestamp) -> S3Result<u64> {
    let time = time::OffsetDateTime::from(time.clone()).unix_timestamp_nanos() / 1_000_000;
    u64::try_from(time).map_err(|_| s3(S3ErrorCode::InvalidArgument, "A time is out of range."))
}

/// An etag in S3's type.
pub(super) fn etag(etag: manifest::ETag) -> dto::ETag {
    dto::ETag::Strong(etag.to_string())
}

/// A size or count in S3's type.
pub(super) fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// `NotImplemented` if a parameter was given that we would otherwise have to ignore.
pub(super) fn refuse(given: bool, what: &str) -> S3Result<()> {
    if given {
        return Err(s3(S3ErrorCode::NotImplemented, format!("{what} is not supported.")));
    }
    Ok(())
}

/// Parameters that `PutObject`, `CopyObject` and `CreateMultipartUpload` share and that we can't
/// honour.
macro_rules! refuse_unsupported {
    ($input:expr) => {{
        let i = &$input;
        $crate::s3::convert::storage_class(i.storage_class.as_ref())?;
        $crate::s3::convert::refuse(i.website_redirect_location.is_some(), "A redirect location")?;
    }};
}
pub(super) use refuse_unsupported;

/// There is one storage class.
pub(super) fn storage_class(asked: Option<&dto::StorageClass>) -> S3Result<()> {
    match asked {
        Some(class) if class.as_str() != dto::StorageClass::STANDARD => {
            Err(s3(S3ErrorCode::InvalidStorageClass, "The only storage class is STANDARD."))
        }
        _ => Ok(()),
    }
}

/// Which version a request names, if it names one.
pub(super) fn version(asked: Option<&str>) -> S3Result<Option<VersionName>> {
    asked.filter(|v| !v.is_empty()).map(|v| v.parse().map_err(to_s3)).transpose()
}

/// A time as HTTP writes it.
pub(super) fn http_date(time: &Timestamp) -> S3Result<String> {
    let mut text = Vec::new();
    time.format(TimestampFormat::HttpDate, &mut text)
        .map_err(|_| s3(S3ErrorCode::InvalidArgument, "Expires is not a time."))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// User metadata within S3's limit.
pub(super) fn user_metadata(
    metadata: Option<Metadata>,
) -> S3Result<std::collections::BTreeMap<String, String>> {
    let user: std::collections::BTreeMap<_, _> = metadata.unwrap_or_default().into_iter().collect();
    let size: usize = user.iter().map(|(k, v)| k.len() + v.len()).sum();
    if size > MAX_USER_METADATA {
        let message = format!("User metadata has {size} bytes; at most {MAX_USER_METADATA} fit.");
        return Err(s3(S3ErrorCode::MetadataTooLarge, message));
    }
    Ok(user)
}

/// Puts an object's headers into an output that has fields for them.
macro_rules! show_headers {
    ($output:expr, $headers:expr) => {{
        let headers: coffer_core::manifest::ObjectHeaders = $headers.clone();
        $output.content_type = headers.content_type;
        $output.content_encoding = headers.content_encoding;
        $output.content_disposition = headers.content_disposition;
        $output.content_language = headers.content_language;
        $output.cache_control = headers.cache_control;
        $output.expires = headers.expires.as_deref().and_then($crate::s3::convert::parse_http_date);
        $output.metadata = (!headers.user.is_empty()).then(|| headers.user.into_iter().collect());
    }};
}
pub(super) use show_headers;

/// The inverse of [`http_date`].
pub(super) fn parse_http_date(text: &str) -> Option<Timestamp> {
    Timestamp::parse(TimestampFormat::HttpDate, text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_dates_round_trip() {
        let text = http_date(&timestamp(1_700_000_000_123)).unwrap();
        assert_eq!(text, "Tue, 14 Nov 2023 22:13:20 GMT");
        assert_eq!(parse_http_date(&text), Some(timestamp(1_700_000_000_000)));
    }
}
