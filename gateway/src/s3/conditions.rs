//! If-Match and its relatives (RFC 9110, section 13).

use super::errors::s3;
use coffer_core::catalog::Precondition;
use coffer_core::catalog::records::ObjectRecord;
use http::header::{HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH};
use s3s::dto::{ETag, ETagCondition, Timestamp};
use s3s::{S3Error, S3ErrorCode, S3Result};

/// The conditions of a write.
pub(super) fn preconditions(
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
) -> Vec<Precondition> {
    let matches = if_match.map(|condition| match condition {
        ETagCondition::Any => Precondition::Present,
        ETagCondition::ETag(etag) => Precondition::Matches(etag.into_value()),
    });
    let differs = if_none_match.map(|condition| match condition {
        ETagCondition::Any => Precondition::Absent,
        ETagCondition::ETag(etag) => Precondition::Differs(etag.into_value()),
    });
    matches.into_iter().chain(differs).collect()
}

/// The conditions of a write for which `s3s` 0.14 knows none: a copy.
///
/// # Errors
/// `InvalidArgument` when a header can't be read.
pub(super) fn preconditions_of(headers: &HeaderMap) -> S3Result<Vec<Precondition>> {
    let condition = |name: HeaderName| match headers.get(&name) {
        None => Ok(None),
        Some(value) => ETagCondition::parse_http_header(value.as_bytes()).map(Some).map_err(|_| {
            s3(S3ErrorCode::InvalidArgument, format!("{name} is neither an entity tag nor *."))
        }),
    };
    Ok(preconditions(condition(IF_MATCH)?, condition(IF_NONE_MATCH)?))
}

/// The conditions of a read.
#[derive(Debug, Default)]
pub(super) struct ReadConditions {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
    pub(super) if_modified_since: Option<Timestamp>,
    pub(super) if_unmodified_since: Option<Timestamp>,
}

impl ReadConditions {
    /// Checks the conditions in the order of RFC 9110, section 13.2.2.
    ///
    /// # Errors
    /// `PreconditionFailed` (412) or `NotModified` (304).
    pub(super) fn check(&self, record: &ObjectRecord) -> S3Result<()> {
        let own = record.etag.to_string();
        let matches = |condition: &ETagCondition| match condition {
            ETagCondition::Any => true,
            ETagCondition::ETag(ETag::Strong(etag) | ETag::Weak(etag)) => *etag == own,
        };
        let modified = super::convert::timestamp(record.modified_ms);
        match (&self.if_match, &self.if_unmodified_since) {
            (Some(condition), _) if !matches(condition) => return Err(failed("If-Match")),
            (None, Some(time)) if modified > *time => return Err(failed("If-Unmodified-Since")),
            _ => {}
        }
        match (&self.if_none_match, &self.if_modified_since) {
            (Some(condition), _) if matches(condition) => Err(S3ErrorCode::NotModified.into()),
            (None, Some(time)) if modified <= *time => Err(S3ErrorCode::NotModified.into()),
            _ => Ok(()),
        }
    }

    /// As [`ReadConditions::check`], but a copy answers 412 where a read answers 304.
    pub(super) fn check_copy(&self, record: &ObjectRecord) -> S3Result<()> {
        self.check(record).map_err(|e| match e.code() {
            S3ErrorCode::NotModified => failed("x-amz-copy-source-if-*"),
            _ => e,
        })
    }
}

fn failed(which: &str) -> S3Error {
    s3(S3ErrorCode::PreconditionFailed, format!("The condition {which} does not hold."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_core::ids::VersionId;
    use coffer_core::manifest::{ETag as OurTag, ObjectHeaders};

    fn record() -> ObjectRecord {
        ObjectRecord {
            version: VersionId::from_bytes([0; 16]),
            size: 0,
            etag: OurTag::Whole([0xaa; 16]),
            modified_ms: 1_700_000_000_500,
            headers: ObjectHeaders::default(),
            checksums: Default::default(),
            tags: Default::default(),
            lock: Default::default(),
            encryption: Default::default(),
            upload: None,
        }
    }

    fn tag(text: &str) -> Option<ETagCondition> {
        Some(ETagCondition::ETag(ETag::Strong(text.into())))
    }

    #[test]
    fn table() {
        let own = "aa".repeat(16);
        let at = |s: u64| Some(super::super::convert::timestamp(s * 1000));
        let none = ReadConditions::default;
        let code = |c: ReadConditions| c.check(&record()).err().map(|e| e.code().clone());
        let (failed, same) =
            (Some(S3ErrorCode::PreconditionFailed), Some(S3ErrorCode::NotModified));
        let time = 1_700_000_000;
        assert_eq!(code(none()), None);
        assert_eq!(code(ReadConditions { if_match: tag(&own), ..none() }), None);
        assert_eq!(code(ReadConditions { if_match: tag("bb"), ..none() }), failed);
        assert_eq!(code(ReadConditions { if_none_match: tag(&own), ..none() }), same);
        assert_eq!(
            code(ReadConditions { if_none_match: Some(ETagCondition::Any), ..none() }),
            same
        );
        assert_eq!(code(ReadConditions { if_none_match: tag("bb"), ..none() }), None);
        assert_eq!(code(ReadConditions { if_modified_since: at(time), ..none() }), same);
        assert_eq!(code(ReadConditions { if_modified_since: at(time - 1), ..none() }), None);
        assert_eq!(code(ReadConditions { if_unmodified_since: at(time - 1), ..none() }), failed);
        assert_eq!(code(ReadConditions { if_unmodified_since: at(time), ..none() }), None);
        // A matching etag outranks the times.
        let both = ReadConditions { if_match: tag(&own), if_unmodified_since: at(1), ..none() };
        assert_eq!(code(both), None);
    }

    #[test]
    fn conditions_of_a_write_all_have_to_hold() {
        let aa = Precondition::Matches("aa".into());
        assert_eq!(preconditions(tag("aa"), None), std::slice::from_ref(&aa));
        let both = preconditions(tag("aa"), Some(ETagCondition::Any));
        assert_eq!(both, [aa, Precondition::Absent]);
        assert_eq!(preconditions(None, tag("aa")), [Precondition::Differs("aa".into())]);
    }
}
