//! What can be asked of the catalog.

use super::CatalogError;
use super::records::{BucketRecord, GarbageId, ObjectRecord, PartRecord, UploadRecord};
use crate::bucket::{Retention, Setting, Tags};
use crate::ids::{BlobId, BucketName, ObjectKey, PartNumber, UploadId, VersionId, VersionName};
use crate::manifest::{Checksums, ETag, Manifest, Move};
use crate::placement::ClusterMap;
use serde::{Deserialize, Serialize};

/// A condition on the object that a command is about to replace or delete; checked and acted upon
/// in one step, so that of two racing writers one loses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Precondition {
    /// `If-None-Match: *`: there must be no object yet.
    Absent,
    /// `If-Match: *`: there must be one.
    Present,
    /// `If-Match`: the object's etag must be this one.
    Matches(String),
    /// `If-None-Match`: there is no object, or its etag is another one.
    Differs(String),
    /// The object must have this size in bytes.
    Size(u64),
    /// The object must have been committed within this second since the Unix epoch.
    ModifiedSecond(u64),
    /// The object must be this very version.
    Version(VersionId),
    /// The object must have exactly these tags.
    Tagged(Tags),
    /// The version must not be the newest of its key.
    Noncurrent,
}

impl Precondition {
    /// Checks the condition against the current object.
    ///
    /// # Errors
    /// [`CatalogError::NoSuchKey`] when there is none but has to be, else
    /// [`CatalogError::PreconditionFailed`].
    pub fn check(&self, current: Option<&ObjectRecord>) -> Result<(), CatalogError> {
        let holds = match (self, current) {
            (Self::Absent, current) => current.is_none(),
            (Self::Differs(etag), current) => current.is_none_or(|c| c.etag.to_string() != *etag),
            (_, None) => return Err(CatalogError::NoSuchKey),
            (Self::Present, Some(_)) => true,
            (Self::Matches(etag), Some(c)) => c.etag.to_string() == *etag,
            (Self::Size(size), Some(c)) => c.size == *size,
            (Self::ModifiedSecond(second), Some(c)) => c.modified_ms / 1000 == *second,
            (Self::Version(version), Some(c)) => c.version == *version,
            (Self::Tagged(tags), Some(c)) => c.tags == *tags,
            // What is checked here is what is current.
            (Self::Noncurrent, Some(_)) => false,
        };
        if holds { Ok(()) } else { Err(CatalogError::PreconditionFailed) }
    }
}

/// A change of a version that leaves its bytes as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Amendment {
    /// Replace its tags.
    Tags(Tags),
    /// Replace its retention.
    Retention {
        /// The new one, or none.
        retention: Option<Retention>,
        /// Whether the caller may lift governance.
        bypass: bool,
    },
    /// Set or lift the legal hold.
    LegalHold(bool),
}

