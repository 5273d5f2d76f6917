//! The catalog against a model: the same random commands on both must give the same answers.

use crate::support::*;
use coffer_core::bucket::{Setting, TagLimit, Tags, Versioning};
use coffer_core::catalog::records::VersionState;
use coffer_core::catalog::{
    Amendment, CatalogError, Command, ListEntry, ListQuery, Machine, MemoryKv, Outcome,
    Precondition, VersionEntry, VersionQuery,
};
use coffer_core::ids::VersionName;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone)]
enum Op {
    Create(u8),
    Drop(u8),
    /// Enabled or suspended.
    Version(u8, bool),
    Put(u8, String, Cond),
    Delete(u8, String, Cond),
    /// The so-many-eth newest version, or the null version.
    DeleteVersion(u8, String, Option<usize>),
    Tag(u8, String, Option<usize>),
    List(u8, String, String, usize),
    ListVersions(u8, String, String, usize),
}

#[derive(Debug, Clone, Copy)]
enum Cond {
    None,
    Absent,
    Present,
    /// The etag that the object really has, if it has one.
    Right,
    Wrong,
    NotRight,
}

/// Few, short keys over a small alphabet, so that prefixes, delimiters and overwrites all happen.
fn keys() -> impl Strategy<Value = String> {
    prop_oneof![2 => "[ab]", 1 => "[a-c/é\u{1}]{1,3}"]
}

fn ops() -> impl Strategy<Value = Op> {
    let cond = prop_oneof![
        6 => Just(Cond::None),
        1 => Just(Cond::Absent),
        1 => Just(Cond::Present),
        1 => Just(Cond::Right),
        1 => Just(Cond::Wrong),
        1 => Just(Cond::NotRight),
    ];
    let which = prop_oneof![3 => (0usize..4).prop_map(Some), 1 => Just(None)];
    let query = ("[a-c/]{0,2}", "(/|é|aa|)", 1usize..5);
    prop_oneof![
        1 => (0u8..2).prop_map(Op::Create),
        1 => (0u8..2).prop_map(Op::Drop),
        2 => (0u8..2, any::<bool>()).prop_map(|(b, on)| Op::Version(b, on)),
        8 => (0u8..2, keys(), cond.clone()).prop_map(|(b, k, c)| Op::Put(b, k, c)),
        4 => (0u8..2, keys(), cond).prop_map(|(b, k, c)| Op::Delete(b, k, c)),
        4 => (0u8..2, keys(), which.clone()).prop_map(|(b, k, n)| Op::DeleteVersion(b, k, n)),
        1 => (0u8..2, keys(), which).prop_map(|(b, k, n)| Op::Tag(b, k, n)),
        2 => (0u8..2, query.clone()).prop_map(|(b, (p, d, n))| Op::List(b, p, d, n)),
        2 => (0u8..2, query).prop_map(|(b, (p, d, n))| Op::ListVersions(b, p, d, n)),
    ]
}

#[derive(Debug, Clone)]
struct Ver {
    id: u64,
    seq: u64,
    null: bool,
    marker: bool,
    tagged: u64,
}

impl Ver {
    fn name(&self) -> VersionName {
        if self.null {
            VersionName::Null
        } else {
            VersionName::Id { seq: self.seq, version: version(self.id) }
        }
    }
}

/// A bucket: the versions of each key, the oldest first.
#[derive(Debug, Default)]
struct ModelBucket {
    versioning: Versioning,
    keys: BTreeMap<String, Vec<Ver>>,
}

impl ModelBucket {
    fn current(&self, key: &str) -> Option<&Ver> {
        self.keys.get(key)?.last().filter(|v| !v.marker)
    }

    /// Adds a version as the bucket's versioning wants it.
    fn add(&mut self, key: String, id: u64, marker: bool) -> VersionName {
        let null = self.versioning != Versioning::Enabled;
        let versions = self.keys.entry(key).or_default();
        let seq = versions.last().map_or(0, |v| v.seq + 1);
        if null {
            versions.retain(|v| !v.null);
        }
        versions.push(Ver { id, seq, null, marker, tagged: 0 });
        versions.last().unwrap().name()
    }

    fn named(&self, name: VersionName) -> Option<VersionName> {
        (self.versioning != Versioning::Unversioned).then_some(name)
    }

