//! What the catalog's tables hold, and how keys and values become bytes.
//!
//! Values are a version byte and the postcard encoding of the record. Keys are built so that their
//! bytes sort as S3 sorts names.

use super::kv::{KvError, Table};
use crate::erasure::Code;
use crate::ids::{BucketName, ObjectKey, PartNumber, UploadId, VersionId};
use crate::manifest::{Checksums, ETag, Manifest, ObjectHeaders, Part};
use serde::{Deserialize, Serialize};

/// The version of all record encodings.
const VERSION: u8 = 1;

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketRecord {
    /// When it was made, in ms since the Unix epoch.
    pub created_ms: u64,
    /// The bucket key, wrapped by the master key with the bucket's name as context.
    pub wrapped_key: Vec<u8>,
    /// How its objects are erasure-coded.
    pub code: Code,
}

/// The current version of an object, without the whereabouts of its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRecord {
    /// The version; also the key of its manifest.
    pub version: VersionId,
    /// Bytes of plaintext.
    pub size: u64,
    /// The entity tag.
    pub etag: ETag,
    /// When it was committed, in ms since the Unix epoch.
    pub modified_ms: u64,
    /// What the user said about it.
    pub headers: ObjectHeaders,
    /// Additional checksums.
    pub checksums: Checksums,
}

/// A multipart upload in progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadRecord {
    /// When it was begun, in ms since the Unix epoch.
    pub initiated_ms: u64,
    /// What the user said about the object to be.
    pub headers: ObjectHeaders,
}

/// An uploaded part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRecord {
    /// When it was uploaded, in ms since the Unix epoch.
    pub modified_ms: u64,
    /// Its bytes and where they are.
    pub part: Part,
    /// Additional checksums of the part.
    pub checksums: Checksums,
}

/// Sealed data that no object refers to any more, to be deleted from the nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GarbageRecord {
    /// Where it is.
    pub manifest: Manifest,
}

/// A row of the garbage table: when it became garbage, and a unique id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GarbageId {
    /// When it became garbage, in ms since the Unix epoch.
    pub since_ms: u64,
    /// The version or blob that it was.
    pub id: [u8; 16],
}

/// Encodes a record.
pub(crate) fn encode<T: Serialize>(table: Table, record: &T) -> Result<Vec<u8>, KvError> {
    postcard::to_extend(record, vec![VERSION]).map_err(|e| corrupt(table, e))
}

/// Decodes a record.
pub(crate) fn decode<T: for<'a> Deserialize<'a>>(table: Table, bytes: &[u8]) -> Result<T, KvError> {
    match bytes.split_first() {
        Some((&VERSION, body)) => postcard::from_bytes(body).map_err(|e| corrupt(table, e)),
        Some((v, _)) => Err(corrupt(table, format!("record version {v} is unknown"))),
        None => Err(corrupt(table, "empty value")),
    }
}

fn corrupt(table: Table, why: impl ToString) -> KvError {
    KvError::Corrupt { table: table.name(), why: why.to_string() }
}

/// Keys that begin with the bucket's name and a NUL, which neither names nor keys contain.
pub(crate) fn bucket_prefix(bucket: &BucketName) -> Vec<u8> {
    [bucket.as_str().as_bytes(), b"\0"].concat()
}

pub(crate) fn object_key(bucket: &BucketName, key: &ObjectKey) -> Vec<u8> {
    [bucket.as_str().as_bytes(), b"\0", key.as_str().as_bytes()].concat()
}

pub(crate) fn upload_key(bucket: &BucketName, key: &ObjectKey, upload: UploadId) -> Vec<u8> {
    [&object_key(bucket, key)[..], b"\0", upload.as_bytes()].concat()
}

pub(crate) fn part_key(upload: UploadId, part: PartNumber) -> Vec<u8> {
    [&upload.as_bytes()[..], &part.get().to_be_bytes()].concat()
}

impl GarbageId {
    pub(crate) fn to_key(self) -> Vec<u8> {
        [&self.since_ms.to_be_bytes()[..], &self.id].concat()
    }

    pub(crate) fn from_key(key: &[u8]) -> Option<Self> {
        let (since, id) = key.split_first_chunk::<8>()?;
        Some(Self { since_ms: u64::from_be_bytes(*since), id: id.try_into().ok()? })
    }
}

/// The first key after all keys that begin with `prefix`, which must not be all 0xFF.
pub(crate) fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}
