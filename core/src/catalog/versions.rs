//! Objects and their versions.
//!
//! The current version of an object stands in [`Table::Objects`], unless it is a delete marker; all
//! others stand in [`Table::Versions`], the newest first. A key without a row in `Objects` therefore
//! has a delete marker as its newest version, or no version at all. Each version is in one table
//! only: replacing an object moves its old version to `Versions`, and deleting the newest version
//! moves the one before it back.

use super::CatalogError;
use super::command::{Amendment, Outcome, Precondition};
use super::kv::{Kv, KvError, Table};
use super::machine::Machine;
use super::records::{
    self, BlobOwner, DeleteMarker, Lock, ObjectRecord, ObjectVersion, Place, VersionRecord,
    VersionState,
};
use super::transaction::Transaction;
use crate::bucket::{LockMode, Retention, Versioning};
use crate::ids::{BucketName, ObjectKey, VersionId, VersionName};
use crate::manifest::Manifest;

/// Versions of a key that are searched for one by its id.
const NEWEST: usize = 1000;

/// Changes.
impl<K: Kv> Machine<K> {
    /// Makes `record` the current version and commits.
    pub(super) fn replace(
        &self,
        mut txn: Transaction<'_, K>,
        key: &ObjectKey,
        mut record: ObjectRecord,
        manifest: &Manifest,
        preconditions: &[Precondition],
    ) -> Result<Outcome, CatalogError> {
        let bucket = txn.bucket;
        let current = self.current(bucket, key)?;
        check_all(preconditions, current.as_ref().map(|c| &c.record))?;
        txn.require_lockable(&record.lock)?;
        if record.lock.retention.is_none() {
            let default = txn.settings().object_lock.as_ref().and_then(|lock| lock.default);
            record.lock.retention = default.map(|d| d.of_object(record.modified_ms));
        }
        let place = self.next_place(&txn, key, current.as_ref())?;
        self.step_back(&mut txn, key, current)?;
        let version = ObjectVersion { place, record };
        let id = version.record.version.as_bytes().to_vec();
        txn.put(Table::Objects, records::object_key(bucket, key), &version)?;
        let owner = BlobOwner::Version {
            bucket: bucket.clone(),
            key: key.clone(),
            version: version.record.version,
        };
        for part in &manifest.parts {
            txn.claim(part, &owner)?;
        }
        txn.put(Table::Manifests, id, manifest)?;
        txn.count_version(version.record.size);
        let outcome = Outcome::Committed {
            etag: version.record.etag,
            size: version.record.size,
            version: (!place.null).then(|| version.name()),
        };
        txn.commit().map(|()| outcome)
    }

    pub(super) fn delete_object(
        &self,
        mut txn: Transaction<'_, K>,
        key: &ObjectKey,
        preconditions: &[Precondition],
        marker: VersionId,
    ) -> Result<Outcome, CatalogError> {
        let bucket = txn.bucket;
        let current = self.current(bucket, key)?;
        let existed = current.is_some();
        let mut made_marker = None;
        match &current {
            Some(current) => check_all(preconditions, Some(&current.record))?,
            None if preconditions.is_empty() => {}
            // A condition on nothing: there is nothing to delete. A delete marker meets none.
            None if !txn.keeps_versions() || self.newest_filed(bucket, key, None)?.is_none() => {
                return Ok(Outcome::Deleted { existed, made_marker, was_marker: false });
            }
            None => return Err(CatalogError::PreconditionFailed),
        }
        if txn.keeps_versions() {
            let place = self.next_place(&txn, key, current.as_ref())?;
            self.step_back(&mut txn, key, current)?;
            let marker = DeleteMarker { version: marker, modified_ms: txn.at_ms() };
            let record = VersionRecord { place, state: VersionState::Marker(marker) };
            made_marker = Some(record.name());
            txn.file_version(key, &record)?;
        } else {
            self.step_back(&mut txn, key, current)?;
        }
        txn.remove(Table::Objects, records::object_key(bucket, key));
        txn.commit().map(|()| Outcome::Deleted { existed, made_marker, was_marker: false })
    }

