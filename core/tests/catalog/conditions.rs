//! Conditions by which a worker deletes only what it has seen, and as it has seen it.

use crate::support::*;
use coffer_core::bucket::{Setting, TagLimit, Tags, Versioning};
use coffer_core::catalog::{Amendment, CatalogError, Command, Outcome, Precondition};
use coffer_core::ids::VersionName;

fn named(seq: u64, id: u64) -> VersionName {
    VersionName::Id { seq, version: version(id) }
}

fn delete_version(name: VersionName, preconditions: Vec<Precondition>) -> Command {
    Command::DeleteVersion {
        bucket: bucket(0),
        key: key("k"),
        version: name,
        preconditions,
        bypass: false,
        at_ms: 99,
    }
}

fn noncurrent(id: u64) -> Vec<Precondition> {
    vec![Precondition::Version(version(id)), Precondition::Noncurrent]
}

fn existed(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Deleted { existed: true, .. })
}

#[test]
fn a_version_that_became_current_again_is_not_deleted_as_noncurrent() {
    let machine = machine(Versioning::Enabled);
    for id in 1..=3 {
        done(&machine, put(0, "k", id, vec![]));
    }
    assert!(existed(&done(&machine, delete_version(named(0, 1), noncurrent(1)))));
    done(&machine, delete_version(named(2, 3), vec![]));
    let refusal = refused(&machine, delete_version(named(1, 2), noncurrent(2)));
    assert_eq!(refusal, CatalogError::PreconditionFailed);
    assert_eq!(machine.version(&bucket(0), &key("k"), None).unwrap().name(), named(1, 2));
}

#[test]
fn a_marker_that_became_the_newest_again_keeps_hiding_what_is_below() {
    let machine = machine(Versioning::Enabled);
    done(&machine, put(0, "k", 1, vec![]));
    done(&machine, delete(0, "k", vec![], 2));
    let refusal = refused(&machine, delete_version(named(1, 2), noncurrent(2)));
    assert_eq!(refusal, CatalogError::PreconditionFailed);
    done(&machine, put(0, "k", 3, vec![]));
    assert!(existed(&done(&machine, delete_version(named(1, 2), noncurrent(2)))));
    assert_eq!(machine.version(&bucket(0), &key("k"), None).unwrap().name(), named(2, 3));
}

#[test]
fn the_null_version_is_only_deleted_if_it_is_still_the_same() {
    let machine = machine(Versioning::Suspended);
    done(&machine, delete(0, "k", vec![], 1));
    let seen = vec![Precondition::Version(version(1))];
    done(&machine, put(0, "k", 2, vec![]));
    let refusal = refused(&machine, delete_version(VersionName::Null, seen.clone()));
    assert_eq!(refusal, CatalogError::PreconditionFailed);
    done(&machine, delete(0, "k", vec![], 3));
    let refusal = refused(&machine, delete_version(VersionName::Null, seen));
    assert_eq!(refusal, CatalogError::PreconditionFailed);
    let seen = vec![Precondition::Version(version(3))];
    assert!(existed(&done(&machine, delete_version(VersionName::Null, seen))));
}

#[test]
fn an_object_whose_tags_have_changed_is_not_deleted_for_the_old_ones() {
    let machine = machine(Versioning::Unversioned);
    let tags = Tags::from_query(TagLimit::Object, "keep=yes").unwrap();
    done(&machine, put(0, "k", 1, vec![]));
    let change = Amendment::Tags(tags.clone());
    let key = key("k");
    let amend = Command::AmendVersion { bucket: bucket(0), key, version: None, change, at_ms: 2 };
    done(&machine, amend);
    let as_seen = |tags| vec![Precondition::Version(version(1)), Precondition::Tagged(tags)];
    let refusal = refused(&machine, delete(0, "k", as_seen(Tags::default()), 3));
    assert_eq!(refusal, CatalogError::PreconditionFailed);
    done(&machine, set(0, Setting::Versioning(Versioning::Enabled)));
    assert!(existed(&done(&machine, delete(0, "k", as_seen(tags), 4))));
}
