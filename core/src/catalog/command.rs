//! What can be asked of the catalog.

use super::records::{BucketRecord, GarbageId, ObjectRecord, PartRecord, UploadRecord};
use crate::ids::{BucketName, ObjectKey, PartNumber, UploadId, VersionId};
use crate::manifest::{Checksums, ETag, Manifest};
use serde::{Deserialize, Serialize};

/// A condition on the object that a command is about to replace or delete; checked and acted upon
/// in one step, so that of two racing writers one loses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Precondition {
    /// No condition.
    #[default]
    None,
    /// `If-None-Match: *`: there must be no object yet.
    Absent,
    /// `If-Match: *`: there must be one.
    Present,
    /// `If-Match`: the object's etag must be this one.
    Matches(String),
}

impl Precondition {
    /// Whether the condition holds for the current object.
    pub fn holds(&self, current: Option<&ObjectRecord>) -> bool {
        match self {
            Self::None => true,
            Self::Absent => current.is_none(),
            Self::Present => current.is_some(),
            Self::Matches(etag) => current.is_some_and(|c| c.etag.to_string() == *etag),
        }
    }
}

/// A change of the catalog. Times are in ms since the Unix epoch; ids are random. Both are chosen
/// by whoever makes the command, so that applying it is deterministic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
        /// Only if.
        precondition: Precondition,
    },
    /// Delete an object. That it is not there is no error, unless the condition says so.
    DeleteObject {
        /// In which bucket.
        bucket: BucketName,
        /// Under which key.
        key: ObjectKey,
        /// Only if.
        precondition: Precondition,
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
        /// Only if.
        precondition: Precondition,
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
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// The object is current with this etag.
    Committed {
        /// The object's etag.
        etag: ETag,
        /// The object's size in bytes.
        size: u64,
        /// The object's version.
        version: VersionId,
    },
    /// The object was deleted, or was not there.
    Deleted {
        /// Whether there was one.
        existed: bool,
    },
}

/// What a command may change, as far as readers can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// A bucket's existence.
    Bucket(&'a BucketName),
    /// An object.
    Object(&'a BucketName, &'a ObjectKey),
    /// Nothing but an upload or garbage.
    Hidden,
}

impl Command {
    /// What readers may see change.
    pub fn scope(&self) -> Scope<'_> {
        match self {
            Self::CreateBucket { bucket, .. } | Self::DeleteBucket { bucket, .. } => {
                Scope::Bucket(bucket)
            }
            Self::PutObject { bucket, key, .. }
            | Self::DeleteObject { bucket, key, .. }
            | Self::CompleteUpload { bucket, key, .. } => Scope::Object(bucket, key),
            Self::CreateUpload { .. }
            | Self::PutPart { .. }
            | Self::AbortUpload { .. }
            | Self::ForgetGarbage { .. } => Scope::Hidden,
        }
    }
}
