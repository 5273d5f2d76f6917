//! The catalog against a model: the same random commands on both must give the same answers.

#![allow(clippy::unwrap_used)]

use coffer_core::catalog::records::{BucketRecord, ObjectRecord, PartRecord, UploadRecord};
use coffer_core::catalog::{
    CatalogError, Command, ListEntry, ListQuery, Machine, MemoryKv, Outcome, Precondition,
};
use coffer_core::erasure::Code;
use coffer_core::ids::{BlobId, BucketName, ObjectKey, PartNumber, UploadId, VersionId};
use coffer_core::manifest::{Content, ETag, Manifest, ObjectHeaders, Part};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn bucket(n: u8) -> BucketName {
    BucketName::new(format!("bucket-{n}")).unwrap()
}

fn part(id: u64, size: u64) -> Part {
    let mut md5 = [0; 16];
    md5[..8].copy_from_slice(&id.to_be_bytes());
    Part {
        blob: BlobId::from_bytes(u128::from(id).to_be_bytes()),
        wrapped_key: vec![],
        size,
        md5,
        content: Content::Inline(vec![0; 32]),
    }
}

fn put(b: u8, key: &str, id: u64, precondition: Precondition) -> Command {
    let part = part(id, id);
    Command::PutObject {
        bucket: bucket(b),
        key: ObjectKey::new(key).unwrap(),
        record: Box::new(ObjectRecord {
            version: VersionId::from_bytes(u128::from(id).to_be_bytes()),
            size: part.size,
            etag: ETag::Whole(part.md5),
            modified_ms: id,
            headers: ObjectHeaders::default(),
            checksums: BTreeMap::new(),
        }),
        manifest: Manifest { parts: vec![part] },
        precondition,
    }
}

fn create(b: u8) -> Command {
    let record = BucketRecord { created_ms: 0, wrapped_key: vec![], code: Code::DEFAULT };
    Command::CreateBucket { bucket: bucket(b), record }
}

#[derive(Debug, Clone)]
enum Op {
    Create(u8),
    Drop(u8),
    Put(u8, String, Cond),
    Delete(u8, String, Cond),
    List(u8, String, String, usize),
}

#[derive(Debug, Clone, Copy)]
enum Cond {
    None,
    Absent,
    Present,
    /// The etag that the object really has, if it has one.
    Right,
    Wrong,
}

/// Few, short keys over a small alphabet, so that prefixes, delimiters and overwrites all happen.
fn keys() -> impl Strategy<Value = String> {
    "[a-c/é]{1,5}"
}

fn ops() -> impl Strategy<Value = Op> {
    let cond = prop_oneof![
        4 => Just(Cond::None),
        1 => Just(Cond::Absent),
        1 => Just(Cond::Present),
        1 => Just(Cond::Right),
        1 => Just(Cond::Wrong)
    ];
    prop_oneof![
        1 => (0u8..2).prop_map(Op::Create),
        1 => (0u8..2).prop_map(Op::Drop),
        8 => (0u8..2, keys(), cond.clone()).prop_map(|(b, k, c)| Op::Put(b, k, c)),
        4 => (0u8..2, keys(), cond).prop_map(|(b, k, c)| Op::Delete(b, k, c)),
        2 => (0u8..2, "[a-c/]{0,2}", "(/|é|aa|)", 1usize..5).prop_map(|(b, p, d, n)| Op::List(b, p, d, n)),
    ]
}

type Model = BTreeMap<u8, BTreeMap<String, u64>>;

fn etag(id: u64) -> String {
    ETag::Whole(part(id, 0).md5).to_string()
}

fn check(cond: Cond, current: Option<u64>) -> (Precondition, bool) {
    match cond {
        Cond::None => (Precondition::None, true),
        Cond::Absent => (Precondition::Absent, current.is_none()),
        Cond::Present => (Precondition::Present, current.is_some()),
        Cond::Right => {
            (Precondition::Matches(current.map_or("none".into(), etag)), current.is_some())
        }
        Cond::Wrong => (Precondition::Matches(etag(u64::MAX)), false),
    }
}

/// The listing by definition: all keys, rolled up, in order.
fn list_naively(keys: &BTreeMap<String, u64>, prefix: &str, delimiter: &str) -> Vec<String> {
    let mut lines = BTreeSet::new();
    for key in keys.keys().filter(|k| k.starts_with(prefix)) {
        let rest = &key[prefix.len()..];
        let cut = if delimiter.is_empty() { None } else { rest.find(delimiter) };
        lines.insert(match cut {
            Some(at) => key[..prefix.len() + at + delimiter.len()].to_owned(),
            None => key.clone(),
        });
    }
    lines.into_iter().collect()
}