/// A change of the catalog. Times are in ms since the Unix epoch; ids are random. Both are chosen
/// by whoever makes the command, so that applying it is deterministic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Make a bucket.
    CreateBucket {
        /// Its name.
        bucket: BucketName,
        /// What is recorded of it.
        record: BucketRecord,
    },
    /// Delete a bucket without objects; its unfinished uploads go with it.
    DeleteBucket {
        /// Its name.
        bucket: BucketName,
        /// Now.
        at_ms: u64,
    },
    /// Change one of a bucket's settings.
    SetBucket {
        /// Its name.
        bucket: BucketName,
        /// What is set.
        setting: Box<Setting>,
    },
    /// Make an object current.
    PutObject {
        /// In which bucket.
        bucket: BucketName,
        /// Under which key.
        key: ObjectKey,
        /// What is recorded of it.
        record: Box<ObjectRecord>,
        /// Where its bytes are.
        manifest: Manifest,
        /// Only if all of these hold.
        preconditions: Vec<Precondition>,
    },
    /// Delete an object: for good, or by a delete marker where the bucket keeps versions. That it is
    /// not there is no error, unless a condition says so.
    DeleteObject {
        /// In which bucket.
        bucket: BucketName,
        /// Under which key.
        key: ObjectKey,
        /// Only if all of these hold.
        preconditions: Vec<Precondition>,
        /// The version of the delete marker, if one is made.
        marker: VersionId,
        /// Now.
        at_ms: u64,
    },
    /// Delete one version for good. That it is not there is no error.
    DeleteVersion {
        /// In which bucket.
        bucket: BucketName,
        /// Under which key.
        key: ObjectKey,
        /// Which version.
        version: VersionName,
        /// Only if all of these hold for that version.
        preconditions: Vec<Precondition>,
        /// Whether the caller may lift governance.
        bypass: bool,
        /// Now.
        at_ms: u64,
    },
    /// Change a version, but not its bytes.
    AmendVersion {
        /// In which bucket.
        bucket: BucketName,
        /// Under which key.
        key: ObjectKey,
        /// Which version; the current one if `None`.
        version: Option<VersionName>,
        /// What is changed.
        change: Amendment,
        /// Now.
        at_ms: u64,
    },
    /// Begin a multipart upload.
    CreateUpload {
        /// In which bucket.
        bucket: BucketName,
        /// Under which key.
        key: ObjectKey,
        /// The upload.
        upload: UploadId,
        /// What is recorded of it.
        record: UploadRecord,
    },
    /// Add a part to an upload, or replace it.
    PutPart {
        /// In which bucket.
        bucket: BucketName,
        /// Under which key.
        key: ObjectKey,
        /// Which upload.
        upload: UploadId,
        /// Which part.
        number: PartNumber,
        /// What is recorded of it.
        record: Box<PartRecord>,
    },
    /// Turn the named parts of an upload into an object.
    CompleteUpload {
        /// In which bucket.
        bucket: BucketName,
        /// Under which key.
        key: ObjectKey,
        /// Which upload.
        upload: UploadId,
        /// The parts in ascending order, each with the etag that its upload returned.
        parts: Vec<(PartNumber, String)>,
        /// The version that the object gets.
        version: VersionId,
        /// Additional checksums of the whole object.
        checksums: Checksums,
        /// Only if all of these hold.
        preconditions: Vec<Precondition>,
        /// Now.
        at_ms: u64,
    },
    /// Give an upload up; its parts become garbage.
    AbortUpload {
        /// In which bucket.
        bucket: BucketName,
        /// Under which key.
        key: ObjectKey,
        /// Which upload.
        upload: UploadId,
        /// Now.
        at_ms: u64,
    },
    /// Forget garbage whose shards have been deleted from the nodes.
    ForgetGarbage {
        /// Which rows.
        ids: Vec<GarbageId>,
    },
    /// Shards of a blob have been written to other nodes, under the next generation of their names.
    /// What was left behind becomes garbage.
    Relocate {
        /// Whose shards.
        blob: BlobId,
        /// Which, from where to where; all or none.
        moves: Vec<Move>,
        /// Names the row of the garbage table.
        garbage: [u8; 16],
        /// Now.
        at_ms: u64,
    },
    /// Give up blobs that no commit has claimed, so that their shards can be deleted: a commit that
    /// names one later is refused. Blobs that have an owner are passed over.
    Condemn {
        /// Which blobs.
        blobs: Vec<BlobId>,
        /// Now.
        at_ms: u64,
    },
    /// Replace the cluster map.
    ChangeCluster {
        /// The version that is replaced; 0 if there is none.
        expected: u64,
        /// The new map; its version is the next one.
        map: ClusterMap,
    },
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It was done.
    Done,
    /// The object is current with this etag.
    Committed {
        /// The object's etag.
        etag: ETag,
        /// The object's size in bytes.
        size: u64,
        /// The version, if the bucket keeps it when the object is replaced.
        version: Option<VersionName>,
    },
    /// The object or version was deleted, or was not there.
    Deleted {
        /// Whether there was one.
        existed: bool,
        /// The delete marker that was made.
        made_marker: Option<VersionName>,
        /// Whether what was deleted is a delete marker.
        was_marker: bool,
    },
    /// The version was changed.
    Amended {
        /// Which one, if the bucket keeps versions.
        version: Option<VersionName>,
    },
}

/// What a command may change, as far as readers can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// A bucket's existence.
    Bucket(&'a BucketName),
    /// An object.
    Object(&'a BucketName, &'a ObjectKey),
    /// The cluster map.
    Cluster,
    /// Nothing but an upload, garbage, or the whereabouts of shards.
    Hidden,
}

impl Command {
    /// What readers may see change.
    pub fn scope(&self) -> Scope<'_> {
        match self {
            Self::CreateBucket { bucket, .. }
            | Self::DeleteBucket { bucket, .. }
            | Self::SetBucket { bucket, .. } => Scope::Bucket(bucket),
            Self::PutObject { bucket, key, .. }
            | Self::DeleteObject { bucket, key, .. }
            | Self::DeleteVersion { bucket, key, .. }
            | Self::AmendVersion { bucket, key, .. }
            | Self::CompleteUpload { bucket, key, .. } => Scope::Object(bucket, key),
            Self::CreateUpload { .. }
            | Self::PutPart { .. }
            | Self::AbortUpload { .. }
            | Self::ForgetGarbage { .. }
            | Self::Relocate { .. }
            | Self::Condemn { .. } => Scope::Hidden,
            Self::ChangeCluster { .. } => Scope::Cluster,
        }
    }
}
