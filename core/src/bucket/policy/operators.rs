//! Condition operators: their names, and what each compares.

use super::values::{self, Network};
use super::wildcard;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// How a condition deals with a key of several values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Quantifier {
    /// No prefix: the key has one value.
    One,
    /// `ForAnyValue:`: one of the request's values must fit.
    ForAny,
    /// `ForAllValues:`: all of the request's values must fit, of which there may be none.
    ForAll,
}

/// What is to be compared, with the values that the policy names; one of them has to fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Test {
    /// `StringEquals`.
    Equals(Vec<String>),
    /// `StringEqualsIgnoreCase`.
    EqualsIgnoringCase(Vec<String>),
    /// `StringLike`: with wildcards.
    Like(Vec<String>),
    /// `ArnEquals` and `ArnLike`, which are the same: each part of the ARN with wildcards.
    Arn(Vec<String>),
    /// `Bool`.
    Bool(Vec<bool>),
    /// `IpAddress`.
    Ip(Vec<Network>),
    /// `Numeric…`: whole numbers.
    Number(Comparison, Vec<i64>),
    /// `Date…`: ms since the Unix epoch.
    Date(Comparison, Vec<i64>),
}

/// How numbers and dates are compared: the request's value with the policy's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// Equal.
    Equal,
    /// Less than.
    Less,
    /// Less than or equal.
    LessOrEqual,
    /// Greater than.
    Greater,
    /// Greater than or equal.
    GreaterOrEqual,
}

impl Comparison {
    fn holds(self, theirs: i64, ours: i64) -> bool {
        let order = theirs.cmp(&ours);
        match self {
            Self::Equal => order == Ordering::Equal,
            Self::Less => order == Ordering::Less,
            Self::LessOrEqual => order != Ordering::Greater,
            Self::Greater => order == Ordering::Greater,
            Self::GreaterOrEqual => order != Ordering::Less,
        }
    }
}

impl Test {
    /// Whether one value of a request fits one of the policy's. A value that is not of the
    /// operator's type does not.
    pub(super) fn fits(&self, value: &str) -> bool {
        match self {
            Self::Equals(list) => list.iter().any(|v| v == value),
            Self::EqualsIgnoringCase(list) => {
                list.iter().any(|v| v.to_lowercase() == value.to_lowercase())
            }
            Self::Like(list) => list.iter().any(|v| wildcard::matches(v, value)),
            Self::Arn(list) => list.iter().any(|v| arn_fits(v, value)),
            Self::Bool(list) => values::boolean(value).is_some_and(|b| list.contains(&b)),
            Self::Ip(list) => {
                values::address(value).is_some_and(|ip| list.iter().any(|n| n.contains(ip)))
            }
            Self::Number(comparison, list) => value
                .parse()
                .is_ok_and(|theirs| list.iter().any(|ours| comparison.holds(theirs, *ours))),
            Self::Date(comparison, list) => values::date(value)
                .is_some_and(|theirs| list.iter().any(|ours| comparison.holds(theirs, *ours))),
        }
    }
}

/// The six parts of an ARN, each with wildcards; a `*` does not reach beyond its part.
fn arn_fits(pattern: &str, arn: &str) -> bool {
    let (mut patterns, mut parts) = (pattern.splitn(6, ':'), arn.splitn(6, ':'));
    loop {
        match (patterns.next(), parts.next()) {
            (None, None) => return true,
            (Some(pattern), Some(part)) if wildcard::matches(pattern, part) => {}
            _ => return false,
        }
    }
}

/// An operator by its name: what to compare, and whether the answer is turned around.
pub(super) enum Operator {
    /// `Null`.
    Null,
    /// Any other.
    Test {
        /// Makes the test of the policy's values; an error names the one that is wrong.
        make: fn(&[String]) -> Result<Test, String>,
        /// `StringNotEquals` and its like.
        negated: bool,
    },
}

impl Operator {
    /// The operator of that name, without quantifier and `IfExists`.
    pub(super) fn named(name: &str) -> Option<Self> {
        use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
        type Make = fn(&[String]) -> Result<Test, String>;
        let (make, negated): (Make, bool) = match name {
            "Null" => return Some(Self::Null),
            "StringEquals" => (|v| Ok(Test::Equals(v.to_vec())), false),
            "StringNotEquals" => (|v| Ok(Test::Equals(v.to_vec())), true),
            "StringEqualsIgnoreCase" => (|v| Ok(Test::EqualsIgnoringCase(v.to_vec())), false),
            "StringNotEqualsIgnoreCase" => (|v| Ok(Test::EqualsIgnoringCase(v.to_vec())), true),
            "StringLike" => (|v| Ok(Test::Like(v.to_vec())), false),
            "StringNotLike" => (|v| Ok(Test::Like(v.to_vec())), true),
            "ArnEquals" | "ArnLike" => (arns, false),
            "ArnNotEquals" | "ArnNotLike" => (arns, true),
            "Bool" => (|v| Ok(Test::Bool(booleans(v)?)), false),
            "IpAddress" => (networks, false),
            "NotIpAddress" => (networks, true),
            "NumericEquals" => (|v| Ok(Test::Number(Equal, numbers(v)?)), false),
            "NumericNotEquals" => (|v| Ok(Test::Number(Equal, numbers(v)?)), true),
            "NumericLessThan" => (|v| Ok(Test::Number(Less, numbers(v)?)), false),
            "NumericLessThanEquals" => (|v| Ok(Test::Number(LessOrEqual, numbers(v)?)), false),
            "NumericGreaterThan" => (|v| Ok(Test::Number(Greater, numbers(v)?)), false),
            "NumericGreaterThanEquals" => {
                (|v| Ok(Test::Number(GreaterOrEqual, numbers(v)?)), false)
            }
            "DateEquals" => (|v| Ok(Test::Date(Equal, dates(v)?)), false),
            "DateNotEquals" => (|v| Ok(Test::Date(Equal, dates(v)?)), true),
            "DateLessThan" => (|v| Ok(Test::Date(Less, dates(v)?)), false),
            "DateLessThanEquals" => (|v| Ok(Test::Date(LessOrEqual, dates(v)?)), false),
            "DateGreaterThan" => (|v| Ok(Test::Date(Greater, dates(v)?)), false),
            "DateGreaterThanEquals" => (|v| Ok(Test::Date(GreaterOrEqual, dates(v)?)), false),
            _ => return None,
        };
        Some(Self::Test { make, negated })
    }
}

fn each<T>(
    texts: &[String],
    what: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, String> {
    texts.iter().map(|t| read(t).ok_or_else(|| format!("{t:?} is not {what}"))).collect()
}

pub(super) fn booleans(texts: &[String]) -> Result<Vec<bool>, String> {
    each(texts, "true or false", values::boolean)
}

fn numbers(texts: &[String]) -> Result<Vec<i64>, String> {
    each(texts, "a whole number", |t| t.parse().ok())
}

fn dates(texts: &[String]) -> Result<Vec<i64>, String> {
    each(texts, "a date such as 2030-01-31T00:00:00Z", values::date)
}

fn networks(texts: &[String]) -> Result<Test, String> {
    each(texts, "a range of addresses such as 10.0.0.0/8", Network::parse).map(Test::Ip)
}

fn arns(texts: &[String]) -> Result<Test, String> {
    let arn = |t: &str| (t == "*" || t.splitn(6, ':').count() == 6).then(|| t.to_owned());
    let whole = |t: String| if t == "*" { "*:*:*:*:*:*".to_owned() } else { t };
    let list = each(texts, "an ARN", arn)?;
    Ok(Test::Arn(list.into_iter().map(whole).collect()))
}
