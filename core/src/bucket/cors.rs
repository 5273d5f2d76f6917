//! Cross-origin resource sharing: which web pages may read what a browser gets from a bucket.
//!
//! Source: Fetch standard, "CORS protocol"; Amazon S3 User Guide, "Using cross-origin resource
//! sharing". The first rule that fits answers.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Why rules were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CorsError {
    /// No rules, or too many.
    #[error("there are {0} rules; there must be 1 to {max}", max = Cors::MAX_RULES)]
    Count(usize),
    /// A method that CORS rules do not have.
    #[error("{0:?} is not a method for CORS; use GET, PUT, POST, DELETE or HEAD")]
    Method(String),
    /// A rule that is wrong.
    #[error("rule {number}: {why}")]
    Rule {
        /// Which rule, from 1.
        number: usize,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// The rules of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cors(Vec<CorsRule>);

/// One rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorsRule {
    /// Its name, at most 255 characters.
    pub id: Option<String>,
    /// Origins, each with at most one `*`.
    pub origins: Vec<String>,
    /// Methods.
    pub methods: Vec<CorsMethod>,
    /// Headers that a request may carry, each with at most one `*`; their case does not count.
    pub headers: Vec<String>,
    /// Headers of the response that pages may read.
    pub expose: Vec<String>,
    /// For how many seconds a browser may remember the answer.
    pub max_age_s: Option<u32>,
}

/// A method that rules can allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CorsMethod {
    /// `GET`.
    Get,
    /// `PUT`.
    Put,
    /// `POST`.
    Post,
    /// `DELETE`.
    Delete,
    /// `HEAD`.
    Head,
}

impl CorsMethod {
    const ALL: [Self; 5] = [Self::Get, Self::Put, Self::Post, Self::Delete, Self::Head];

    /// The method as HTTP writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
            Self::Head => "HEAD",
        }
    }
}

impl fmt::Display for CorsMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CorsMethod {
    type Err = CorsError;

    fn from_str(s: &str) -> Result<Self, CorsError> {
        let found = Self::ALL.into_iter().find(|m| m.as_str() == s);
        found.ok_or_else(|| CorsError::Method(s.chars().take(32).collect()))
    }
}

/// What a browser is told, as values of the response's headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorsAnswer {
    /// `Access-Control-Allow-Origin`: the origin, or `*`.
    pub allow_origin: String,
    /// `Access-Control-Allow-Credentials: true`; never together with `*`.
    pub allow_credentials: bool,
    /// `Access-Control-Allow-Methods`.
    pub allow_methods: String,
    /// `Access-Control-Allow-Headers`, if the browser asked for some.
    pub allow_headers: Option<String>,
    /// `Access-Control-Expose-Headers`.
    pub expose_headers: Option<String>,
    /// `Access-Control-Max-Age`, in seconds.
    pub max_age_s: Option<u32>,
}

impl Cors {
    /// The most rules a bucket may have (as in S3).
    pub const MAX_RULES: usize = 100;

    /// Checks rules.
    ///
    /// # Errors
    /// [`CorsError`] with the rule and what is wrong with it.
    pub fn new(rules: Vec<CorsRule>) -> Result<Self, CorsError> {
        if !(1..=Self::MAX_RULES).contains(&rules.len()) {
            return Err(CorsError::Count(rules.len()));
        }
        for (i, rule) in rules.iter().enumerate() {
            if let Some(why) = rule.flaw() {
                return Err(CorsError::Rule { number: i + 1, why });
            }
        }
        Ok(Self(rules))
    }

    /// The rules, in their order.
    pub fn rules(&self) -> &[CorsRule] {
        &self.0
    }

    /// Answers a preflight request (`OPTIONS`) from `origin`, which asks whether a request with
    /// this method and these headers would be allowed. `None`: it would not.
    pub fn preflight(
        &self,
        origin: &str,
        method: CorsMethod,
        headers: &[&str],
    ) -> Option<CorsAnswer> {
        self.0
            .iter()
            .find(|r| r.allows(origin, method) && headers.iter().all(|h| r.allows_header(h)))
            .map(|r| r.answer(origin, headers))
    }

    /// What to tell a browser with the response to a request itself. `None`: nothing, so that it
    /// keeps the response from the page.
    pub fn actual(&self, origin: &str, method: CorsMethod) -> Option<CorsAnswer> {
        self.0.iter().find(|r| r.allows(origin, method)).map(|r| r.answer(origin, &[]))
    }
}

