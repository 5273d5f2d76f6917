//! One round over all buckets.

use super::command::{self, Kind, Seen};
use crate::catalog::CatalogHandle;
use crate::catalog::handle::Catalog;
use coffer_core::bucket::Lifecycle;
use coffer_core::bucket::lifecycle::{Clock, KeyPlan};
use coffer_core::catalog::{
    CatalogError, Command, Outcome, Scope, UploadEntry, UploadQuery, VersionEntry, VersionQuery,
};
use coffer_core::ids::{BucketName, ObjectKey};
use coffer_core::random::RandomUnavailable;
use futures::{StreamExt, stream};
use std::time::Duration;

/// Commands that are under way at the same time; the catalog's writer commits them in groups.
const IN_FLIGHT: usize = 64;

/// How fast a round goes: at most one page in each pause, so that clients come first.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Versions or uploads that are looked at in one step.
    pub page: usize,
    /// The time between two steps.
    pub pause: Duration,
}

impl Default for Pace {
    /// About 10,000 versions a second at most.
    fn default() -> Self {
        Self { page: 256, pause: Duration::from_millis(25) }
    }
}

/// What a round has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Done {
    /// Buckets that have rules.
    pub buckets: u64,
    /// Versions and uploads that were looked at.
    pub seen: u64,
    /// Objects that expired.
    pub expired: u64,
    /// Noncurrent versions that were deleted.
    pub noncurrent: u64,
    /// Delete markers that were removed because nothing was left below them.
    pub markers: u64,
    /// Uploads that were aborted.
    pub uploads: u64,
    /// Versions that were due, but are protected by Object Lock.
    pub locked: u64,
    /// What was due, but had been changed by someone meanwhile.
    pub overtaken: u64,
}

impl Done {
    /// How much has changed.
    pub fn changes(&self) -> u64 {
        self.expired + self.noncurrent + self.markers + self.uploads
    }
}

/// Why a round, or a bucket's turn in it, broke off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoundError {
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// No id for a delete marker.
    #[error(transparent)]
    Random(#[from] RandomUnavailable),
}

/// Goes through all buckets once. A bucket that can't be read does not keep the others waiting.
///
/// # Errors
/// When the catalog takes no commands any more.
pub async fn run_once(
    catalog: &CatalogHandle,
    clock: Clock,
    pace: Pace,
) -> Result<Done, RoundError> {
    let mut round = Round { catalog, clock, pace, done: Done::default() };
    for (bucket, record) in catalog.read(Scope::Hidden, |c| c.buckets()).await? {
        let Some(rules) = record.settings.lifecycle else { continue };
        round.done.buckets += 1;
        match round.turn(&bucket, &rules).await {
            // Deleted meanwhile.
            Ok(()) | Err(RoundError::Catalog(CatalogError::NoSuchBucket)) => {}
            Err(
                error
                @ RoundError::Catalog(CatalogError::Unavailable(_) | CatalogError::Stopped(_)),
            ) => return Err(error),
            Err(error) => tracing::warn!(%bucket, %error, "lifecycle: the bucket is left for now"),
        }
    }
    Ok(round.done)
}

struct Round<'a> {
    catalog: &'a CatalogHandle,
    clock: Clock,
    pace: Pace,
    done: Done,
}

/// The key whose versions are being read; they may go on on the next page.
struct Reading<'a> {
    key: ObjectKey,
    plan: KeyPlan<'a>,
    last: Seen,
}