fn list_by_pages(
    machine: &Machine<MemoryKv>,
    b: u8,
    prefix: &str,
    delimiter: &str,
    limit: usize,
) -> Vec<String> {
    let mut lines = Vec::new();
    let mut query =
        ListQuery { prefix: prefix.into(), delimiter: delimiter.into(), after: None, limit };
    loop {
        let page = machine.list(&bucket(b), &query).unwrap();
        assert!(page.entries.len() <= limit);
        lines.extend(page.entries.into_iter().map(|e| match e {
            ListEntry::Object(key, _) => key.as_str().to_owned(),
            ListEntry::CommonPrefix(prefix) => prefix,
        }));
        match page.next {
            Some(next) => query.after = Some(next),
            None => return lines,
        }
    }
}

proptest! {
    #[test]
    fn catalog_and_model_agree(ops in proptest::collection::vec(ops(), 1..80)) {
        let machine = Machine::new(MemoryKv::default());
        let mut model = Model::new();
        let mut written = BTreeSet::new();
        for (id, op) in ops.into_iter().enumerate() {
            let id = id as u64 + 1;
            match op {
                Op::Create(b) => {
                    let expected = if model.contains_key(&b) { Err(CatalogError::BucketExists) } else { Ok(Outcome::Done) };
                    prop_assert_eq!(machine.apply(create(b)), expected);
                    model.entry(b).or_default();
                }
                Op::Drop(b) => {
                    let expected = match model.get(&b) {
                        None => Err(CatalogError::NoSuchBucket),
                        Some(keys) if !keys.is_empty() => Err(CatalogError::BucketNotEmpty),
                        Some(_) => { model.remove(&b); Ok(Outcome::Done) }
                    };
                    prop_assert_eq!(machine.apply(Command::DeleteBucket { bucket: bucket(b), at_ms: id }), expected);
                }
                Op::Put(b, key, cond) => {
                    let current = model.get(&b).and_then(|k| k.get(&key)).copied();
                    let (precondition, holds) = check(cond, current);
                    let result = machine.apply(put(b, &key, id, precondition));
                    match model.get_mut(&b) {
                        None => prop_assert_eq!(result, Err(CatalogError::NoSuchBucket)),
                        Some(_) if !holds => prop_assert_eq!(result, Err(CatalogError::PreconditionFailed)),
                        Some(keys) => {
                            prop_assert!(result.is_ok());
                            keys.insert(key, id);
                            written.insert(id);
                        }
                    }
                }
                Op::Delete(b, key, cond) => {
                    let current = model.get(&b).and_then(|k| k.get(&key)).copied();
                    let (precondition, holds) = check(cond, current);
                    let result = machine.apply(Command::DeleteObject {
                        bucket: bucket(b), key: ObjectKey::new(key.clone()).unwrap(), precondition, at_ms: id,
                    });
                    match model.get_mut(&b) {
                        None => prop_assert_eq!(result, Err(CatalogError::NoSuchBucket)),
                        Some(_) if !holds => prop_assert_eq!(result, Err(CatalogError::PreconditionFailed)),
                        Some(keys) => prop_assert_eq!(result, Ok(Outcome::Deleted { existed: keys.remove(&key).is_some() })),
                    }
                }
                Op::List(b, prefix, delimiter, limit) => if let Some(keys) = model.get(&b) {
                    prop_assert_eq!(
                        list_by_pages(&machine, b, &prefix, &delimiter, limit),
                        list_naively(keys, &prefix, &delimiter)
                    );
                }
            }
        }
        // Every object reads back as last written; everything else that was written is garbage,
        // exactly once: nothing leaks and nothing live is collected.
        let mut live = BTreeSet::new();
        for (b, keys) in &model {
            for (key, id) in keys {
                let (record, manifest) = machine.object_with_manifest(&bucket(*b), &ObjectKey::new(key.clone()).unwrap()).unwrap();
                prop_assert_eq!((record.size, manifest.size()), (*id, *id));
                live.insert(*id);
            }
        }
        let garbage: Vec<u64> = machine.garbage(None, u64::MAX, usize::MAX).unwrap().iter().map(|(_, g)| g.manifest.size()).collect();
        let garbage_set: BTreeSet<u64> = garbage.iter().copied().collect();
        prop_assert_eq!(garbage.len(), garbage_set.len());
        prop_assert!(live.is_disjoint(&garbage_set));
        prop_assert_eq!(live.union(&garbage_set).copied().collect::<BTreeSet<_>>(), written);
    }
}

const MIB: u64 = 1024 * 1024;

fn upload_with(parts: &[(u16, u64, u64)]) -> (Machine<MemoryKv>, UploadId, ObjectKey) {
    let machine = Machine::new(MemoryKv::default());
    machine.apply(create(0)).unwrap();
    let key = ObjectKey::new("big").unwrap();
    let upload = UploadId::from_bytes([9; 16]);
    let record = UploadRecord { initiated_ms: 1, headers: ObjectHeaders::default() };
    let begun = Command::CreateUpload { bucket: bucket(0), key: key.clone(), upload, record };
    machine.apply(begun).unwrap();
    for (number, id, size) in parts {
        let record =
            PartRecord { modified_ms: *id, part: part(*id, *size), checksums: BTreeMap::new() };
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
        version: VersionId::from_bytes([5; 16]),
        checksums: BTreeMap::new(),
        precondition: Precondition::None,
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
}
