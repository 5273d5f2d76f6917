//! What the catalog's tables hold, and how keys and values become bytes.
//!
//! Values are a version byte and the postcard encoding of the record. Keys are built so that their
//! bytes sort as S3 sorts names.

use super::kv::{KvError, Table};
use crate::bucket::{BucketSettings, Retention, Tags};
use crate::erasure::Code;
use crate::ids::{BucketName, NodeId, ObjectKey, PartNumber, UploadId, VersionId, VersionName};
use crate::manifest::{Checksums, ETag, Manifest, ObjectHeaders, Part};
use crate::shard::ShardKey;
use serde::{Deserialize, Serialize};

/// The version of all record encodings.
const VERSION: u8 = 4;

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketRecord {
    /// When it was made, in ms since the Unix epoch.
    pub created_ms: u64,
    /// The bucket key, wrapped by the master key with the bucket's name as context.
    pub wrapped_key: Vec<u8>,
    /// How its objects are erasure-coded.
    pub code: Code,
    /// The name of who made it.
    pub owner: String,
    /// What its owner has set.
    pub settings: BucketSettings,
}

/// How an object's data keys are wrapped, beside the bucket key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encryption {
    /// By the bucket key alone (SSE-S3).
    #[default]
    Managed,
    /// By a named key of the gateway's too (SSE-KMS).
    Named {
        /// The key's name.
        key_id: String,
    },
    /// By a key that only the client has, too (SSE-C).
    Customer {
        /// Opens under the right key and no other: tells a wrong key before any data is touched.
        check: Vec<u8>,
    },
}

/// What keeps a version from being deleted (S3 Object Lock).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Until when, and whether someone may lift it.
    pub retention: Option<Retention>,
    /// For as long as this is set.
    pub legal_hold: bool,
}

/// An object version as its writer describes it, without the whereabouts of its bytes.
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
    /// Additional checksums of the whole object.
    pub checksums: Checksums,
    /// The object's tags.
    pub tags: Tags,
    /// What keeps it from being deleted.
    pub lock: Lock,
    /// How its data keys are wrapped.
    pub encryption: Encryption,
    /// The multipart upload that made it: a completion that is repeated is recognised.
    pub upload: Option<UploadId>,
}

/// Where a version stands among those of its key; the catalog decides that when it commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The later the version, the greater.
    pub seq: u64,
    /// Whether clients call it "null": it was written while versioning was not enabled.
    pub null: bool,
}

/// An object version in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectVersion {
    /// Its place.
    pub place: Place,
    /// The version.
    pub record: ObjectRecord,
}

/// A delete marker: a version that says that there is no object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteMarker {
    /// The marker's version.
    pub version: VersionId,
    /// When it was made, in ms since the Unix epoch.
    pub modified_ms: u64,
}

/// What a version is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum VersionState {
    /// An object.
    Object(Box<ObjectRecord>),
    /// A delete marker.
    Marker(DeleteMarker),
}

/// A version, of whichever kind, in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRecord {
    /// Its place.
    pub place: Place,
    /// What it is.
    pub state: VersionState,
}

impl ObjectVersion {
    /// What clients call this version.
    pub fn name(&self) -> VersionName {
        self.place.name(self.record.version)
    }
}

impl VersionRecord {
    /// What clients call this version.
    pub fn name(&self) -> VersionName {
        let version = match &self.state {
            VersionState::Object(record) => record.version,
            VersionState::Marker(marker) => marker.version,
        };
        self.place.name(version)
    }

    /// The object, or the delete marker that stands for none.
    ///
    /// # Errors
    /// The marker.
    pub fn into_object(self) -> Result<ObjectVersion, (VersionName, DeleteMarker)> {
        match self.state {
            VersionState::Object(record) => {
                Ok(ObjectVersion { place: self.place, record: *record })
            }
            VersionState::Marker(marker) => Err((self.place.name(marker.version), marker)),
        }
    }
}

impl From<ObjectVersion> for VersionRecord {
    fn from(version: ObjectVersion) -> Self {
        let state = VersionState::Object(Box::new(version.record));
        Self { place: version.place, state }
    }
}

impl Place {
    /// What clients call the version `version` in this place.
    pub fn name(self, version: VersionId) -> VersionName {
        if self.null { VersionName::Null } else { VersionName::Id { seq: self.seq, version } }
    }
}

/// What a bucket holds: all versions, and the parts of unfinished uploads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Object versions, without delete markers.
    pub versions: u64,
    /// Bytes of plaintext in them and in parts of unfinished uploads.
    pub bytes: u64,
}

/// The checksum that an upload was begun with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadChecksum {
    /// The algorithm by the name that S3 uses.
    pub algorithm: String,
    /// Whether the object's checksum is over all bytes, instead of over the parts' checksums.
    pub full_object: bool,
}