impl Round<'_> {
    /// A bucket's turn. It ends early when the bucket's rules change.
    async fn turn(&mut self, bucket: &BucketName, rules: &Lifecycle) -> Result<(), RoundError> {
        for prefix in rules.prefixes(|r| r.expiration.is_some() || r.noncurrent.is_some()) {
            self.versions(bucket, rules, prefix).await?;
        }
        for prefix in rules.prefixes(|r| r.abort_uploads_after_days.is_some()) {
            self.uploads(bucket, rules, prefix).await?;
        }
        Ok(())
    }

    async fn versions(
        &mut self,
        bucket: &BucketName,
        rules: &Lifecycle,
        prefix: &str,
    ) -> Result<(), RoundError> {
        let (prefix, limit) = (prefix.to_owned(), self.pace.page);
        let mut query = VersionQuery { prefix, limit, ..VersionQuery::default() };
        let mut reading: Option<Reading<'_>> = None;
        loop {
            let asked = query.clone();
            let list = move |c: &Catalog, b: &BucketName| c.list_versions(b, &asked);
            let Some(page) = self.page(bucket, rules, list).await? else { return Ok(()) };
            let mut due = Vec::new();
            for entry in page.entries {
                let VersionEntry::Version { key, version, .. } = entry else { continue };
                self.done.seen += 1;
                let seen = Seen::of(&version);
                let mut current = match reading.take() {
                    Some(current) if current.key == key => Reading { last: seen, ..current },
                    complete => {
                        self.finish(bucket, complete, &mut due)?;
                        let plan = KeyPlan::new(rules, key.as_str(), self.clock);
                        Reading { key, plan, last: seen }
                    }
                };
                if let Some(action) = current.plan.next(&command::described(&version)) {
                    let (seen, now_ms) = (current.last.clone(), self.clock.now_ms);
                    due.push(seen.command(action, bucket, &current.key, now_ms)?);
                }
                reading = Some(current);
            }
            if page.next.is_none() {
                self.finish(bucket, reading.take(), &mut due)?;
            }
            self.submit(due).await?;
            query.after = page.next;
            if query.after.is_none() {
                return Ok(());
            }
        }
    }

    /// All versions of a key have been read.
    fn finish(
        &self,
        bucket: &BucketName,
        complete: Option<Reading<'_>>,
        due: &mut Vec<(Kind, Command)>,
    ) -> Result<(), RoundError> {
        let Some(Reading { key, plan, last }) = complete else { return Ok(()) };
        if let Some(action) = plan.finish() {
            due.push(last.command(action, bucket, &key, self.clock.now_ms)?);
        }
        Ok(())
    }

    async fn uploads(
        &mut self,
        bucket: &BucketName,
        rules: &Lifecycle,
        prefix: &str,
    ) -> Result<(), RoundError> {
        let (prefix, limit) = (prefix.to_owned(), self.pace.page);
        let mut query = UploadQuery { prefix, limit, ..UploadQuery::default() };
        loop {
            let asked = query.clone();
            let list = move |c: &Catalog, b: &BucketName| c.list_uploads(b, &asked);
            let Some(page) = self.page(bucket, rules, list).await? else { return Ok(()) };
            let mut due = Vec::new();
            for entry in page.entries {
                let UploadEntry::Upload { key, upload, record } = entry else { continue };
                self.done.seen += 1;
                if rules.upload_is_due(key.as_str(), record.initiated_ms, self.clock) {
                    due.push(command::abort(bucket, key, upload, self.clock.now_ms));
                }
            }
            self.submit(due).await?;
            query.after = page.next;
            if query.after.is_none() {
                return Ok(());
            }
        }
    }

    /// One step's page; `None` if the rules are not in force any more.
    async fn page<T: Send + 'static>(
        &self,
        bucket: &BucketName,
        rules: &Lifecycle,
        list: impl FnOnce(&Catalog, &BucketName) -> Result<T, CatalogError> + Send + 'static,
    ) -> Result<Option<T>, CatalogError> {
        tokio::time::sleep(self.pace.pause).await;
        let both = move |c: &Catalog, b: &BucketName| Ok((list(c, b)?, c.bucket(b)?));
        let (page, record) = self.catalog.list(bucket.clone(), both).await?;
        Ok((record.settings.lifecycle.as_ref() == Some(rules)).then_some(page))
    }

    async fn submit(&mut self, due: Vec<(Kind, Command)>) -> Result<(), CatalogError> {
        let catalog = self.catalog;
        let mut answers = stream::iter(due)
            .map(|(kind, command)| async move { (kind, catalog.submit(command).await) })
            .buffer_unordered(IN_FLIGHT);
        let done = &mut self.done;
        while let Some((kind, answer)) = answers.next().await {
            let count = match answer {
                Ok(Outcome::Deleted { existed: false, .. })
                | Err(
                    CatalogError::PreconditionFailed
                    | CatalogError::NoSuchKey
                    | CatalogError::NoSuchUpload(_),
                ) => &mut done.overtaken,
                Err(CatalogError::Locked(_)) => &mut done.locked,
                Err(error) => return Err(error),
                Ok(_) => match kind {
                    Kind::Expire => &mut done.expired,
                    Kind::Noncurrent => &mut done.noncurrent,
                    Kind::Marker => &mut done.markers,
                    Kind::Upload => &mut done.uploads,
                },
            };
            *count += 1;
        }
        Ok(())
    }
}
