//! The policy of a form: what its signer allows the browser to send.
//!
//! Source: Amazon S3 API Reference, "POST Policy".

use super::fields::Form;
use super::file::Bounds;
use super::{bad, denied};
use crate::http::failure::Failure;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use std::time::SystemTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const INVALID: Failure = bad(
    "InvalidPolicyDocument",
    "The content of the form does not meet the conditions of a POST policy: the policy is malformed.",
);
const EXPIRED: Failure = denied("Invalid according to Policy: Policy expired.");
const FAILED: Failure = denied("Invalid according to Policy: Policy Condition failed.");
const EXTRA: Failure = denied("Invalid according to Policy: The form has extra input fields.");

/// Fields that no condition has to name, and the beginnings of others. A checksum only ever makes a
/// form fail that would else store something other than was meant.
const FREE: [&str; 5] = ["x-amz-signature", "file", "policy", "awsaccesskeyid", "signature"];
const FREE_GROUPS: [&str; 2] = ["x-ignore-", "x-amz-checksum-"];

/// A policy, read.
#[derive(Debug, PartialEq)]
pub(super) struct PostPolicy {
    expires: OffsetDateTime,
    conditions: Vec<Condition>,
}

#[derive(Debug, PartialEq)]
enum Condition {
    Is { field: String, value: String },
    StartsWith { field: String, prefix: String },
    Length(Bounds),
}

#[derive(Deserialize)]
struct Document {
    expiration: String,
    conditions: Vec<Value>,
}

impl PostPolicy {
    /// Reads the field `policy`: JSON in base64.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let json = STANDARD.decode(text).map_err(|_| INVALID)?;
        let document: Document = serde_json::from_slice(&json).map_err(|_| INVALID)?;
        let expires = OffsetDateTime::parse(&document.expiration, &Rfc3339).map_err(|_| INVALID)?;
        // The reader above takes a space for the T as well; S3 does not.
        let is_iso_8601 = document.expiration.as_bytes().get(10) == Some(&b'T');
        if document.conditions.is_empty() || !is_iso_8601 {
            return Err(INVALID);
        }
        let mut conditions = Vec::new();
        for condition in &document.conditions {
            match condition {
                Value::Array(parts) => conditions.push(Condition::of_list(parts).ok_or(INVALID)?),
                Value::Object(fields) if !fields.is_empty() => {
                    for (field, value) in fields {
                        let value = value.as_str().ok_or(INVALID)?.to_owned();
                        conditions.push(Condition::Is { field: field.to_ascii_lowercase(), value });
                    }
                }
                _ => return Err(INVALID),
            }
        }
        Ok(Self { expires, conditions })
    }

    /// Checks a form against its policy; returns how large its file may be. `key` is the object's,
    /// with the file's name put in.
    pub(super) fn check(
        &self,
        form: &Form,
        bucket: &str,
        key: &str,
        now: SystemTime,
    ) -> Result<Bounds, Failure> {
        let value = |field: &str| match field {
            "bucket" => Some(bucket),
            "key" => Some(key),
            field => form.get(field),
        };
        self.check_fields(form.fields().map(|(name, _)| name), value, now)
    }

    fn check_fields<'a>(
        &self,
        mut names: impl Iterator<Item = &'a str>,
        value: impl Fn(&str) -> Option<&'a str>,
        now: SystemTime,
    ) -> Result<Bounds, Failure> {
        if OffsetDateTime::from(now) >= self.expires {
            return Err(EXPIRED);
        }
        let mut bounds = Bounds::default();
        for condition in &self.conditions {
            let holds = match condition {
                Condition::Is { field, value: wanted } => value(field) == Some(wanted),
                Condition::StartsWith { field, prefix } => {
                    value(field).unwrap_or_default().starts_with(prefix.as_str())
                }
                Condition::Length(asked) => {
                    bounds.least = bounds.least.max(asked.least);
                    bounds.most = bounds.most.min(asked.most);
                    true
                }
            };
            if !holds {
                return Err(FAILED);
            }
        }
        let named = |name: &str| {
            self.conditions.iter().any(|condition| match condition {
                Condition::Is { field, .. } | Condition::StartsWith { field, .. } => field == name,
                Condition::Length(_) => false,
            })
        };
        let covered = |name: &str| {
            FREE.contains(&name)
                || FREE_GROUPS.iter().any(|group| name.starts_with(group))
                || named(name)
        };
        if names.all(covered) { Ok(bounds) } else { Err(EXTRA) }
    }
}

