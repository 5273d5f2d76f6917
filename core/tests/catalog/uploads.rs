//! Multipart uploads.

use crate::support::*;
use coffer_core::bucket::{Tags, Versioning};
use coffer_core::catalog::records::{Encryption, Lock, PartRecord, UploadRecord};
use coffer_core::catalog::{
    AfterUpload, CatalogError, Command, Machine, MemoryKv, Outcome, UploadEntry, UploadQuery,
};
use coffer_core::ids::{ObjectKey, PartNumber, UploadId};
use coffer_core::manifest::{ETag, ObjectHeaders};
use std::collections::{BTreeMap, BTreeSet};

const MIB: u64 = 1024 * 1024;

fn begin(name: &str, upload: UploadId) -> Command {
    let record = UploadRecord {
        initiated_ms: 1,
        headers: ObjectHeaders::default(),
        tags: Tags::default(),
        lock: Lock::default(),
        encryption: Encryption::Managed,
        checksum: None,
    };
    Command::CreateUpload { bucket: bucket(0), key: key(name), upload, record }
}

fn upload_with(parts: &[(u16, u64, u64)]) -> (Machine<MemoryKv>, UploadId, ObjectKey) {
    let machine = machine(Versioning::Unversioned);
    let key = key("big");
    let upload = UploadId::from_bytes([9; 16]);
    done(&machine, begin("big", upload));
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
    let sizes: BTreeSet<u64> = garbage.iter().map(|(_, g)| size(g)).collect();
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
    let query = UploadQuery { prefix: "bi".into(), limit: 2, ..UploadQuery::default() };
    assert_eq!(machine.list_uploads(&bucket(0), &query).unwrap().entries.len(), 1);
    machine.apply(Command::DeleteBucket { bucket: bucket(0), at_ms: 99 }).unwrap();
    assert_eq!(machine.garbage(None, u64::MAX, 10).unwrap().len(), 1);
    assert!(machine.garbage(None, 99, 10).unwrap().is_empty(), "not before its time");
    assert!(machine.parts(upload).unwrap().is_empty());
    assert_eq!(machine.usage(&bucket(0)).unwrap(), Default::default());
}

#[test]
fn listings_of_any_page_size_name_every_upload_once_and_in_order() {
    let machine = machine(Versioning::Unversioned);
    let id = |n: u8| UploadId::from_bytes([n; 16]);
    // Ids with bytes at both ends of the range, and keys that begin with one another.
    let all = [("a", 0), ("a", 255), ("a\u{1}", 1), ("b/1", 1), ("b/2", 0), ("b/2", 2), ("c", 0)];
    for (name, n) in all.iter().rev() {
        done(&machine, begin(name, id(*n)));
    }
    let list = |query: UploadQuery| {
        let mut query = query;
        let mut lines = Vec::new();
        loop {
            let page = machine.list_uploads(&bucket(0), &query).unwrap();
            assert!(page.entries.len() <= query.limit);
            lines.extend(page.entries.into_iter().map(|entry| match entry {
                UploadEntry::Upload { key, upload, .. } => {
                    (key.as_str().to_owned(), upload.as_bytes()[0])
                }
                UploadEntry::CommonPrefix(prefix) => (prefix, 77),
            }));
            match page.next {
                Some(next) => query.after = Some(next),
                None => return lines,
            }
        }
    };
    let owned = |lines: &[(&str, u8)]| -> Vec<_> {
        lines.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect()
    };
    for limit in 1..9 {
        let query = UploadQuery { limit, ..UploadQuery::default() };
        assert_eq!(list(query.clone()), owned(&all), "{limit}");
        let rolled = UploadQuery { delimiter: "/".into(), ..query.clone() };
        let expected = [("a", 0), ("a", 255), ("a\u{1}", 1), ("b/", 77), ("c", 0)];
        assert_eq!(list(rolled), owned(&expected), "{limit}");
        let within = UploadQuery { prefix: "b/".into(), delimiter: "/".into(), ..query.clone() };
        assert_eq!(list(within), owned(&all[3..6]), "{limit}");
        for (after, left) in [
            (AfterUpload::Key("a".into()), &all[2..]),
            (AfterUpload::Key("aa".into()), &all[3..]),
            (AfterUpload::Upload("a".into(), id(0)), &all[1..]),
            (AfterUpload::Upload("b/2".into(), id(1)), &all[5..]),
            (AfterUpload::Prefix("b/".into()), &all[6..]),
        ] {
            let query = UploadQuery { after: Some(after.clone()), ..query.clone() };
            assert_eq!(list(query), owned(left), "{after:?} {limit}");
        }
    }
    let none = UploadQuery::default();
    assert_eq!(machine.list_uploads(&bucket(0), &none).unwrap().next, None);
    let elsewhere = machine.list_uploads(&bucket(1), &none);
    assert_eq!(elsewhere.unwrap_err(), CatalogError::NoSuchBucket);
}

#[test]
fn parts_are_listed_by_pages() {
    let parts: Vec<_> = [1, 2, 255, 256, 10_000].map(|n: u16| (n, u64::from(n), 1)).into();
    let (machine, upload, _) = upload_with(&parts);
    let numbers = |after: Option<i64>, limit| -> Vec<_> {
        let after = after.map(|n| PartNumber::new(n).unwrap());
        let page = machine.list_parts(upload, after, limit).unwrap();
        page.into_iter().map(|(number, _)| number.get()).collect()
    };
    assert_eq!(numbers(None, 2), [1, 2]);
    assert_eq!(numbers(Some(2), 2), [255, 256]);
    assert_eq!(numbers(Some(300), 9), [10_000]);
    assert!(numbers(Some(10_000), 9).is_empty());
    assert!(numbers(None, 0).is_empty());
}
