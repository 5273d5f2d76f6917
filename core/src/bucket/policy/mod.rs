//! Bucket policies: the subset of IAM's JSON policy language that makes sense for buckets.
//!
//! A policy is read once, when it is set, to typed statements; both are stored, the text to give
//! it back as it came. What is not understood is refused then, and never ignored: a condition that
//! is skipped would open what it was to close. Source of the language and its semantics: AWS IAM
//! User Guide, "IAM JSON policy elements" and "Policy evaluation logic"; of [`Policy::is_public`]:
//! Amazon S3 User Guide, "The meaning of public".
//!
//! | module | what |
//! |---|---|
//! | [`principal`] | whom statements are about |
//! | [`actions`] | what can be done |
//! | [`condition`], [`operators`], [`values`] | what must hold of a request |
//! | [`keys`] | what conditions can ask for |
//! | `parse`, `json` | from text to statements |
//! | `wildcard` | `*` and `?` |
//!
//! Not supported: policy variables (`${aws:username}`), principals of services and of identity
//! providers, binary conditions.

pub mod actions;
pub mod condition;
mod json;
pub mod keys;
pub mod operators;
mod parse;
pub mod principal;
#[cfg(test)]
mod tests;
pub mod values;
mod wildcard;

pub use keys::{Context, Key};
pub use principal::{Caller, Principal, user_arn};

use crate::ids::BucketName;
use actions::ActionPattern;
use condition::Condition;
use principal::Principals;
use serde::{Deserialize, Serialize};

/// Why a policy was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The text is longer than [`Policy::MAX_LEN`].
    #[error("the policy has {0} bytes; at most {max} are allowed", max = Policy::MAX_LEN)]
    TooLong(usize),
    /// The text is not JSON.
    #[error("the policy is not valid JSON: {0}")]
    Json(String),
    /// It is JSON, but not a policy that we understand.
    #[error("{place}: {why}")]
    Malformed {
        /// Where in the policy.
        place: String,
        /// What is wrong there, and how to put it right.
        why: String,
    },
}

/// A bucket's policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    text: String,
    statements: Vec<Statement>,
}

/// What a statement does to the requests that it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// They may.
    Allow,
    /// They may not, whatever else says that they may.
    Deny,
}

/// One statement of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// Its name, if it has one.
    pub sid: Option<String>,
    /// What it does.
    pub effect: Effect,
    /// Who has to ask.
    pub principals: Principals,
    /// For what.
    pub actions: Selection<ActionPattern>,
    /// On what.
    pub resources: Selection<ResourcePattern>,
    /// What else must hold; all of it.
    pub conditions: Vec<Condition>,
}

/// What a statement selects by patterns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Selection<T> {
    /// `Action`, `Resource`: what one of these matches.
    These(Vec<T>),
    /// `NotAction`, `NotResource`: all that none of these matches.
    AllBut(Vec<T>),
}

impl<T> Selection<T> {
    fn includes(&self, matches: impl Fn(&T) -> bool) -> bool {
        match self {
            Self::These(list) => list.iter().any(matches),
            Self::AllBut(list) => !list.iter().any(matches),
        }
    }
}

/// A pattern of resources, without `arn:aws:s3:::` in front: `bucket`, `bucket/key`, `bucket/a/*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ResourcePattern(String);

/// What a policy says to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// A statement allows it, and none denies it.
    Allow,
    /// A statement denies it.
    Deny,
    /// No statement is about it.
    NoOpinion,
}

/// A request to be judged.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Who asks.
    pub caller: Caller<'a>,
    /// The action, such as `s3:GetObject`.
    pub action: &'a str,
    /// The bucket.
    pub bucket: &'a BucketName,
    /// The object's key, if it is about an object.
    pub key: Option<&'a str>,
    /// What else is known of it.
    pub context: &'a dyn Context,
}

impl Policy {
    /// The longest policy, in bytes (as in S3).
    pub const MAX_LEN: usize = 20 * 1024;

    /// Reads a policy for a bucket.
    ///
    /// # Errors
    /// [`PolicyError`]: what is wrong, and where.
    pub fn parse(text: &str, bucket: &BucketName) -> Result<Self, PolicyError> {
        if text.len() > Self::MAX_LEN {
            return Err(PolicyError::TooLong(text.len()));
        }
        Ok(Self { text: text.to_owned(), statements: parse::statements(text, bucket)? })
    }

    /// The text that the policy was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The statements.
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// Judges a request: one statement that denies outweighs all that allow.
    pub fn evaluate(&self, request: &Request<'_>) -> Decision {
        let resource = match request.key {
            Some(key) => format!("{}/{key}", request.bucket),
            None => request.bucket.to_string(),
        };
        let mut decision = Decision::NoOpinion;
        for statement in &self.statements {
            if statement.is_about(request, &resource) {
                match statement.effect {
                    Effect::Deny => return Decision::Deny,
                    Effect::Allow => decision = Decision::Allow,
                }
            }
        }
        decision
    }

    /// Whether S3 calls the policy public: it allows something to everyone, without a condition
    /// that ties it to certain callers or networks.
    pub fn is_public(&self) -> bool {
        self.statements.iter().any(|s| {
            let everyone = match &s.principals {
                Principals::These(list) => list.contains(&Principal::Everyone),
                Principals::AllBut(_) => true,
            };
            s.effect == Effect::Allow
                && everyone
                && !s.conditions.iter().any(Condition::fixes_the_source)
        })
    }

    /// Whether a condition asks for tags that the object has, so that they must be looked up.
    pub fn asks_for_existing_tags(&self) -> bool {
        self.statements
            .iter()
            .any(|s| s.conditions.iter().any(|c| matches!(c.key, Key::ExistingTag(_))))
    }
}

impl Statement {
    fn is_about(&self, request: &Request<'_>, resource: &str) -> bool {
        self.principals.include(request.caller)
            && self.actions.includes(|a| a.matches(request.action))
            && self.resources.includes(|r| wildcard::matches(&r.0, resource))
            && self.conditions.iter().all(|c| c.holds(request.context))
    }
}