    pub(super) fn delete_version(
        &self,
        mut txn: Transaction<'_, K>,
        key: &ObjectKey,
        name: VersionName,
        preconditions: &[Precondition],
        bypass: bool,
    ) -> Result<Outcome, CatalogError> {
        let bucket = txn.bucket;
        let current = self.current(bucket, key)?;
        let is_current = current.as_ref().is_some_and(|c| c.name() == name);
        let doomed = match &current {
            Some(current) if is_current => Some(VersionRecord::from(current.clone())),
            _ => self.filed_version(bucket, key, name)?,
        };
        let object = doomed.as_ref().and_then(|d| match &d.state {
            VersionState::Object(record) => Some(&**record),
            VersionState::Marker(_) => None,
        });
        let Some(doomed) = &doomed else {
            return Ok(Outcome::Deleted { existed: false, made_marker: None, was_marker: false });
        };
        for precondition in preconditions {
            match (precondition, &doomed.state) {
                (Precondition::Noncurrent, _) => {
                    let newest = self.newest_filed(bucket, key, None)?;
                    let filed_first = newest.is_some_and(|v| v.place == doomed.place);
                    if is_current || (current.is_none() && filed_first) {
                        return Err(CatalogError::PreconditionFailed);
                    }
                }
                (Precondition::Version(id), VersionState::Marker(m)) if *id == m.version => {}
                // A delete marker meets no other condition.
                (_, VersionState::Marker(_)) => return Err(CatalogError::PreconditionFailed),
                (condition, VersionState::Object(object)) => condition.check(Some(object))?,
            }
        }
        if let Some(object) = object {
            allow_deletion(&object.lock, txn.at_ms(), bypass)?;
            txn.discard_version(object.version)?;
        }
        if is_current {
            txn.remove(Table::Objects, records::object_key(bucket, key));
        } else {
            txn.unfile_version(key, doomed.place);
        }
        if is_current || current.is_none() {
            self.promote(&mut txn, key, doomed.place)?;
        }
        let was_marker = object.is_none();
        txn.commit().map(|()| Outcome::Deleted { existed: true, made_marker: None, was_marker })
    }

    pub(super) fn amend_version(
        &self,
        mut txn: Transaction<'_, K>,
        key: &ObjectKey,
        name: Option<VersionName>,
        change: Amendment,
    ) -> Result<Outcome, CatalogError> {
        let bucket = txn.bucket;
        let mut version = self.version(bucket, key, name)?;
        let record = &mut version.record;
        match change {
            Amendment::Tags(tags) => record.tags = tags,
            Amendment::Retention { retention, bypass } => {
                txn.require_lock()?;
                allow_retention(record.lock.retention, retention, txn.at_ms(), bypass)?;
                record.lock.retention = retention;
            }
            Amendment::LegalHold(held) => {
                txn.require_lock()?;
                record.lock.legal_hold = held;
            }
        }
        let name = txn.keeps_versions().then(|| version.name());
        let is_current =
            self.current(bucket, key)?.is_some_and(|c| c.place.seq == version.place.seq);
        if is_current {
            txn.put(Table::Objects, records::object_key(bucket, key), &version)?;
        } else {
            txn.file_version(key, &version.into())?;
        }
        txn.commit().map(|()| Outcome::Amended { version: name })
    }

    /// The place of a version that is to be the newest.
    fn next_place(
        &self,
        txn: &Transaction<'_, K>,
        key: &ObjectKey,
        current: Option<&ObjectVersion>,
    ) -> Result<Place, CatalogError> {
        let newest = match current {
            Some(current) => Some(current.place.seq),
            None if !txn.keeps_versions() => None,
            None => self.newest_filed(txn.bucket, key, None)?.map(|v| v.place.seq),
        };
        let null = txn.settings().versioning != Versioning::Enabled;
        Ok(Place { seq: newest.map_or(0, |seq| seq + 1), null })
    }

    /// Makes room for a new version: what is current is kept among the older versions, or goes where
    /// the bucket does not keep it.
    fn step_back(
        &self,
        txn: &mut Transaction<'_, K>,
        key: &ObjectKey,
        current: Option<ObjectVersion>,
    ) -> Result<(), CatalogError> {
        if txn.settings().versioning == Versioning::Enabled {
            return match current {
                Some(current) => txn.file_version(key, &current.into()),
                None => Ok(()),
            };
        }
        // The new version is the null version: there is only ever one.
        match current {
            Some(current) if current.place.null => {
                return txn.discard_version(current.record.version);
            }
            Some(current) => txn.file_version(key, &current.into())?,
            None => {}
        }
        if txn.keeps_versions()
            && let Some(old) = self.filed_version(txn.bucket, key, VersionName::Null)?
        {
            if let VersionState::Object(record) = &old.state {
                txn.discard_version(record.version)?;
            }
            txn.unfile_version(key, old.place);
        }
        Ok(())
    }

