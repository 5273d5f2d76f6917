//! A bucket's lifecycle rules, and what clients are told about them with each object.

use super::convert::{self, refuse};
use super::errors::{S3Coded, s3, to_s3};
use super::tags::{read_tags, tag_set};
use super::{CofferS3, errors};
use coffer_core::bucket::lifecycle::plan::DAY_MS;
use coffer_core::bucket::lifecycle::{
    Expiration, Filter, FilterForm, Lifecycle, LifecycleError, NoncurrentExpiration, Problem, Rule,
};
use coffer_core::bucket::{BucketSettings, Setting, TagLimit, Tags};
use coffer_core::catalog::Scope;
use coffer_core::catalog::records::ObjectRecord;
use coffer_core::ids::{BucketName, ObjectKey};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Result};

impl CofferS3 {
    pub(super) async fn lifecycle(
        &self,
        input: GetBucketLifecycleConfigurationInput,
    ) -> S3Result<GetBucketLifecycleConfigurationOutput> {
        let record = self.bucket_record(&convert::bucket(&input.bucket)?).await?;
        let code = S3ErrorCode::NoSuchLifecycleConfiguration;
        let none = || s3(code, "The lifecycle configuration does not exist.");
        let lifecycle = record.settings.lifecycle.as_ref().ok_or_else(none)?;
        Ok(GetBucketLifecycleConfigurationOutput {
            rules: Some(lifecycle.rules().iter().map(show_rule).collect()),
            ..GetBucketLifecycleConfigurationOutput::default()
        })
    }

    pub(super) async fn set_lifecycle(
        &self,
        input: PutBucketLifecycleConfigurationInput,
    ) -> S3Result<PutBucketLifecycleConfigurationOutput> {
        let rules = input.lifecycle_configuration.map(|c| c.rules).unwrap_or_default();
        let rules = rules.into_iter().map(read_rule).collect::<S3Result<_>>()?;
        let lifecycle = Lifecycle::new(rules).map_err(to_s3)?;
        self.set(&input.bucket, Setting::Lifecycle(Some(lifecycle))).await?;
        Ok(PutBucketLifecycleConfigurationOutput::default())
    }

    pub(super) async fn drop_lifecycle(
        &self,
        input: DeleteBucketLifecycleInput,
    ) -> S3Result<DeleteBucketLifecycleOutput> {
        self.set(&input.bucket, Setting::Lifecycle(None)).await?;
        Ok(DeleteBucketLifecycleOutput::default())
    }