impl Condition {
    /// `["eq", "$field", "value"]` and its like.
    fn of_list(parts: &[Value]) -> Option<Self> {
        let [operator, first, second] = parts else { return None };
        let field = || {
            let field = first.as_str()?.strip_prefix('$')?;
            Some(field.to_ascii_lowercase())
        };
        match operator.as_str()?.to_ascii_lowercase().as_str() {
            "eq" => Some(Self::Is { field: field()?, value: second.as_str()?.to_owned() }),
            "starts-with" => {
                Some(Self::StartsWith { field: field()?, prefix: second.as_str()?.to_owned() })
            }
            "content-length-range" => {
                let bounds = Bounds { least: number(first)?, most: number(second)? };
                (bounds.least <= bounds.most).then_some(Self::Length(bounds))
            }
            _ => None,
        }
    }
}

/// Some clients write numbers in quotes.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    use std::time::{Duration, UNIX_EPOCH};

    fn parse(conditions: Value) -> Result<PostPolicy, Failure> {
        let json = json!({"expiration": "2030-01-01T00:00:00.000Z", "conditions": conditions});
        PostPolicy::parse(&STANDARD.encode(json.to_string()))
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn check(conditions: Value, fields: &[(&str, &str)], seconds: u64) -> Result<Bounds, Failure> {
        let value = |name: &str| fields.iter().find(|(f, _)| *f == name).map(|(_, v)| *v);
        parse(conditions)?.check_fields(fields.iter().map(|(f, _)| *f), value, at(seconds))
    }

    #[test]
    fn forms_keep_to_their_policy() {
        let conditions = json!([
            {"bucket": "data"}, ["starts-with", "$Key", "user/"], ["eq", "$acl", "private"],
            ["content-length-range", 1, "10"], ["content-length-range", 0, 9]
        ]);
        let good = [("bucket", "data"), ("key", "user/a"), ("acl", "private")];
        let bounds = Bounds { least: 1, most: 9 };
        assert_eq!(check(conditions.clone(), &good, 0), Ok(bounds));
        let free = [
            &good[..],
            &[("policy", ""), ("x-amz-signature", ""), ("x-ignore-a", "")],
            &[("x-amz-checksum-crc32", "")],
        ];
        assert_eq!(check(conditions.clone(), &free.concat(), 0), Ok(bounds));
        for (fields, failure) in [
            (vec![("bucket", "data"), ("key", "user/a")], FAILED),
            (vec![("bucket", "other"), ("key", "user/a"), ("acl", "private")], FAILED),
            (vec![("bucket", "data"), ("key", "use"), ("acl", "private")], FAILED),
            (vec![("bucket", "data"), ("key", "user/"), ("acl", "Private")], FAILED),
            ([&good[..], &[("x-amz-meta-a", "")]].concat(), EXTRA),
            ([&good[..], &[("submit", "")]].concat(), EXTRA),
        ] {
            assert_eq!(check(conditions.clone(), &fields, 0), Err(failure), "{fields:?}");
        }
        assert_eq!(check(conditions.clone(), &good, 1_893_455_999), Ok(bounds));
        assert_eq!(check(conditions, &good, 1_893_456_000), Err(EXPIRED));
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for bad in [
            json!([]),
            json!([{}]),
            json!({}),
            json!(["eq", "$key", "a"]),
            json!([["eq", "key", "a"]]),
            json!([["equals", "$key", "a"]]),
            json!([["eq", "$key"]]),
            json!([["content-length-range", 0]]),
            json!([["content-length-range", -1, 0]]),
            json!([["content-length-range", 2, 1]]),
            json!([{"key": 1}]),
            json!([7]),
        ] {
            assert_eq!(parse(bad.clone()), Err(INVALID), "{bad}");
        }
        for document in [
            json!({"conditions": [{"key": "a"}]}),
            json!({"expiration": "2030-01-01T00:00:00Z"}),
            json!({"EXPIRATION": "2030-01-01T00:00:00Z", "conditions": [{"key": "a"}]}),
            json!({"expiration": "1 Jan 2030", "conditions": [{"key": "a"}]}),
            json!({"expiration": "2030-01-01 00:00:00Z", "conditions": [{"key": "a"}]}),
        ] {
            let text = STANDARD.encode(document.to_string());
            assert_eq!(PostPolicy::parse(&text), Err(INVALID), "{document}");
        }
        assert_eq!(PostPolicy::parse("*"), Err(INVALID));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text: String) {
            let _ = PostPolicy::parse(&text);
            let _ = PostPolicy::parse(&STANDARD.encode(&text));
        }
    }
}
