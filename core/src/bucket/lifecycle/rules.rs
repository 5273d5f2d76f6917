//! Lifecycle rules, and which of them S3 accepts.

use crate::bucket::Tags;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A bucket's lifecycle rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle(Vec<Rule>);

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its name, unique in the bucket; [`Lifecycle::new`] names those that come without.
    pub id: String,
    /// Whether it is in force.
    pub enabled: bool,
    /// What it is about.
    pub filter: Filter,
    /// What becomes of current versions.
    pub expiration: Option<Expiration>,
    /// What becomes of noncurrent versions.
    pub noncurrent: Option<NoncurrentExpiration>,
    /// Uploads that are not completed this many days after their begin are aborted.
    pub abort_uploads_after_days: Option<u32>,
}

/// What becomes of current versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expiration {
    /// They expire this many days after they were made. So do delete markers that are all that is
    /// left of an object.
    Days(u32),
    /// They expire from this moment on, in ms since the Unix epoch; a midnight in UTC.
    Date(u64),
    /// Delete markers go when they are all that is left of an object.
    ExpiredDeleteMarker,
}

/// What becomes of noncurrent versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoncurrentExpiration {
    /// They are deleted this many days after they ceased to be current.
    pub days: u32,
    /// But so many of the newest stay.
    pub keep_newest: Option<u32>,
}

/// What a rule is about: the objects for which all of this holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// How it was written, to give it back so.
    pub form: FilterForm,
    /// The key begins so.
    pub prefix: Option<String>,
    /// The object has all these tags.
    pub tags: Tags,
    /// The object is larger than this, in bytes.
    pub larger_than: Option<u64>,
    /// The object is smaller than this, in bytes.
    pub smaller_than: Option<u64>,
}

/// How a filter is written in S3's XML.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FilterForm {
    /// `<Filter>` with at most one criterion.
    #[default]
    Single,
    /// `<Filter><And>`.
    And,
    /// `<Prefix>` in the rule itself, as in the first version of the interface.
    Prefix,
}

impl Filter {
    /// Whether it selects an object.
    pub fn selects(&self, key: &str, size: u64, tags: &Tags) -> bool {
        self.selects_key(key)
            && self.larger_than.is_none_or(|limit| size > limit)
            && self.smaller_than.is_none_or(|limit| size < limit)
            && self.tags.iter().all(|(key, value)| tags.get(key) == Some(value))
    }

    /// Whether it selects what has neither size nor tags: an upload, a delete marker.
    pub fn selects_bare(&self, key: &str) -> bool {
        self.selects_key(key) && !self.asks_for_content()
    }

    /// Whether it asks for more than the key.
    pub fn asks_for_content(&self) -> bool {
        !self.tags.is_empty() || self.larger_than.is_some() || self.smaller_than.is_some()
    }

    fn selects_key(&self, key: &str) -> bool {
        self.prefix.as_deref().is_none_or(|prefix| key.starts_with(prefix))
    }
}

/// Why rules were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LifecycleError {
    /// No rules, or too many.
    #[error("there are {0} rules; there must be 1 to {max}", max = Lifecycle::MAX_RULES)]
    Count(usize),
    /// A rule that is wrong.
    #[error("rule {rule:?}: {problem}")]
    Rule {
        /// Its name; its number if it has none.
        rule: String,
        /// What is wrong with it.
        problem: Problem,
    },
}

/// What is wrong with a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The name is too long.
    #[error("its ID is longer than {max} characters", max = Rule::MAX_ID)]
    IdTooLong,
    /// Two rules have one name.
    #[error("another rule has the same ID")]
    IdTwice,
    /// It does nothing.
    #[error("it has no action")]
    NoAction,
    /// No days at all.
    #[error("days must be positive")]
    NoDays,
    /// Too few or too many versions to keep.
    #[error("the number of newer noncurrent versions must be between 1 and 100")]
    KeepNewest,
    /// A time of day.
    #[error("the date must be at midnight UTC")]
    NotMidnight,
    /// The two sizes leave nothing between them.
    #[error("ObjectSizeLessThan must be greater than ObjectSizeGreaterThan plus 1")]
    NoSize,
    /// Delete markers and uploads have neither tags nor sizes.
    #[error(
        "filters with tags or sizes cannot be combined with ExpiredObjectDeleteMarker or \
         AbortIncompleteMultipartUpload"
    )]
    NoContent,
}