    /// The name of a version that is there, or of one that is not.
    fn name_of(&self, key: &str, which: Option<usize>) -> VersionName {
        let Some(n) = which else { return VersionName::Null };
        let versions = self.keys.get(key).map(Vec::as_slice).unwrap_or_default();
        match versions.iter().rev().nth(n) {
            Some(found) => found.name(),
            None => VersionName::Id { seq: n as u64, version: version(u64::MAX) },
        }
    }

    fn objects(&self) -> BTreeMap<&str, u64> {
        let current = |key| self.current(key).map(|v| v.id);
        self.keys.keys().filter_map(|k| Some((k.as_str(), current(k)?))).collect()
    }
}

type Model = BTreeMap<u8, ModelBucket>;

fn check(cond: Cond, current: Option<u64>) -> (Vec<Precondition>, Result<(), CatalogError>) {
    let own = current.map_or("none".into(), etag);
    let (condition, holds) = match cond {
        Cond::None => return (vec![], Ok(())),
        Cond::Absent => (Precondition::Absent, current.is_none()),
        Cond::Present => (Precondition::Present, true),
        Cond::Right => (Precondition::Matches(own), true),
        Cond::Wrong => (Precondition::Matches(etag(u64::MAX)), false),
        Cond::NotRight => (Precondition::Differs(own), current.is_none()),
    };
    let needs_object = matches!(cond, Cond::Present | Cond::Right | Cond::Wrong);
    let result = match (holds, current) {
        (_, None) if needs_object => Err(CatalogError::NoSuchKey),
        (true, _) => Ok(()),
        (false, _) => Err(CatalogError::PreconditionFailed),
    };
    (vec![condition], result)
}

/// The listing by definition: all lines, rolled up, in order.
fn roll_up(key: &str, prefix: &str, delimiter: &str) -> Option<String> {
    let rest = key.strip_prefix(prefix)?;
    let at = if delimiter.is_empty() { None } else { rest.find(delimiter) };
    Some(match at {
        Some(at) => key[..prefix.len() + at + delimiter.len()].to_owned(),
        None => key.to_owned(),
    })
}

