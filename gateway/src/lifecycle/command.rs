//! What is due, as commands of the catalog. Each goes through only if what it is about is still as
//! it was seen.

use coffer_core::bucket::lifecycle::{Action, KeyVersion, VersionKind};
use coffer_core::catalog::records::{VersionRecord, VersionState};
use coffer_core::catalog::{Command, Precondition};
use coffer_core::ids::{BucketName, ObjectKey, UploadId, VersionId, VersionName};
use coffer_core::random::{self, OsRandom, RandomUnavailable};

/// What a command does, to be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Expire,
    Noncurrent,
    Marker,
    Upload,
}

/// A version as the rules see it.
pub(super) fn described(version: &VersionRecord) -> KeyVersion<'_> {
    match &version.state {
        VersionState::Object(object) => KeyVersion {
            modified_ms: object.modified_ms,
            kind: VersionKind::Object { size: object.size, tags: &object.tags },
        },
        VersionState::Marker(marker) => {
            KeyVersion { modified_ms: marker.modified_ms, kind: VersionKind::DeleteMarker }
        }
    }
}

/// What identifies a version, and what may have changed of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    name: VersionName,
    as_it_was: Vec<Precondition>,
}

impl Seen {
    pub(super) fn of(version: &VersionRecord) -> Self {
        let as_it_was = match &version.state {
            VersionState::Object(object) => vec![
                Precondition::Version(object.version),
                Precondition::Tagged(object.tags.clone()),
            ],
            VersionState::Marker(marker) => vec![Precondition::Version(marker.version)],
        };
        Self { name: version.name(), as_it_was }
    }

    /// The command for an action on this version.
    pub(super) fn command(
        self,
        action: Action,
        bucket: &BucketName,
        key: &ObjectKey,
        at_ms: u64,
    ) -> Result<(Kind, Command), RandomUnavailable> {
        let (bucket, key) = (bucket.clone(), key.clone());
        let mut preconditions = self.as_it_was;
        let delete_version = |preconditions| Command::DeleteVersion {
            bucket: bucket.clone(),
            key: key.clone(),
            version: self.name,
            preconditions,
            bypass: false,
            at_ms,
        };
        Ok(match action {
            Action::ExpireCurrent => {
                let marker = VersionId::from_bytes(random::array(&OsRandom)?);
                let command = Command::DeleteObject { bucket, key, preconditions, marker, at_ms };
                (Kind::Expire, command)
            }
            Action::DeleteNoncurrent(_) => {
                preconditions.push(Precondition::Noncurrent);
                (Kind::Noncurrent, delete_version(preconditions))
            }
            Action::RemoveDeleteMarker => (Kind::Marker, delete_version(preconditions)),
        })
    }
}

/// The command that gives an upload up.
pub(super) fn abort(
    bucket: &BucketName,
    key: ObjectKey,
    upload: UploadId,
    at_ms: u64,
) -> (Kind, Command) {
    (Kind::Upload, Command::AbortUpload { bucket: bucket.clone(), key, upload, at_ms })
}
