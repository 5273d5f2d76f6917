//! What the rules decide.

use super::rules::{Expiration, Lifecycle};
use crate::bucket::Tags;

/// The length of a real day, in ms.
pub const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The time, and how long a day is taken to be. Tests that cannot wait for days shorten them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Now, in ms since the Unix epoch.
    pub now_ms: u64,
    /// A day, in ms; [`DAY_MS`] unless in tests.
    pub day_ms: u64,
}

impl Clock {
    /// When what happened at `since_ms` is `days` old: in S3 at the first midnight in UTC from then
    /// on.
    fn after(&self, since_ms: u64, days: u32) -> u64 {
        let due = since_ms.saturating_add(u64::from(days).saturating_mul(self.day_ms));
        if self.day_ms == DAY_MS { due.div_ceil(DAY_MS).saturating_mul(DAY_MS) } else { due }
    }

    fn is_past(&self, moment_ms: u64) -> bool {
        self.now_ms >= moment_ms
    }
}

/// A version of an object, as far as lifecycle rules ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyVersion<'a> {
    /// When it was made, in ms since the Unix epoch.
    pub modified_ms: u64,
    /// What it is.
    pub kind: VersionKind<'a>,
}

/// What a version is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionKind<'a> {
    /// An object.
    Object {
        /// Bytes of plaintext.
        size: u64,
        /// Its tags.
        tags: &'a Tags,
    },
    /// A delete marker.
    DeleteMarker,
}

/// What is to be done to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Delete the current object, as a request without a version id does: in a bucket with
    /// versioning a delete marker becomes current, in one without the object is gone.
    ExpireCurrent,
    /// Delete a noncurrent version for good: which one, as an index into the versions.
    DeleteNoncurrent(usize),
    /// Delete the delete marker that is all that is left.
    RemoveDeleteMarker,
}

/// Decides about a key's versions as they are read, newest first: there may be any number of them.
#[derive(Debug, Clone)]
pub struct KeyPlan<'a> {
    rules: &'a Lifecycle,
    key: String,
    clock: Clock,
    seen: usize,
    /// When the version that was seen last was made: then the next one ceased to be current.
    since_ms: u64,
    /// Noncurrent objects that were seen.
    newer: u32,
    /// What is due if no older version follows.
    at_end: Option<Action>,
}

impl<'a> KeyPlan<'a> {
    /// A plan for a key, none of whose versions has been seen.
    pub fn new(rules: &'a Lifecycle, key: impl Into<String>, clock: Clock) -> Self {
        let key = key.into();
        Self { rules, key, clock, seen: 0, since_ms: 0, newer: 0, at_end: None }
    }

    /// What is due for the next older version.
    pub fn next(&mut self, version: &KeyVersion<'_>) -> Option<Action> {
        let (index, clock) = (self.seen, self.clock);
        self.seen += 1;
        let since_ms = std::mem::replace(&mut self.since_ms, version.modified_ms);
        self.at_end = None;
        if index > 0 {
            let due = self.rules.noncurrent_is_due(&self.key, version, since_ms, self.newer, clock);
            if matches!(version.kind, VersionKind::Object { .. }) {
                self.newer = self.newer.saturating_add(1);
            }
            return due.then_some(Action::DeleteNoncurrent(index));
        }
        match version.kind {
            VersionKind::Object { size, tags } => {
                let made = version.modified_ms;
                let due = self.rules.expiry(&self.key, size, tags, made, clock.day_ms);
                due.is_some_and(|(due, _)| clock.is_past(due)).then_some(Action::ExpireCurrent)
            }
            VersionKind::DeleteMarker => {
                let due = self.rules.marker_is_due(&self.key, version.modified_ms, clock);
                self.at_end = due.then_some(Action::RemoveDeleteMarker);
                None
            }
        }
    }

    /// What is due now that all versions have been seen.
    pub fn finish(self) -> Option<Action> {
        self.at_end
    }
}

impl Lifecycle {
    /// What is due for a key, all of whose versions are given, newest first.
    pub fn plan(&self, key: &str, versions: &[KeyVersion<'_>], clock: Clock) -> Vec<Action> {
        let mut plan = KeyPlan::new(self, key, clock);
        let mut actions: Vec<_> = versions.iter().filter_map(|v| plan.next(v)).collect();
        actions.extend(plan.finish());
        actions
    }

    /// When a current object will expire, in ms since the Unix epoch, and by which rule: what the
    /// header `x-amz-expiration` says.
    pub fn expiry(
        &self,
        key: &str,
        size: u64,
        tags: &Tags,
        modified_ms: u64,
        day_ms: u64,
    ) -> Option<(u64, &str)> {
        let clock = Clock { now_ms: 0, day_ms };
        self.enabled()
            .filter(|rule| rule.filter.selects(key, size, tags))
            .filter_map(|rule| match rule.expiration? {
                Expiration::Days(days) => Some((clock.after(modified_ms, days), rule.id.as_str())),
                Expiration::Date(date) => Some((date, rule.id.as_str())),
                Expiration::ExpiredDeleteMarker => None,
            })
            .min_by_key(|(due, _)| *due)
    }

    /// Whether an upload that was begun at `initiated_ms` is to be aborted.
    pub fn upload_is_due(&self, key: &str, initiated_ms: u64, clock: Clock) -> bool {
        self.abort(key, initiated_ms, clock.day_ms).is_some_and(|(due, _)| clock.is_past(due))
    }

    /// When an upload will be aborted, in ms since the Unix epoch, and by which rule: what the
    /// headers `x-amz-abort-date` and `x-amz-abort-rule-id` say.
    pub fn abort(&self, key: &str, initiated_ms: u64, day_ms: u64) -> Option<(u64, &str)> {
        let clock = Clock { now_ms: 0, day_ms };
        self.enabled()
            .filter(|rule| rule.filter.selects_bare(key))
            .filter_map(|rule| {
                let days = rule.abort_uploads_after_days?;
                Some((clock.after(initiated_ms, days), rule.id.as_str()))
            })
            .min_by_key(|(due, _)| *due)
    }

    fn marker_is_due(&self, key: &str, modified_ms: u64, clock: Clock) -> bool {
        self.enabled().filter(|rule| rule.filter.selects_bare(key)).any(|rule| {
            match rule.expiration {
                Some(Expiration::ExpiredDeleteMarker) => true,
                Some(Expiration::Days(days)) => clock.is_past(clock.after(modified_ms, days)),
                Some(Expiration::Date(_)) | None => false,
            }
        })
    }

    /// `newer`: how many noncurrent objects are newer than this version.
    fn noncurrent_is_due(
        &self,
        key: &str,
        version: &KeyVersion<'_>,
        since_ms: u64,
        newer: u32,
        clock: Clock,
    ) -> bool {
        self.enabled().any(|rule| {
            let selected = match version.kind {
                VersionKind::Object { size, tags } => rule.filter.selects(key, size, tags),
                VersionKind::DeleteMarker => rule.filter.selects_bare(key),
            };
            selected
                && rule.noncurrent.is_some_and(|n| {
                    newer >= n.keep_newest.unwrap_or(0)
                        && clock.is_past(clock.after(since_ms, n.days))
                })
        })
    }
}