impl CorsRule {
    fn flaw(&self) -> Option<&'static str> {
        let stars = |s: &String| s.matches('*').count() > 1;
        // They become headers of responses.
        let unfit = |s: &String| s.is_empty() || s.chars().any(|c| c.is_control());
        if self.id.as_ref().is_some_and(|id| id.chars().count() > 255) {
            Some("its ID is longer than 255 characters")
        } else if self.origins.is_empty() {
            Some("it allows no origin")
        } else if self.methods.is_empty() {
            Some("it allows no method")
        } else if self.origins.iter().any(stars) {
            Some("an allowed origin has more than one *")
        } else if self.headers.iter().any(stars) {
            Some("an allowed header has more than one *")
        } else if self.expose.iter().any(|h| h.contains('*')) {
            Some("an exposed header has a *")
        } else if self.origins.iter().chain(&self.headers).chain(&self.expose).any(unfit) {
            Some("an origin or a header is empty or has a control character")
        } else {
            None
        }
    }

    fn allows(&self, origin: &str, method: CorsMethod) -> bool {
        self.methods.contains(&method) && self.origins.iter().any(|o| fits(o, origin))
    }

    fn allows_header(&self, header: &str) -> bool {
        let header = header.to_ascii_lowercase();
        self.headers.iter().any(|h| fits(&h.to_ascii_lowercase(), &header))
    }

    fn answer(&self, origin: &str, headers: &[&str]) -> CorsAnswer {
        let any = self.origins.iter().any(|o| o == "*");
        let list = |items: &[&str]| (!items.is_empty()).then(|| items.join(", "));
        let methods: Vec<_> = self.methods.iter().map(|m| m.as_str()).collect();
        let expose: Vec<_> = self.expose.iter().map(String::as_str).collect();
        CorsAnswer {
            allow_origin: if any { "*".to_owned() } else { origin.to_owned() },
            allow_credentials: !any,
            allow_methods: methods.join(", "),
            allow_headers: list(headers).map(|h| h.to_ascii_lowercase()),
            expose_headers: list(&expose),
            max_age_s: self.max_age_s,
        }
    }
}

/// Whether `pattern`, with at most one `*`, matches all of `text`.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => {
            text.strip_prefix(before).is_some_and(|rest| rest.ends_with(after))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CorsMethod::{Delete, Get, Put};
    use proptest::prelude::*;

    fn rule(origins: &[&str], methods: &[CorsMethod]) -> CorsRule {
        CorsRule {
            origins: origins.iter().map(|o| (*o).to_owned()).collect(),
            methods: methods.to_vec(),
            ..CorsRule::default()
        }
    }

    #[test]
    fn the_first_rule_that_fits_answers() {
        let wide = CorsRule {
            headers: vec!["X-Amz-*".into(), "content-type".into()],
            expose: vec!["ETag".into(), "x-amz-request-id".into()],
            max_age_s: Some(60),
            ..rule(&["https://*.example.org", "start*end"], &[Get, Put])
        };
        let cors = Cors::new(vec![wide, rule(&["*"], &[Get])]).unwrap();

        let origin = "https://a.example.org";
        let headers = ["x-amz-Date", "Content-Type"];
        assert_eq!(
            cors.preflight(origin, Put, &headers),
            Some(CorsAnswer {
                allow_origin: origin.into(),
                allow_credentials: true,
                allow_methods: "GET, PUT".into(),
                allow_headers: Some("x-amz-date, content-type".into()),
                expose_headers: Some("ETag, x-amz-request-id".into()),
                max_age_s: Some(60),
            })
        );
        // The first rule does not allow the header, the second no headers at all.
        assert_eq!(cors.preflight(origin, Get, &["authorization"]), None);
        assert_eq!(cors.preflight(origin, Delete, &[]), None);
        assert_eq!(cors.preflight("https://example.com", Put, &[]), None);

        let anyone = cors.actual("https://example.com", Get).unwrap();
        assert_eq!((anyone.allow_origin.as_str(), anyone.allow_credentials), ("*", false));
        assert_eq!(cors.actual("startend", Put).unwrap().allow_origin, "startend");
        assert_eq!(cors.actual("0startend", Put), None);
        assert_eq!(cors.actual("staend", Put), None, "the ends must not overlap");
    }

    #[test]
    fn rules_have_limits() {
        assert_eq!(Cors::new(vec![]), Err(CorsError::Count(0)));
        assert!(Cors::new(vec![rule(&["*"], &[Get]); 100]).is_ok());
        assert_eq!(Cors::new(vec![rule(&["*"], &[Get]); 101]), Err(CorsError::Count(101)));
        let good = || rule(&["*"], &[Get]);
        for bad in [
            rule(&[], &[Get]),
            rule(&["*"], &[]),
            rule(&["*.*"], &[Get]),
            rule(&[""], &[Get]),
            rule(&["a\r\nb"], &[Get]),
            CorsRule { headers: vec!["**".into()], ..good() },
            CorsRule { expose: vec!["x-*".into()], ..good() },
            CorsRule { id: Some("x".repeat(256)), ..good() },
        ] {
            let error = Cors::new(vec![good(), bad]).unwrap_err();
            assert!(matches!(error, CorsError::Rule { number: 2, .. }), "{error}");
        }
        assert!("PATCH".parse::<CorsMethod>().is_err());
        assert!("get".parse::<CorsMethod>().is_err());
        for method in CorsMethod::ALL {
            assert_eq!(method.as_str().parse(), Ok(method));
        }
    }

    proptest! {
        #[test]
        fn an_origin_is_only_told_what_it_may(origin in "[ab]{0,4}", pattern in "[ab]{0,2}\\*?[ab]{1,2}") {
            let cors = Cors::new(vec![rule(&[&pattern], &[Get])]).unwrap();
            let allowed = match pattern.split_once('*') {
                None => origin == pattern,
                Some((b, a)) => {
                    origin.len() >= b.len() + a.len() && origin.starts_with(b) && origin.ends_with(a)
                }
            };
            prop_assert_eq!(cors.actual(&origin, Get).is_some(), allowed);
            prop_assert_eq!(cors.preflight(&origin, Get, &[]).is_some(), allowed);
        }
    }
}