    /// The newest version that is left becomes current, if it is an object.
    fn promote(
        &self,
        txn: &mut Transaction<'_, K>,
        key: &ObjectKey,
        deleted: Place,
    ) -> Result<(), CatalogError> {
        let Some(newest) = self.newest_filed(txn.bucket, key, Some(deleted))? else {
            return Ok(());
        };
        let place = newest.place;
        if let Ok(version) = newest.into_object() {
            txn.unfile_version(key, place);
            txn.put(Table::Objects, records::object_key(txn.bucket, key), &version)?;
        }
        Ok(())
    }
}

/// Look-ups.
impl<K: Kv> Machine<K> {
    /// The current version of an object, if there is one.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn current(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> Result<Option<ObjectVersion>, CatalogError> {
        let row = self.kv.get(Table::Objects, &records::object_key(bucket, key))?;
        Ok(row.map(|v| records::decode(Table::Objects, &v)).transpose()?)
    }

    /// An object's version, the current one if `name` is `None`.
    ///
    /// # Errors
    /// [`CatalogError::NoSuchBucket`], [`CatalogError::NoSuchKey`],
    /// [`CatalogError::NoSuchVersion`] or [`CatalogError::IsDeleteMarker`].
    pub fn version(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        name: Option<VersionName>,
    ) -> Result<ObjectVersion, CatalogError> {
        let Some(name) = name else {
            let current = self.current(bucket, key)?;
            return current.map_or_else(|| Err(self.why_no_object(bucket, key)), Ok);
        };
        // A version that moves between the tables meanwhile is in neither when looked for in this
        // order only if the current one has changed.
        loop {
            let current = self.current(bucket, key)?;
            if let Some(version) = &current
                && version.name() == name
            {
                return Ok(version.clone());
            }
            if let Some(found) = self.filed_version(bucket, key, name)? {
                return found.into_object().map_err(|(n, _)| CatalogError::IsDeleteMarker(n));
            }
            if self.current(bucket, key)? == current {
                self.bucket(bucket)?;
                return Err(CatalogError::NoSuchVersion);
            }
        }
    }

    /// What clients call a version, if it is the current one or among the newest [`NEWEST`] others.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn name_of_version(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: VersionId,
    ) -> Result<Option<VersionName>, CatalogError> {
        if let Some(current) = self.current(bucket, key)?
            && current.record.version == version
        {
            return Ok(Some(current.name()));
        }
        let from = records::versions_prefix(bucket, key);
        let rows = self.kv.scan(Table::Versions, &from, &records::after_prefix(&from), NEWEST)?;
        for (_, value) in rows {
            let record: VersionRecord = records::decode(Table::Versions, &value)?;
            let is_it =
                matches!(&record.state, VersionState::Object(object) if object.version == version);
            if is_it {
                return Ok(Some(record.name()));
            }
        }
        Ok(None)
    }

    /// A version together with its manifest, consistent with each other even while the object is
    /// being replaced.
    ///
    /// # Errors
    /// As [`Machine::version`].
    pub fn version_with_manifest(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        name: Option<VersionName>,
    ) -> Result<(ObjectVersion, Manifest), CatalogError> {
        let mut version = self.version(bucket, key, name)?;
        loop {
            match self.manifest(version.record.version) {
                Ok(manifest) => return Ok((version, manifest)),
                Err(error) => {
                    let now = self.version(bucket, key, name)?;
                    if now.record.version == version.record.version {
                        return Err(error);
                    }
                    version = now;
                }
            }
        }
    }

    /// Why there is no current object: the delete marker, if that is the reason.
    fn why_no_object(&self, bucket: &BucketName, key: &ObjectKey) -> CatalogError {
        let look = || -> Result<CatalogError, CatalogError> {
            if self.bucket(bucket)?.settings.versioning == Versioning::Unversioned {
                return Ok(CatalogError::NoSuchKey);
            }
            Ok(match self.newest_filed(bucket, key, None)?.map(VersionRecord::into_object) {
                Some(Err((name, _))) => CatalogError::Deleted(name),
                _ => CatalogError::NoSuchKey,
            })
        };
        look().unwrap_or_else(|failed| failed)
    }

    pub(super) fn manifest(&self, version: VersionId) -> Result<Manifest, CatalogError> {
        let corrupt = |why: String| KvError::Corrupt { table: Table::Manifests, why };
        let value = self
            .kv
            .get(Table::Manifests, version.as_bytes())?
            .ok_or_else(|| corrupt(format!("version {version} has no manifest")))?;
        let manifest: Manifest = records::decode(Table::Manifests, &value)?;
        for part in &manifest.parts {
            part.check().map_err(|e| corrupt(e.to_string()))?;
        }
        Ok(manifest)
    }

    /// A version that is not current, or is a delete marker.
    fn filed_version(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        name: VersionName,
    ) -> Result<Option<VersionRecord>, CatalogError> {
        let seq = match name {
            VersionName::Id { seq, .. } => seq,
            VersionName::Null => match self.null_seq(bucket, key)? {
                Some(seq) => seq,
                None => return Ok(None),
            },
        };
        let row = self.kv.get(Table::Versions, &records::version_key(bucket, key, seq))?;
        let version: Option<VersionRecord> =
            row.map(|v| records::decode(Table::Versions, &v)).transpose()?;
        Ok(version.filter(|v| v.name() == name))
    }

    /// Where a null version is that is not current.
    pub(super) fn null_seq(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> Result<Option<u64>, CatalogError> {
        let row = self.kv.get(Table::Nulls, &records::object_key(bucket, key))?;
        Ok(row.map(|v| records::decode(Table::Nulls, &v)).transpose()?)
    }

    /// The newest version in [`Table::Versions`], apart from the one in `except`.
    fn newest_filed(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        except: Option<Place>,
    ) -> Result<Option<VersionRecord>, CatalogError> {
        let from = records::versions_prefix(bucket, key);
        let rows = self.kv.scan(Table::Versions, &from, &records::after_prefix(&from), 2)?;
        for (_, value) in rows {
            let version: VersionRecord = records::decode(Table::Versions, &value)?;
            if except.is_none_or(|e| e.seq != version.place.seq) {
                return Ok(Some(version));
            }
        }
        Ok(None)
    }
}

