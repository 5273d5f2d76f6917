//! Multipart uploads.

use crate::support::*;
use coffer_core::bucket::{Tags, Versioning};
use coffer_core::catalog::records::{Encryption, Lock, PartRecord, UploadRecord};
use coffer_core::catalog::{CatalogError, Command, Machine, MemoryKv, Outcome};
use coffer_core::ids::{ObjectKey, PartNumber, UploadId};
use coffer_core::manifest::{ETag, ObjectHeaders};
use std::collections::{BTreeMap, BTreeSet};

const MIB: u64 = 1024 * 1024;

fn upload_with(parts: &[(u16, u64, u64)]) -> (Machine<MemoryKv>, UploadId, ObjectKey) {
    let machine = machine(Versioning::Unversioned);
    let key = key("big");
    let upload = UploadId::from_bytes([9; 16]);
    let record = UploadRecord {
        initiated_ms: 1,
        headers: ObjectHeaders::default(),
        tags: Tags::default(),
        lock: Lock::default(),
        encryption: Encryption::Managed,
        checksum: None,
    };
    let begun = Command::CreateUpload { bucket: bucket(0), key: key.clone(), upload, record };
    machine.apply(begun).unwrap();
    for (number, id, size) in parts {
        let record = PartRecord { modified_ms: *id, part: part(*id, *size) };
        machine
            .apply(Command::PutPart {
                bucket: bucket(0),
                key: key.clone(),
                upload,
                number: PartNumber::new(i64::from(*number)).unwrap(),
                record: Box::new(record),
            })
            .unwrap();
    }
    (machine, upload, key)
}

fn complete(
    (machine, upload, key): &(Machine<MemoryKv>, UploadId, ObjectKey),
    parts: &[(i64, u64)],
) -> Result<Outcome, CatalogError> {
    machine.apply(Command::CompleteUpload {
        bucket: bucket(0),
        key: key.clone(),
        upload: *upload,
        parts: parts.iter().map(|(n, id)| (PartNumber::new(*n).unwrap(), etag(*id))).collect(),
        version: version(5),
        checksums: BTreeMap::new(),
        preconditions: vec![],
        at_ms: 50,
    })
}

#[test]
fn completing_takes_the_named_parts_and_discards_the_rest() {
    let up = upload_with(&[(1, 11, 5 * MIB), (2, 12, 5 * MIB), (2, 13, 6 * MIB), (7, 14, 1)]);
    let done = complete(&up, &[(1, 11), (2, 13)]).unwrap();
    assert!(
        matches!(done, Outcome::Committed { size, etag: ETag::Multipart(_, 2), .. } if size == 11 * MIB)
    );
    let garbage = up.0.garbage(None, u64::MAX, 10).unwrap();
    let sizes: BTreeSet<u64> = garbage.iter().map(|(_, g)| g.manifest.size()).collect();
    assert_eq!(sizes, BTreeSet::from([5 * MIB, 1]), "the replaced part and the unused one");
    assert_eq!(complete(&up, &[(1, 11)]), Err(CatalogError::NoSuchUpload(up.1)), "only once");
    assert!(up.0.parts(up.1).unwrap().is_empty());
    let record = up.0.version(&bucket(0), &up.2, None).unwrap().record;
    assert_eq!(record.upload, Some(up.1), "a repeated completion finds what the first one made");
    assert_eq!(up.0.usage(&bucket(0)).unwrap().bytes, 11 * MIB);
}

#[test]
fn completing_is_refused_as_s3_does() {
    let up = upload_with(&[(1, 11, 4 * MIB), (2, 12, 1)]);
    let number = |n| PartNumber::new(n).unwrap();
    assert_eq!(complete(&up, &[]), Err(CatalogError::InvalidPartOrder));
    assert_eq!(complete(&up, &[(2, 12), (1, 11)]), Err(CatalogError::InvalidPartOrder));
    assert_eq!(complete(&up, &[(1, 12)]), Err(CatalogError::InvalidPart(number(1))));
    assert_eq!(complete(&up, &[(3, 12)]), Err(CatalogError::InvalidPart(number(3))));
    assert_eq!(
        complete(&up, &[(1, 11), (2, 12)]),
        Err(CatalogError::PartTooSmall { part: number(1), size: 4 * MIB })
    );
    assert!(complete(&up, &[(1, 11)]).is_ok(), "a refused completion spoils nothing");
}

#[test]
fn a_bucket_goes_with_its_unfinished_uploads_and_their_parts_become_garbage() {
    let (machine, upload, _) = upload_with(&[(1, 11, 5 * MIB)]);
    assert_eq!(machine.uploads(&bucket(0), "bi").unwrap().len(), 1);
    machine.apply(Command::DeleteBucket { bucket: bucket(0), at_ms: 99 }).unwrap();
    assert_eq!(machine.garbage(None, u64::MAX, 10).unwrap().len(), 1);
    assert!(machine.garbage(None, 99, 10).unwrap().is_empty(), "not before its time");
    assert!(machine.parts(upload).unwrap().is_empty());
    assert_eq!(machine.usage(&bucket(0)).unwrap(), Default::default());
}