    /// [`expiration`] of an object that has just been made.
    pub(super) async fn expiration_of(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> Option<String> {
        let look = self.catalog.read(Scope::Object(bucket, key), |c| {
            let settings = c.bucket(bucket)?.settings;
            let current =
                settings.lifecycle.as_ref().map(|_| c.current(bucket, key)).transpose()?;
            Ok(current.flatten().and_then(|c| expiration(&settings, key, &c.record)))
        });
        // It is made; that this can't be told is no reason to say that it is not.
        look.await.ok().flatten()
    }
}

/// The header `x-amz-expiration` of a current object: when it expires, and by which rule.
pub(super) fn expiration(
    settings: &BucketSettings,
    key: &ObjectKey,
    object: &ObjectRecord,
) -> Option<String> {
    let lifecycle = settings.lifecycle.as_ref()?;
    let (due_ms, rule) =
        lifecycle.expiry(key.as_str(), object.size, &object.tags, object.modified_ms, DAY_MS)?;
    let date = convert::http_date(&convert::timestamp(due_ms)).ok()?;
    let rule = utf8_percent_encode(rule, NAME);
    Some(format!("expiry-date=\"{date}\", rule-id=\"{rule}\""))
}

/// The headers `x-amz-abort-date` and `x-amz-abort-rule-id` of an upload.
pub(super) fn abort(
    settings: &BucketSettings,
    key: &ObjectKey,
    initiated_ms: u64,
) -> (Option<Timestamp>, Option<String>) {
    let lifecycle = settings.lifecycle.as_ref();
    let due = lifecycle.and_then(|l| l.abort(key.as_str(), initiated_ms, DAY_MS));
    (due.map(|(ms, _)| convert::timestamp(ms)), due.map(|(_, rule)| rule.to_owned()))
}

/// What is left as it is in the name of a rule.
const NAME: &percent_encoding::AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

fn malformed(message: &str) -> S3Error {
    s3(S3ErrorCode::MalformedXML, message)
}

fn read_rule(rule: LifecycleRule) -> S3Result<Rule> {
    if let Some(transitions) = rule.transitions {
        // What S3 would refuse as well is refused in its words.
        for date in transitions.into_iter().filter_map(|t| t.date) {
            if convert::millis(&date)? % DAY_MS != 0 {
                return Err(s3(S3ErrorCode::InvalidArgument, "The date must be at midnight UTC."));
            }
        }
        refuse(true, "A transition to another storage class")?;
    }
    refuse(
        rule.noncurrent_version_transitions.is_some(),
        "A transition of noncurrent versions to another storage class",
    )?;
    let enabled = match rule.status.as_str() {
        ExpirationStatus::ENABLED => true,
        ExpirationStatus::DISABLED => false,
        _ => return Err(malformed("The status of a rule is Enabled or Disabled.")),
    };
    let filter = match (rule.filter, rule.prefix) {
        (Some(filter), None) => read_filter(filter)?,
        (None, Some(prefix)) => {
            Filter { form: FilterForm::Prefix, prefix: Some(prefix), ..Filter::default() }
        }
        _ => return Err(malformed("A rule has either a Filter or a Prefix.")),
    };
    let noncurrent = rule.noncurrent_version_expiration.map(|n| -> S3Result<_> {
        let days = n.noncurrent_days.ok_or_else(|| malformed("NoncurrentDays is missing."))?;
        let keep_newest = n.newer_noncurrent_versions.map(count);
        Ok(NoncurrentExpiration { days: count(days), keep_newest })
    });
    let abort = rule.abort_incomplete_multipart_upload.map(|abort| {
        let missing = || malformed("DaysAfterInitiation is missing.");
        abort.days_after_initiation.map(count).ok_or_else(missing)
    });
    Ok(Rule {
        id: rule.id.unwrap_or_default(),
        enabled,
        filter,
        expiration: rule.expiration.map(read_expiration).transpose()?,
        noncurrent: noncurrent.transpose()?,
        abort_uploads_after_days: abort.transpose()?,
    })
}

/// A number that must be positive: what is negative is as wrong as zero.
fn count(n: i32) -> u32 {
    u32::try_from(n).unwrap_or(0)
}

fn read_expiration(asked: LifecycleExpiration) -> S3Result<Expiration> {
    match (asked.days, asked.date, asked.expired_object_delete_marker) {
        (Some(days), None, None) => Ok(Expiration::Days(count(days))),
        (None, Some(date), None) => Ok(Expiration::Date(convert::millis(&date)?)),
        (None, None, Some(true)) => Ok(Expiration::ExpiredDeleteMarker),
        _ => Err(malformed("An Expiration has one of Days, Date, ExpiredObjectDeleteMarker.")),
    }
}

/// All that a filter names must hold; also where it names several criteria without `And`.
fn read_filter(filter: LifecycleRuleFilter) -> S3Result<Filter> {
    let and = filter.and;
    let single = [
        filter.prefix.is_some(),
        filter.tag.is_some(),
        filter.object_size_greater_than.is_some(),
        filter.object_size_less_than.is_some(),
    ];
    let criteria = single.into_iter().filter(|there| *there).count();
    let form = if and.is_some() || criteria > 1 { FilterForm::And } else { FilterForm::Single };
    let and = and.unwrap_or_default();
    let mut tags = and.tags.unwrap_or_default();
    tags.extend(filter.tag);
    Ok(Filter {
        form,
        prefix: narrower(filter.prefix, and.prefix)?,
        tags: read_tags(TagLimit::Object, tags)?,
        larger_than: size(filter.object_size_greater_than, and.object_size_greater_than)?,
        smaller_than: size(filter.object_size_less_than, and.object_size_less_than)?,
    })
}

/// Of two prefixes that must both match, the longer one.
fn narrower(a: Option<String>, b: Option<String>) -> S3Result<Option<String>> {
    match (a, b) {
        (Some(a), Some(b)) if a.starts_with(&b) => Ok(Some(a)),
        (Some(a), Some(b)) if b.starts_with(&a) => Ok(Some(b)),
        (Some(_), Some(_)) => Err(malformed("No key has both prefixes of the Filter.")),
        (a, b) => Ok(a.or(b)),
    }
}

/// A limit of the size, which may be given in one place.
fn size(single: Option<i64>, and: Option<i64>) -> S3Result<Option<u64>> {
    if single.is_some() && and.is_some() {
        return Err(malformed("A Filter names a limit of the size twice."));
    }
    let negative = |_| s3(S3ErrorCode::InvalidRequest, "An object's size is never negative.");
    single.or(and).map(u64::try_from).transpose().map_err(negative)
}

fn show_rule(rule: &Rule) -> LifecycleRule {
    let number = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    let (filter, prefix) = show_filter(&rule.filter);
    let status = if rule.enabled { ExpirationStatus::ENABLED } else { ExpirationStatus::DISABLED };
    LifecycleRule {
        id: Some(rule.id.clone()),
        status: ExpirationStatus::from_static(status),
        filter,
        prefix,
        expiration: rule.expiration.map(|expiration| match expiration {
            Expiration::Days(days) => {
                LifecycleExpiration { days: Some(number(days)), ..LifecycleExpiration::default() }
            }
            Expiration::Date(date) => LifecycleExpiration {
                date: Some(convert::timestamp(date)),
                ..LifecycleExpiration::default()
            },
            Expiration::ExpiredDeleteMarker => LifecycleExpiration {
                expired_object_delete_marker: Some(true),
                ..LifecycleExpiration::default()
            },
        }),
        noncurrent_version_expiration: rule.noncurrent.map(|n| NoncurrentVersionExpiration {
            noncurrent_days: Some(number(n.days)),
            newer_noncurrent_versions: n.keep_newest.map(number),
        }),
        abort_incomplete_multipart_upload: rule.abort_uploads_after_days.map(|days| {
            AbortIncompleteMultipartUpload { days_after_initiation: Some(number(days)) }
        }),
        noncurrent_version_transitions: None,
        transitions: None,
    }
}

/// A filter as it was written: in `Filter`, or as the rule's own prefix.
fn show_filter(filter: &Filter) -> (Option<LifecycleRuleFilter>, Option<String>) {
    let prefix = filter.prefix.clone();
    let larger = filter.larger_than.map(convert::signed);
    let smaller = filter.smaller_than.map(convert::signed);
    let shown = match filter.form {
        FilterForm::Prefix => return (None, prefix),
        FilterForm::Single => LifecycleRuleFilter {
            prefix,
            tag: tag_set(&filter.tags).into_iter().next(),
            object_size_greater_than: larger,
            object_size_less_than: smaller,
            and: None,
        },
        FilterForm::And => LifecycleRuleFilter {
            and: Some(LifecycleRuleAndOperator {
                prefix,
                tags: (filter.tags != Tags::default()).then(|| tag_set(&filter.tags)),
                object_size_greater_than: larger,
                object_size_less_than: smaller,
            }),
            ..LifecycleRuleFilter::default()
        },
    };
    (Some(shown), None)
}

impl S3Coded for LifecycleError {
    fn coded(self) -> S3Error {
        let code = match &self {
            Self::Count(_) => S3ErrorCode::MalformedXML,
            Self::Rule { problem, .. } => match problem {
                Problem::IdTooLong
                | Problem::IdTwice
                | Problem::NoDays
                | Problem::KeepNewest
                | Problem::NotMidnight => S3ErrorCode::InvalidArgument,
                Problem::NoAction | Problem::NoSize | Problem::NoContent => {
                    S3ErrorCode::InvalidRequest
                }
            },
        };
        s3(code, errors::sentence(&self))
    }
}
