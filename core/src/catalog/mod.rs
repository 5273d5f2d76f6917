//! The catalog: buckets, objects, uploads and garbage, as a deterministic state machine.
//!
//! A [`Command`] changes the catalog, and nothing else does. [`Machine::apply`] reads what it needs,
//! decides, and commits one atomic batch to an ordered key-value store ([`Kv`]). The same commands
//! in the same order give the same catalog anywhere; time and random ids come in with the command.
//! A log of commands can therefore be replicated without this code knowing.
//!
//! | module | what |
//! |---|---|
//! | [`kv`] | the store below: tables, batches, and one in memory |
//! | [`sealed`] | a store that encrypts values on their way down |
//! | [`records`] | what the tables hold |
//! | [`command`] | what can be asked |
//! | [`machine`] | what happens then; buckets and garbage |
//! | [`versions`] | objects and their versions |
//! | [`uploads`] | multipart uploads |
//! | [`blobs`] | whose the sealed data on the nodes is, and where its shards go |
//! | [`upload_listing`] | S3's listings of uploads and of their parts |
//! | `transaction` | one command's changes, with the bucket's usage and quota |
//! | [`listing`] | S3's listings of objects, with prefix and delimiter |
//! | [`version_listing`] | S3's listings of all versions |

pub mod blobs;
pub mod command;
pub mod kv;
pub mod listing;
pub mod machine;
pub mod records;
pub mod sealed;
mod transaction;
pub mod upload_listing;
pub mod uploads;
pub mod version_listing;
pub mod versions;

pub use command::{Amendment, Command, Outcome, Precondition, Scope};
pub use kv::{Batch, Kv, KvError, MemoryKv, Table};
pub use listing::{After, ListEntry, ListQuery, Listing};
pub use machine::Machine;
pub use sealed::SealedKv;
pub use upload_listing::{AfterUpload, UploadEntry, UploadListing, UploadQuery};
pub use version_listing::{AfterVersion, VersionEntry, VersionListing, VersionQuery};

use crate::ids::{BlobId, PartNumber, UploadId, VersionName};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Why the catalog refused a command or a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum CatalogError {
    /// There is no bucket of that name.
    #[error("the bucket does not exist")]
    NoSuchBucket,
    /// The bucket is there already.
    #[error("the bucket exists already")]
    BucketExists,
    /// The bucket still has objects.
    #[error("the bucket is not empty")]
    BucketNotEmpty,
    /// There is no object of that key.
    #[error("the object does not exist")]
    NoSuchKey,
    /// There is no such upload: never begun, completed or aborted.
    #[error("upload {0} does not exist; it may have been completed or aborted")]
    NoSuchUpload(UploadId),
    /// A part that was named was not uploaded, or has another etag.
    #[error("part {} was not uploaded, or its etag is another", .0.get())]
    InvalidPart(PartNumber),
    /// Parts were named out of order or twice, or none was.
    #[error("the list of parts is empty or not in ascending order")]
    InvalidPartOrder,
    /// A part other than the last is under 5 MiB.
    #[error("part {} has {size} bytes; all but the last need at least 5 MiB", .part.get())]
    PartTooSmall {
        /// Which part.
        part: PartNumber,
        /// Its size in bytes.
        size: u64,
    },
    /// The current version is a delete marker: there is no object now.
    #[error("the object does not exist")]
    Deleted(VersionName),
    /// The object has no such version.
    #[error("the version does not exist")]
    NoSuchVersion,
    /// The version is a delete marker, which has no content.
    #[error("the version {0} is a delete marker")]
    IsDeleteMarker(VersionName),
    /// Retention or a legal hold keeps the version as it is.
    #[error("the version is protected by Object Lock: {0}")]
    Locked(Cow<'static, str>),
    /// The bucket was not made for Object Lock.
    #[error("the bucket has no Object Lock configuration")]
    NoObjectLock,
    /// The bucket's state does not allow the setting.
    #[error("{0}")]
    InvalidBucketState(Cow<'static, str>),
    /// The bucket would hold more than its quota.
    #[error("the bucket's quota of {quota} bytes would be exceeded")]
    QuotaExceeded {
        /// The quota in bytes.
        quota: u64,
    },
    /// A condition of the request does not hold.
    #[error("the condition on the object's etag does not hold")]
    PreconditionFailed,
    /// Data that an object was to be made of is not there for it: it was given up after it had not
    /// been claimed for long, or it is in use already.
    #[error("the data of blob {0} can't be used: it was given up, or is in use already")]
    BlobRefused(BlobId),
    /// The blob's shards are not where the caller saw them.
    #[error("the shards of blob {0} are not where they were seen")]
    Moved(BlobId),
    /// The cluster map is another one than the caller saw.
    #[error("the cluster map has version {0} by now; look at it and try again")]
    ClusterChanged(u64),
    /// The cluster map can't be used.
    #[error("the cluster map can't be used: {0}")]
    InvalidCluster(String),
    /// The store below failed.
    #[error(transparent)]
    Kv(#[from] KvError),
    /// The catalog can't be asked now: it has no leader. Nothing has changed.
    #[error("the catalog is not available now: {0}")]
    Unavailable(String),
    /// No answer came, since the catalog has stopped or its leader was lost. A command may or may
    /// not have been done, now or later.
    #[error("the catalog gave no answer: {0}")]
    Stopped(String),
}
