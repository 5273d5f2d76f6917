//! Conditions of statements, and when they hold.

use super::keys::{Context, Key};
use super::operators::{self, Operator, Quantifier, Test};
use super::wildcard;
use serde::{Deserialize, Serialize};

/// A condition on the value of one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// What is asked of the request.
    pub key: Key,
    /// What must hold of it.
    pub rule: Rule,
}

/// What must hold of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rule {
    /// `Null`: whether the key is missing.
    Missing(Vec<bool>),
    /// A comparison.
    Test {
        /// How several values are dealt with.
        quantifier: Quantifier,
        /// `…IfExists`: it holds for requests that do not have the key.
        if_exists: bool,
        /// `…Not…`: no value of the policy may fit.
        negated: bool,
        /// What is compared.
        test: Test,
    },
}

impl Condition {
    /// Makes the condition that operator, key and values name.
    ///
    /// # Errors
    /// A sentence about what is wrong.
    pub(super) fn parse(operator: &str, key: &str, values: &[String]) -> Result<Self, String> {
        let (quantifier, name) = match operator.split_once(':') {
            Some(("ForAnyValue", name)) => (Quantifier::ForAny, name),
            Some(("ForAllValues", name)) => (Quantifier::ForAll, name),
            _ => (Quantifier::One, operator),
        };
        let (if_exists, name) = match name.strip_suffix("IfExists") {
            Some(name) => (true, name),
            None => (false, name),
        };
        let unknown = || format!("{operator:?} is not a condition operator that is supported");
        let rule = match Operator::named(name).ok_or_else(unknown)? {
            Operator::Null if quantifier == Quantifier::One && !if_exists => {
                Rule::Missing(operators::booleans(values)?)
            }
            Operator::Null => return Err(unknown()),
            Operator::Test { make, negated } => {
                Rule::Test { quantifier, if_exists, negated, test: make(values)? }
            }
        };
        let key = Key::parse(key)
            .ok_or_else(|| format!("{key:?} is not a condition key that is supported"))?;
        Ok(Self { key, rule })
    }

    /// Whether it holds for a request.
    pub(super) fn holds(&self, context: &dyn Context) -> bool {
        let values = context.values(&self.key);
        match &self.rule {
            Rule::Missing(list) => list.contains(&values.is_empty()),
            Rule::Test { if_exists: true, .. } if values.is_empty() => true,
            Rule::Test { quantifier, negated, test, .. } => {
                let mut fit = values.iter().map(|v| test.fits(v));
                match quantifier {
                    // Of a key that is not there nothing is equal, so that all is unequal.
                    Quantifier::One => fit.any(|fits| fits) != *negated,
                    Quantifier::ForAny => fit.any(|fits| fits != *negated),
                    Quantifier::ForAll => fit.all(|fits| fits != *negated),
                }
            }
        }
    }

    /// Whether it ties a request to values that S3 does not count as public: a few networks, a
    /// caller, a key of encryption. Only what holds for nobody without such a value counts.
    pub(super) fn fixes_the_source(&self) -> bool {
        let Rule::Test { quantifier, if_exists: false, negated: false, test } = &self.rule else {
            return false;
        };
        if *quantifier == Quantifier::ForAll {
            return false;
        }
        match (&self.key, test) {
            (Key::SourceIp, Test::Ip(list)) => !list.iter().any(|n| n.is_nearly_everything()),
            (Key::Username | Key::PrincipalArn | Key::Never(_), test) => is_fixed(test),
            (Key::Header(name), test) => {
                name == "x-amz-server-side-encryption-aws-kms-key-id" && is_fixed(test)
            }
            _ => false,
        }
    }
}