impl<K: Kv> Transaction<'_, K> {
    /// Whether versions are kept, or were at some time.
    pub(super) fn keeps_versions(&self) -> bool {
        self.settings().versioning != Versioning::Unversioned
    }

    /// Puts a version among those that are not current.
    fn file_version(
        &mut self,
        key: &ObjectKey,
        version: &VersionRecord,
    ) -> Result<(), CatalogError> {
        let Place { seq, null } = version.place;
        if null {
            self.put(Table::Nulls, records::object_key(self.bucket, key), &seq)?;
        }
        self.put(Table::Versions, records::version_key(self.bucket, key, seq), version)
    }

    /// Takes a version out from among those that are not current.
    fn unfile_version(&mut self, key: &ObjectKey, place: Place) {
        if place.null {
            self.remove(Table::Nulls, records::object_key(self.bucket, key));
        }
        self.remove(Table::Versions, records::version_key(self.bucket, key, place.seq));
    }

    /// The bucket must have been made for Object Lock.
    fn require_lock(&self) -> Result<(), CatalogError> {
        match self.settings().object_lock {
            Some(_) => Ok(()),
            None => Err(CatalogError::NoObjectLock),
        }
    }

    /// As [`Transaction::require_lock`], if there is anything to lock.
    pub(super) fn require_lockable(&self, lock: &Lock) -> Result<(), CatalogError> {
        if *lock == Lock::default() { Ok(()) } else { self.require_lock() }
    }
}

fn check_all(
    preconditions: &[Precondition],
    current: Option<&ObjectRecord>,
) -> Result<(), CatalogError> {
    preconditions.iter().try_for_each(|p| p.check(current))
}

/// Whether a version may be deleted at `at_ms`.
fn allow_deletion(lock: &Lock, at_ms: u64, bypass: bool) -> Result<(), CatalogError> {
    if lock.legal_hold {
        return Err(CatalogError::Locked("there is a legal hold on it".into()));
    }
    match lock.retention.filter(|r| r.forbids_deletion(at_ms, bypass)) {
        Some(retention) => Err(locked(retention)),
        None => Ok(()),
    }
}

/// Whether the retention of a version may be replaced at `at_ms`.
fn allow_retention(
    old: Option<Retention>,
    new: Option<Retention>,
    at_ms: u64,
    bypass: bool,
) -> Result<(), CatalogError> {
    match old.filter(|old| old.forbids_change(new.as_ref(), at_ms, bypass)) {
        Some(old) => Err(locked(old)),
        None => Ok(()),
    }
}

fn locked(retention: Retention) -> CatalogError {
    let why = match retention.mode {
        LockMode::Governance => "it is retained in governance mode",
        LockMode::Compliance => "it is retained in compliance mode",
    };
    CatalogError::Locked(why.into())
}
