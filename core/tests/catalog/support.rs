//! Commands with as little in them as will do.

use coffer_core::bucket::{BucketSettings, Setting, Tags, Versioning};
use coffer_core::catalog::records::{BucketRecord, Encryption, GarbageRecord, Lock, ObjectRecord};
use coffer_core::catalog::{CatalogError, Command, Machine, MemoryKv, Outcome, Precondition};
use coffer_core::erasure::Code;
use coffer_core::ids::{BlobId, BucketName, ObjectKey, VersionId};
use coffer_core::manifest::{Content, ETag, Manifest, ObjectHeaders, Part};
use std::collections::BTreeMap;

pub(crate) fn bucket(n: u8) -> BucketName {
    BucketName::new(format!("bucket-{n}")).unwrap()
}

pub(crate) fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

pub(crate) fn version(id: u64) -> VersionId {
    VersionId::from_bytes(u128::from(id).to_be_bytes())
}

pub(crate) fn etag(id: u64) -> String {
    ETag::Whole(part(id, 0).md5).to_string()
}

/// A part that tells by its MD5 who it is.
pub(crate) fn part(id: u64, size: u64) -> Part {
    let mut md5 = [0; 16];
    md5[..8].copy_from_slice(&id.to_be_bytes());
    Part {
        blob: BlobId::from_bytes(u128::from(id).to_be_bytes()),
        wrapped_key: vec![],
        size,
        md5,
        checksums: BTreeMap::new(),
        content: Content::Inline(vec![0; 32]),
    }
}

pub(crate) fn create(b: u8) -> Command {
    let record = BucketRecord {
        created_ms: 0,
        wrapped_key: vec![],
        code: Code::DEFAULT,
        owner: "root".into(),
        settings: BucketSettings::default(),
    };
    Command::CreateBucket { bucket: bucket(b), record }
}

pub(crate) fn set(b: u8, setting: Setting) -> Command {
    Command::SetBucket { bucket: bucket(b), setting: Box::new(setting) }
}

/// An object whose id is its size, its version and its time.
pub(crate) fn put(b: u8, name: &str, id: u64, preconditions: Vec<Precondition>) -> Command {
    put_locked(b, name, id, preconditions, Lock::default())
}

pub(crate) fn put_locked(
    b: u8,
    name: &str,
    id: u64,
    preconditions: Vec<Precondition>,
    lock: Lock,
) -> Command {
    let part = part(id, id);
    Command::PutObject {
        bucket: bucket(b),
        key: key(name),
        record: Box::new(ObjectRecord {
            version: version(id),
            size: part.size,
            etag: ETag::Whole(part.md5),
            modified_ms: id,
            headers: ObjectHeaders::default(),
            checksums: BTreeMap::new(),
            tags: Tags::default(),
            lock,
            encryption: Encryption::Managed,
            upload: None,
        }),
        manifest: Manifest { parts: vec![part] },
        preconditions,
    }
}

pub(crate) fn delete(b: u8, name: &str, preconditions: Vec<Precondition>, id: u64) -> Command {
    let marker = version(id);
    Command::DeleteObject { bucket: bucket(b), key: key(name), preconditions, marker, at_ms: id }
}

/// A machine with bucket 0.
pub(crate) fn machine(versioning: Versioning) -> Machine<MemoryKv> {
    let machine = Machine::new(MemoryKv::default());
    machine.apply(create(0)).unwrap();
    if versioning != Versioning::Unversioned {
        machine.apply(set(0, Setting::Versioning(versioning))).unwrap();
    }
    machine
}

/// The outcome of a command that must be done.
pub(crate) fn done(machine: &Machine<MemoryKv>, command: Command) -> Outcome {
    machine.apply(command).unwrap()
}

pub(crate) fn refused(machine: &Machine<MemoryKv>, command: Command) -> CatalogError {
    machine.apply(command).unwrap_err()
}

/// Bytes of plaintext in a row of the garbage table.
pub(crate) fn size(garbage: &GarbageRecord) -> u64 {
    match garbage {
        GarbageRecord::Data(manifest) => manifest.size(),
        GarbageRecord::Left(_) => 0,
    }
}