/// Whether the test names its values in full.
fn is_fixed(test: &Test) -> bool {
    match test {
        Test::Equals(_) | Test::EqualsIgnoringCase(_) => true,
        Test::Like(list) | Test::Arn(list) => !list.iter().any(|v| wildcard::is_open(v)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(Vec<&'static str>);

    impl Context for Fixed {
        fn values(&self, _: &Key) -> Vec<String> {
            self.0.iter().map(|v| (*v).to_owned()).collect()
        }
    }

    #[test]
    fn operators_hold_when_they_should() {
        // operator, the policy's values, the request's values, whether it holds
        let table: &[(&str, &[&str], &[&'static str], bool)] = &[
            ("StringEquals", &["a", "b"], &["b"], true),
            ("StringEquals", &["a"], &["A"], false),
            ("StringEquals", &["a"], &[], false),
            ("StringEqualsIfExists", &["a"], &[], true),
            ("StringEqualsIfExists", &["a"], &["b"], false),
            ("StringNotEquals", &["a", "b"], &["b"], false),
            ("StringNotEquals", &["a"], &["c"], true),
            ("StringNotEquals", &["a"], &[], true),
            ("StringEqualsIgnoreCase", &["AES256"], &["aes256"], true),
            ("StringNotEqualsIgnoreCase", &["AES256"], &["aes256"], false),
            ("StringLike", &["public*"], &["public-read"], true),
            ("StringEquals", &["public*"], &["public-read"], false),
            ("StringNotLike", &["public*"], &["private"], true),
            ("Bool", &["true"], &["true"], true),
            ("Bool", &["false"], &["true"], false),
            ("BoolIfExists", &["false"], &[], true),
            ("Null", &["true"], &[], true),
            ("Null", &["true"], &["x"], false),
            ("Null", &["false"], &["x"], true),
            ("NumericLessThanEquals", &["10"], &["10"], true),
            ("NumericLessThan", &["10"], &["10"], false),
            ("NumericGreaterThan", &["10"], &["11"], true),
            ("NumericGreaterThanEquals", &["10"], &["9"], false),
            ("NumericEquals", &["10"], &["010"], true),
            ("NumericEquals", &["10"], &["ten"], false),
            ("NumericNotEquals", &["10"], &["10"], false),
            ("DateLessThan", &["2030-01-01T00:00:00Z"], &["2029-12-31T23:59:59Z"], true),
            ("DateGreaterThan", &["2030-01-01"], &["1893456000"], false),
            ("DateGreaterThanEquals", &["2030-01-01"], &["1893456000"], true),
            ("DateEquals", &["1893456000"], &["2030-01-01T00:00:00Z"], true),
            ("DateNotEquals", &["1893456000"], &["2030-01-01T00:00:00Z"], false),
            ("DateLessThanEquals", &["2030-01-01"], &["soon"], false),
            ("IpAddress", &["10.0.0.0/8"], &["10.1.1.1"], true),
            ("NotIpAddress", &["10.0.0.0/8"], &["10.1.1.1"], false),
            ("NotIpAddress", &["10.0.0.0/8"], &["192.0.2.1"], true),
            ("ArnLike", &["arn:aws:iam::*:user/a*"], &["arn:aws:iam::1:user/ann"], true),
            ("ArnLike", &["arn:aws:*:user/ann:x:y"], &["arn:aws:iam::1:user/ann"], false),
            ("ArnEquals", &["*"], &["arn:aws:iam::1:user/ann"], true),
            ("ArnNotLike", &["arn:aws:iam::1:user/*"], &["arn:aws:iam::1:user/ann"], false),
            ("ForAnyValue:StringEquals", &["a", "b"], &["c", "b"], true),
            ("ForAnyValue:StringEquals", &["a"], &[], false),
            ("ForAnyValue:StringNotEquals", &["a"], &["a", "b"], true),
            ("ForAllValues:StringEquals", &["a", "b"], &["a", "b"], true),
            ("ForAllValues:StringEquals", &["a"], &["a", "b"], false),
            ("ForAllValues:StringEquals", &["a"], &[], true),
            ("ForAllValues:StringNotEquals", &["a"], &["b", "c"], true),
            ("ForAnyValue:StringEqualsIfExists", &["a"], &[], true),
        ];
        for (operator, ours, theirs, holds) in table {
            let values: Vec<String> = ours.iter().map(|v| (*v).to_owned()).collect();
            let condition = Condition::parse(operator, "s3:prefix", &values).unwrap();
            let found = condition.holds(&Fixed(theirs.to_vec()));
            assert_eq!(found, *holds, "{operator} {ours:?} of {theirs:?}");
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for (operator, key, value) in [
            ("StringMatches", "s3:prefix", "a"),
            ("BinaryEquals", "s3:prefix", "a"),
            ("NullIfExists", "s3:prefix", "true"),
            ("ForAnyValue:Null", "s3:prefix", "true"),
            ("ForSome:StringEquals", "s3:prefix", "a"),
            ("stringequals", "s3:prefix", "a"),
            ("IfExists", "s3:prefix", "a"),
            ("StringEquals", "s3:suffix", "a"),
            ("Bool", "aws:SecureTransport", "yes"),
            ("NumericEquals", "s3:max-keys", "1.5"),
            ("DateEquals", "aws:CurrentTime", "today"),
            ("IpAddress", "aws:SourceIp", "10.0.0.0/40"),
            ("ArnLike", "aws:PrincipalArn", "ann"),
        ] {
            let values = [value.to_owned()];
            assert!(Condition::parse(operator, key, &values).is_err(), "{operator} {key} {value}");
        }
    }

    #[test]
    fn few_conditions_make_a_policy_private() {
        for (operator, key, value, fixes) in [
            ("IpAddress", "aws:SourceIp", "10.0.0.0/32", true),
            ("IpAddress", "aws:SourceIp", "0.0.0.0/1", false),
            ("IpAddressIfExists", "aws:SourceIp", "10.0.0.0/32", false),
            ("NotIpAddress", "aws:SourceIp", "10.0.0.0/32", false),
            ("StringEquals", "aws:username", "ann", true),
            ("StringLike", "aws:username", "a*", false),
            ("StringNotEquals", "aws:username", "ann", false),
            ("ForAllValues:StringEquals", "aws:username", "ann", false),
            ("StringEquals", "aws:SourceVpce", "vpce-1", true),
            ("StringEquals", "aws:Referer", "https://example.org/", false),
            ("Null", "aws:username", "false", false),
        ] {
            let condition = Condition::parse(operator, key, &[value.to_owned()]).unwrap();
            assert_eq!(condition.fixes_the_source(), fixes, "{operator} {key} {value}");
        }
    }
}