fn list_naively(bucket: &ModelBucket, prefix: &str, delimiter: &str) -> Vec<String> {
    let lines: BTreeSet<String> =
        bucket.objects().keys().filter_map(|k| roll_up(k, prefix, delimiter)).collect();
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

fn list_versions_naively(bucket: &ModelBucket, prefix: &str, delimiter: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (key, versions) in &bucket.keys {
        match roll_up(key, prefix, delimiter) {
            Some(rolled) if rolled == *key && !ends_with(key, prefix, delimiter) => {
                for (i, v) in versions.iter().rev().enumerate() {
                    lines.push(format!("{key} {} {} {}", v.name(), v.marker, i == 0));
                }
            }
            Some(rolled) if !versions.is_empty() && lines.last() != Some(&rolled) => {
                lines.push(rolled);
            }
            _ => {}
        }
    }
    lines
}

/// Whether a key is itself what it would be rolled up into.
fn ends_with(key: &str, prefix: &str, delimiter: &str) -> bool {
    !delimiter.is_empty()
        && key.strip_prefix(prefix).is_some_and(|rest| {
            rest.find(delimiter).is_some_and(|at| at + delimiter.len() == rest.len())
        })
}

fn list_versions_by_pages(
    machine: &Machine<MemoryKv>,
    b: u8,
    prefix: &str,
    delimiter: &str,
    limit: usize,
) -> Vec<String> {
    let mut lines = Vec::new();
    let mut query =
        VersionQuery { prefix: prefix.into(), delimiter: delimiter.into(), after: None, limit };
    loop {
        let page = machine.list_versions(&bucket(b), &query).unwrap();
        assert!(page.entries.len() <= limit);
        lines.extend(page.entries.into_iter().map(|e| match e {
            VersionEntry::Version { key, version, is_latest } => {
                let marker = matches!(version.state, VersionState::Marker(_));
                format!("{} {} {marker} {is_latest}", key.as_str(), version.name())
            }
            VersionEntry::CommonPrefix(prefix) => prefix,
        }));
        match page.next {
            Some(next) => query.after = Some(next),
            None => return lines,
        }
    }
}

fn tags(id: u64) -> Tags {
    Tags::new(TagLimit::Object, [("id".to_owned(), id.to_string())]).unwrap()
}

/// Applies one operation to both and compares what they say.
fn step(
    machine: &Machine<MemoryKv>,
    model: &mut Model,
    written: &mut BTreeSet<u64>,
    id: u64,
    op: Op,
) -> Result<(), TestCaseError> {
    let gone = || Err(CatalogError::NoSuchBucket);
    match op {
        Op::Create(b) => {
            let exists = model.contains_key(&b);
            let expected = if exists { Err(CatalogError::BucketExists) } else { Ok(Outcome::Done) };
            prop_assert_eq!(machine.apply(create(b)), expected);
            model.entry(b).or_default();
        }
        Op::Drop(b) => {
            let expected = match model.get(&b) {
                None => gone(),
                Some(m) if m.keys.values().any(|v| !v.is_empty()) => {
                    Err(CatalogError::BucketNotEmpty)
                }
                Some(_) => {
                    model.remove(&b);
                    Ok(Outcome::Done)
                }
            };
            let drop = Command::DeleteBucket { bucket: bucket(b), at_ms: id };
            prop_assert_eq!(machine.apply(drop), expected);
        }
        Op::Version(b, on) => {
            let versioning = if on { Versioning::Enabled } else { Versioning::Suspended };
            let result = machine.apply(set(b, Setting::Versioning(versioning)));
            match model.get_mut(&b) {
                None => prop_assert_eq!(result, gone()),
                Some(m) => {
                    m.versioning = versioning;
                    prop_assert_eq!(result, Ok(Outcome::Done));
                }
            }
        }
        Op::Put(b, name, cond) => {
            let current = model.get(&b).and_then(|m| m.current(&name)).map(|v| v.id);
            let (preconditions, expected) = check(cond, current);
            let result = machine.apply(put(b, &name, id, preconditions));
            let Some(m) = model.get_mut(&b) else {
                prop_assert_eq!(result, gone());
                return Ok(());
            };
            if let Err(error) = expected {
                prop_assert_eq!(result, Err(error));
                return Ok(());
            }
            let made = m.add(name, id, false);
            written.insert(id);
            let Ok(Outcome::Committed { size, version, .. }) = result else {
                return Err(TestCaseError::fail(format!("{result:?}")));
            };
            let kept = (made != VersionName::Null).then_some(made);
            prop_assert_eq!((size, version), (id, kept));
        }
        Op::Delete(b, name, cond) => {
            let current = model.get(&b).and_then(|m| m.current(&name)).map(|v| v.id);
            let (preconditions, expected) = check(cond, current);
            let result = machine.apply(delete(b, &name, preconditions, id));
            let Some(m) = model.get_mut(&b) else {
                prop_assert_eq!(result, gone());
                return Ok(());
            };
            // A condition on what is not there: a delete marker fails it, else nothing is done.
            if !matches!(cond, Cond::None) && current.is_none() {
                let unmet = m.keys.get(&name).is_some_and(|v| !v.is_empty());
                let nothing =
                    Outcome::Deleted { existed: false, made_marker: None, was_marker: false };
                let expected =
                    if unmet { Err(CatalogError::PreconditionFailed) } else { Ok(nothing) };
                prop_assert_eq!(result, expected);
                return Ok(());
            }
            let expected = expected.map(|()| {
                let made_marker = if m.versioning == Versioning::Unversioned {
                    m.keys.remove(&name);
                    None
                } else {
                    Some(m.add(name, id, true))
                };
                Outcome::Deleted { existed: current.is_some(), made_marker, was_marker: false }
            });
            prop_assert_eq!(result, expected);
        }
        Op::DeleteVersion(b, name, which) => {
            let version = model.get(&b).map_or(VersionName::Null, |m| m.name_of(&name, which));
            let result = machine.apply(Command::DeleteVersion {
                bucket: bucket(b),
                key: key(&name),
                version,
                preconditions: vec![],
                bypass: false,
                at_ms: id,
            });
            let Some(m) = model.get_mut(&b) else {
                prop_assert_eq!(result, gone());
                return Ok(());
            };
            let versions = m.keys.entry(name).or_default();
            let at = versions.iter().position(|v| v.name() == version);
            let deleted = at.map(|at| versions.remove(at));
            let was_marker = deleted.as_ref().is_some_and(|v| v.marker);
            let existed = deleted.is_some();
            prop_assert_eq!(
                result,
                Ok(Outcome::Deleted { existed, made_marker: None, was_marker })
            );
        }
        Op::Tag(b, name, which) => {
            let Some(m) = model.get_mut(&b) else { return Ok(()) };
            let version = m.name_of(&name, which);
            let result = machine.apply(Command::AmendVersion {
                bucket: bucket(b),
                key: key(&name),
                version: Some(version),
                change: Amendment::Tags(tags(id)),
                at_ms: id,
            });
            let named = m.named(version);
            let found = m.keys.entry(name).or_default().iter_mut().find(|v| v.name() == version);
            let expected = match found {
                None => Err(CatalogError::NoSuchVersion),
                Some(v) if v.marker => Err(CatalogError::IsDeleteMarker(version)),
                Some(v) => {
                    v.tagged = id;
                    Ok(Outcome::Amended { version: named })
                }
            };
            prop_assert_eq!(result, expected);
        }
        Op::List(b, prefix, delimiter, limit) => {
            let Some(m) = model.get(&b) else { return Ok(()) };
            prop_assert_eq!(
                list_by_pages(machine, b, &prefix, &delimiter, limit),
                list_naively(m, &prefix, &delimiter)
            );
        }
        Op::ListVersions(b, prefix, delimiter, limit) => {
            let Some(m) = model.get(&b) else { return Ok(()) };
            prop_assert_eq!(
                list_versions_by_pages(machine, b, &prefix, &delimiter, limit),
                list_versions_naively(m, &prefix, &delimiter)
            );
        }
    }
    Ok(())
}

/// Every version reads back as it was written; everything else that was written is garbage, exactly
/// once: nothing leaks and nothing live is collected. Usage is what there is.
fn compare_all(
    machine: &Machine<MemoryKv>,
    model: &Model,
    written: &BTreeSet<u64>,
) -> Result<(), TestCaseError> {
    let mut live = BTreeSet::new();
    for (b, m) in model {
        let (mut versions, mut bytes) = (0, 0);
        for (name, all) in &m.keys {
            for v in all.iter().filter(|v| !v.marker) {
                let found = machine.version_with_manifest(&bucket(*b), &key(name), Some(v.name()));
                let (found, manifest) = found.unwrap();
                prop_assert_eq!((found.record.size, manifest.size()), (v.id, v.id));
                let expected = if v.tagged > 0 { tags(v.tagged) } else { Tags::default() };
                prop_assert_eq!(found.record.tags, expected);
                versions += 1;
                bytes += v.id;
                live.insert(v.id);
            }
            let current = machine.version(&bucket(*b), &key(name), None);
            match all.last() {
                None => prop_assert_eq!(current, Err(CatalogError::NoSuchKey)),
                Some(v) if v.marker => {
                    prop_assert_eq!(current, Err(CatalogError::Deleted(v.name())));
                }
                Some(v) => prop_assert_eq!(current.unwrap().name(), v.name()),
            }
        }
        let usage = machine.usage(&bucket(*b)).unwrap();
        prop_assert_eq!((usage.versions, usage.bytes), (versions, bytes));
    }
    let garbage = machine.garbage(None, u64::MAX, usize::MAX).unwrap();
    let sizes: Vec<u64> = garbage.iter().map(|(_, g)| size(g)).collect();
    let set: BTreeSet<u64> = sizes.iter().copied().collect();
    prop_assert_eq!(sizes.len(), set.len());
    prop_assert!(live.is_disjoint(&set));
    prop_assert_eq!(&live.union(&set).copied().collect::<BTreeSet<_>>(), written);
    Ok(())
}

proptest! {
    #[test]
    fn catalog_and_model_agree(ops in proptest::collection::vec(ops(), 1..80)) {
        let machine = Machine::new(MemoryKv::default());
        let mut model = Model::new();
        let mut written = BTreeSet::new();
        for (id, op) in ops.into_iter().enumerate() {
            step(&machine, &mut model, &mut written, id as u64 + 1, op)?;
        }
        compare_all(&machine, &model, &written)?;
    }
}
