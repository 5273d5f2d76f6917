//! What all requests that make an object say about it: put, copy, multipart upload, form.

use super::convert::{http_date, user_metadata};
use super::errors::{s3, to_s3};
use super::now_ms;
use coffer_core::bucket::{LockMode, Retention, TagLimit, Tags};
use coffer_core::catalog::records::{Encryption, Lock, ObjectRecord};
use coffer_core::ids::VersionId;
use coffer_core::manifest::{Checksums, ETag, ObjectHeaders, Part};
use s3s::dto::{
    Metadata, ObjectLockLegalHoldStatus, ObjectLockMode, ObjectLockRetainUntilDate, Timestamp,
};
use s3s::{S3ErrorCode, S3Result};

/// An object as its maker describes it, before there are any bytes.
#[derive(Debug, Clone)]
pub(super) struct NewObject {
    pub(super) headers: ObjectHeaders,
    pub(super) tags: Tags,
    pub(super) lock: Lock,
}

impl NewObject {
    /// The record of this object, put in one piece.
    pub(super) fn record(
        self,
        version: VersionId,
        part: &Part,
        checksums: Checksums,
        encryption: Encryption,
    ) -> Box<ObjectRecord> {
        Box::new(ObjectRecord {
            version,
            size: part.size,
            etag: ETag::Whole(part.md5),
            modified_ms: now_ms(),
            headers: self.headers,
            checksums,
            tags: self.tags,
            lock: self.lock,
            encryption,
            upload: None,
        })
    }
}

/// What a request says about an object, out of any input that has the fields.
macro_rules! new_object {
    ($input:expr) => {{
        let i = &mut $input;
        $crate::s3::new_object::headers!(i).and_then(|headers| {
            Ok($crate::s3::new_object::NewObject {
                headers,
                tags: $crate::s3::new_object::tags(i.tagging.as_deref())?,
                lock: $crate::s3::new_object::lock(
                    i.object_lock_mode.as_ref(),
                    i.object_lock_retain_until_date.as_ref(),
                    i.object_lock_legal_hold_status.as_ref(),
                )?,
            })
        })
    }};
}
pub(super) use new_object;

/// The headers that a user may give an object, out of any input that has them.
macro_rules! headers {
    ($input:expr) => {{
        let i = &mut *$input;
        $crate::s3::new_object::Described {
            content_type: i.content_type.take(),
            content_encoding: i.content_encoding.take(),
            content_disposition: i.content_disposition.take(),
            content_language: i.content_language.take(),
            cache_control: i.cache_control.take(),
            expires: i.expires.take(),
            metadata: i.metadata.take(),
        }
        .headers()
    }};
}
pub(super) use headers;

/// The headers as they came.
pub(super) struct Described {
    pub(super) content_type: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) cache_control: Option<String>,
    pub(super) expires: Option<Timestamp>,
    pub(super) metadata: Option<Metadata>,
}

impl Described {
    /// The headers as they are kept. Without a content type the object gets S3's default.
    pub(super) fn headers(self) -> S3Result<ObjectHeaders> {
        Ok(ObjectHeaders {
            content_type: self.content_type.or_else(|| Some("binary/octet-stream".to_owned())),
            content_encoding: content_encoding(self.content_encoding),
            content_disposition: self.content_disposition,
            content_language: self.content_language,
            cache_control: self.cache_control,
            expires: self.expires.as_ref().map(http_date).transpose()?,
            user: user_metadata(self.metadata)?,
        })
    }
}

/// `aws-chunked` describes the transfer, not the object.
fn content_encoding(value: Option<String>) -> Option<String> {
    let value = value?;
    let kept: Vec<_> =
        value.split(',').map(str::trim).filter(|e| !e.is_empty() && *e != "aws-chunked").collect();
    (!kept.is_empty()).then(|| kept.join(", "))
}

/// Tags as the header `x-amz-tagging` has them.
pub(super) fn tags(header: Option<&str>) -> S3Result<Tags> {
    Tags::from_query(TagLimit::Object, header.unwrap_or_default()).map_err(to_s3)
}

/// Retention and legal hold as the headers of a new object have them.
pub(super) fn lock(
    mode: Option<&ObjectLockMode>,
    until: Option<&ObjectLockRetainUntilDate>,
    hold: Option<&ObjectLockLegalHoldStatus>,
) -> S3Result<Lock> {
    let invalid = |message: &str| s3(S3ErrorCode::InvalidArgument, message);
    let retention = match (mode, until) {
        (None, None) => None,
        (Some(mode), Some(until)) => Some(retention(mode.as_str(), until)?),
        _ => {
            return Err(invalid(
                "x-amz-object-lock-mode and x-amz-object-lock-retain-until-date go together.",
            ));
        }
    };
    let legal_hold = match hold.map(ObjectLockLegalHoldStatus::as_str) {
        None | Some(ObjectLockLegalHoldStatus::OFF) => false,
        Some(ObjectLockLegalHoldStatus::ON) => true,
        Some(_) => return Err(invalid("A legal hold is ON or OFF.")),
    };
    Ok(Lock { retention, legal_hold })
}

/// A retention of S3's, which must lie in the future.
pub(super) fn retention(mode: &str, until: &Timestamp) -> S3Result<Retention> {
    let until_ms = super::convert::millis(until)?;
    if until_ms <= now_ms() {
        let message = "The retain until date must be in the future.";
        return Err(s3(S3ErrorCode::InvalidArgument, message));
    }
    Ok(Retention { mode: lock_mode(mode)?, until_ms })
}

/// A mode by its name.
pub(super) fn lock_mode(name: &str) -> S3Result<LockMode> {
    match name {
        ObjectLockMode::GOVERNANCE => Ok(LockMode::Governance),
        ObjectLockMode::COMPLIANCE => Ok(LockMode::Compliance),
        _ => Err(s3(S3ErrorCode::MalformedXML, "A lock's mode is GOVERNANCE or COMPLIANCE.")),
    }
}

/// A mode's name.
pub(super) fn mode_name(mode: LockMode) -> &'static str {
    match mode {
        LockMode::Governance => ObjectLockMode::GOVERNANCE,
        LockMode::Compliance => ObjectLockMode::COMPLIANCE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aws_chunked_is_not_part_of_the_object() {
        let strip = |v: &str| content_encoding(Some(v.into()));
        assert_eq!(strip("aws-chunked"), None);
        assert_eq!(strip("gzip, aws-chunked"), Some("gzip".into()));
        assert_eq!(strip("gzip"), Some("gzip".into()));
        assert_eq!(content_encoding(None), None);
    }
}