/// A multipart upload in progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadRecord {
    /// When it was begun, in ms since the Unix epoch.
    pub initiated_ms: u64,
    /// What the user said about the object to be.
    pub headers: ObjectHeaders,
    /// The tags of the object to be.
    pub tags: Tags,
    /// What will keep the object from being deleted.
    pub lock: Lock,
    /// How its data keys are wrapped.
    pub encryption: Encryption,
    /// The checksum of the object to be.
    pub checksum: Option<UploadChecksum>,
}

/// An uploaded part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRecord {
    /// When it was uploaded, in ms since the Unix epoch.
    pub modified_ms: u64,
    /// Its bytes and where they are.
    pub part: Part,
}

/// Shards that nothing refers to any more, to be deleted from the nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum GarbageRecord {
    /// All data of a version, or of a part that is in none.
    Data(Manifest),
    /// Shards that have gone elsewhere, where they were.
    Left(Vec<(NodeId, ShardKey)>),
}

impl GarbageRecord {
    /// What is to be deleted from which nodes.
    pub fn shards(&self) -> Vec<(NodeId, ShardKey)> {
        match self {
            Self::Data(manifest) => manifest.placed().collect(),
            Self::Left(shards) => shards.clone(),
        }
    }
}

/// Whose the sealed data of a blob is. Blobs that are kept in the manifest have no owner recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlobOwner {
    /// A version of an object.
    Version {
        /// Its bucket.
        bucket: BucketName,
        /// Its key.
        key: ObjectKey,
        /// The version; its manifest says where the blob is.
        version: VersionId,
    },
    /// A part of an upload in progress.
    Part {
        /// Its bucket.
        bucket: BucketName,
        /// The key of the object to be.
        key: ObjectKey,
        /// The upload.
        upload: UploadId,
        /// The part's number.
        number: PartNumber,
    },
    /// Nobody's any more: its shards are being deleted.
    Garbage(GarbageId),
    /// Nobody's, and it can't become anybody's: shards were found that no commit had claimed.
    Condemned {
        /// When, in ms since the Unix epoch.
        at_ms: u64,
    },
}

impl BlobOwner {
    /// Whether the blob's shards are needed.
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Version { .. } | Self::Part { .. })
    }
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
    KvError::Corrupt { table, why: why.to_string() }
}

/// Keys that begin with the bucket's name and a NUL, which neither names nor keys contain.
pub(crate) fn bucket_prefix(bucket: &BucketName) -> Vec<u8> {
    [bucket.as_str().as_bytes(), b"\0"].concat()
}

pub(crate) fn object_key(bucket: &BucketName, key: &ObjectKey) -> Vec<u8> {
    [bucket.as_str().as_bytes(), b"\0", key.as_str().as_bytes()].concat()
}

/// All versions of a key but the current one have keys that begin with this.
pub(crate) fn versions_prefix(bucket: &BucketName, key: &ObjectKey) -> Vec<u8> {
    [bucket.as_str().as_bytes(), b"\0", key.as_str().as_bytes(), b"\0"].concat()
}

pub(crate) fn version_key(bucket: &BucketName, key: &ObjectKey, seq: u64) -> Vec<u8> {
    [&versions_prefix(bucket, key)[..], &(!seq).to_be_bytes()].concat()
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the bytes of a value decode to, encoded again: as long at most, and the same again.
    fn stable<T>(bytes: &[u8])
    where
        T: Serialize + for<'a> Deserialize<'a> + PartialEq + std::fmt::Debug,
    {
        if let Ok(record) = decode::<T>(Table::Objects, bytes) {
            let encoded = encode(Table::Objects, &record).unwrap();
            assert!(encoded.len() <= bytes.len());
            assert_eq!(decode::<T>(Table::Objects, &encoded).unwrap(), record);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_values_never_panic_and_what_decodes_is_stable(
            version in prop_oneof![9 => Just(VERSION), 1 => any::<u8>()],
            rest in prop::collection::vec(prop_oneof![0..4u8, any::<u8>()], 0..200),
        ) {
            let bytes = [&[version], rest.as_slice()].concat();
            stable::<BucketRecord>(&bytes);
            stable::<ObjectVersion>(&bytes);
            stable::<VersionRecord>(&bytes);
            stable::<PartRecord>(&bytes);
            stable::<UploadRecord>(&bytes);
            stable::<GarbageRecord>(&bytes);
            stable::<BlobOwner>(&bytes);
            stable::<Manifest>(&bytes);
        }

        #[test]
        fn whatever_a_manifest_says_checking_it_does_not_panic(
            rest in prop::collection::vec(prop_oneof![0..8u8, any::<u8>()], 0..200),
        ) {
            let bytes = [&[VERSION, 1], rest.as_slice()].concat();
            if let Ok(manifest) = decode::<Manifest>(Table::Manifests, &bytes) {
                for part in &manifest.parts {
                    let _ = part.check();
                }
            }
        }

        #[test]
        fn garbage_ids_read_back(bytes: Vec<u8>) {
            if let Some(id) = GarbageId::from_key(&bytes) {
                prop_assert_eq!(id.to_key(), bytes);
            }
        }
    }
}