impl Rule {
    /// The longest name, in characters (as in S3).
    pub const MAX_ID: usize = 255;

    fn problem(&self) -> Option<Problem> {
        let days = [
            self.noncurrent.map(|n| n.days),
            self.abort_uploads_after_days,
            match self.expiration {
                Some(Expiration::Days(days)) => Some(days),
                _ => None,
            },
        ];
        let bare = self.expiration == Some(Expiration::ExpiredDeleteMarker)
            || self.abort_uploads_after_days.is_some();
        let filter = &self.filter;
        if self.id.chars().count() > Self::MAX_ID {
            Some(Problem::IdTooLong)
        } else if self.expiration.is_none()
            && self.noncurrent.is_none()
            && self.abort_uploads_after_days.is_none()
        {
            Some(Problem::NoAction)
        } else if days.contains(&Some(0)) {
            Some(Problem::NoDays)
        } else if self
            .noncurrent
            .and_then(|n| n.keep_newest)
            .is_some_and(|keep| !(1..=100).contains(&keep))
        {
            Some(Problem::KeepNewest)
        } else if matches!(self.expiration, Some(Expiration::Date(date)) if date % super::plan::DAY_MS != 0)
        {
            Some(Problem::NotMidnight)
        } else if filter
            .smaller_than
            .is_some_and(|upper| upper <= filter.larger_than.map_or(0, |l| l.saturating_add(1)))
        {
            Some(Problem::NoSize)
        } else if bare && filter.asks_for_content() {
            Some(Problem::NoContent)
        } else {
            None
        }
    }
}

impl Lifecycle {
    /// The most rules a bucket may have (as in S3).
    pub const MAX_RULES: usize = 1000;

    /// Checks rules, and names those whose name is empty.
    ///
    /// # Errors
    /// [`LifecycleError`] with the rule and what is wrong with it.
    pub fn new(mut rules: Vec<Rule>) -> Result<Self, LifecycleError> {
        if !(1..=Self::MAX_RULES).contains(&rules.len()) {
            return Err(LifecycleError::Count(rules.len()));
        }
        let mut ids = BTreeSet::new();
        for (i, rule) in rules.iter().enumerate() {
            let twice = !rule.id.is_empty() && !ids.insert(rule.id.clone());
            if let Some(problem) = rule.problem().or(twice.then_some(Problem::IdTwice)) {
                let number = (i + 1).to_string();
                let rule = if rule.id.is_empty() { number } else { excerpt(&rule.id) };
                return Err(LifecycleError::Rule { rule, problem });
            }
        }
        let mut names = (1u32..).map(|n| format!("rule-{n}")).filter(|name| !ids.contains(name));
        for rule in rules.iter_mut().filter(|r| r.id.is_empty()) {
            rule.id = names.next().unwrap_or_default();
        }
        Ok(Self(rules))
    }

    /// The rules, in their order.
    pub fn rules(&self) -> &[Rule] {
        &self.0
    }

    /// The fewest prefixes that cover all keys that the rules in force are about, of those rules that
    /// are `asked` for; none begins with another.
    pub fn prefixes(&self, asked: impl Fn(&Rule) -> bool) -> Vec<&str> {
        let all: BTreeSet<&str> = self
            .enabled()
            .filter(|rule| asked(rule))
            .map(|rule| rule.filter.prefix.as_deref().unwrap_or_default())
            .collect();
        let mut fewest: Vec<&str> = Vec::new();
        for prefix in all {
            if !fewest.last().is_some_and(|shorter| prefix.starts_with(shorter)) {
                fewest.push(prefix);
            }
        }
        fewest
    }

    pub(super) fn enabled(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter().filter(|r| r.enabled)
    }
}

/// The beginning of a name that may be very long, for a message.
fn excerpt(id: &str) -> String {
    id.chars().take(Rule::MAX_ID).collect()
}
