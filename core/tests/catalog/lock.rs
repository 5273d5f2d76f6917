//! Object Lock and quotas.

use crate::support::*;
use coffer_core::bucket::{
    DefaultRetention, LockMode, ObjectLock, Retention, RetentionPeriod, Setting, Versioning,
};
use coffer_core::catalog::records::Lock;
use coffer_core::catalog::{Amendment, CatalogError, Command, Machine, MemoryKv, Outcome};
use coffer_core::ids::VersionName;

fn lockable() -> Machine<MemoryKv> {
    let machine = machine(Versioning::Enabled);
    done(&machine, set(0, Setting::ObjectLock(ObjectLock::default())));
    machine
}

fn retained(mode: LockMode, until_ms: u64) -> Lock {
    Lock { retention: Some(Retention { mode, until_ms }), legal_hold: false }
}

fn delete_version(seq: u64, id: u64, bypass: bool, at_ms: u64) -> Command {
    let name = VersionName::Id { seq, version: version(id) };
    let preconditions = vec![];
    Command::DeleteVersion {
        bucket: bucket(0),
        key: key("k"),
        version: name,
        preconditions,
        bypass,
        at_ms,
    }
}

fn amend(change: Amendment, at_ms: u64) -> Command {
    Command::AmendVersion { bucket: bucket(0), key: key("k"), version: None, change, at_ms }
}

fn retain(mode: LockMode, until_ms: u64, bypass: bool) -> Amendment {
    Amendment::Retention { retention: Some(Retention { mode, until_ms }), bypass }
}

#[test]
fn nobody_lifts_compliance_before_its_time() {
    let machine = lockable();
    done(&machine, put_locked(0, "k", 1, vec![], retained(LockMode::Compliance, 100)));
    for bypass in [false, true] {
        let refusal = refused(&machine, delete_version(0, 1, bypass, 99));
        assert!(matches!(refusal, CatalogError::Locked(_)));
        let shorter = amend(retain(LockMode::Compliance, 50, bypass), 10);
        assert!(matches!(refused(&machine, shorter), CatalogError::Locked(_)));
        let weaker = amend(retain(LockMode::Governance, 200, bypass), 10);
        assert!(matches!(refused(&machine, weaker), CatalogError::Locked(_)));
        let none = amend(Amendment::Retention { retention: None, bypass }, 10);
        assert!(matches!(refused(&machine, none), CatalogError::Locked(_)));
    }
    done(&machine, amend(retain(LockMode::Compliance, 150, false), 10));
    assert!(matches!(refused(&machine, delete_version(0, 1, true, 149)), CatalogError::Locked(_)));
    // A delete marker hides it and leaves it where it is.
    done(&machine, delete(0, "k", vec![], 20));
    assert!(matches!(refused(&machine, delete_version(0, 1, true, 30)), CatalogError::Locked(_)));
    done(&machine, delete_version(0, 1, false, 150));
}

#[test]
fn governance_is_lifted_only_by_those_who_may() {
    let machine = lockable();
    done(&machine, put_locked(0, "k", 1, vec![], retained(LockMode::Governance, 100)));
    let shorter = |bypass| amend(retain(LockMode::Governance, 50, bypass), 10);
    assert!(matches!(refused(&machine, shorter(false)), CatalogError::Locked(_)));
    assert!(matches!(refused(&machine, delete_version(0, 1, false, 10)), CatalogError::Locked(_)));
    done(&machine, shorter(true));
    done(&machine, delete_version(0, 1, true, 10));
}

#[test]
fn a_legal_hold_keeps_a_version_whoever_asks() {
    let machine = lockable();
    done(&machine, put(0, "k", 1, vec![]));
    done(&machine, amend(Amendment::LegalHold(true), 5));
    assert!(matches!(
        refused(&machine, delete_version(0, 1, true, u64::MAX)),
        CatalogError::Locked(_)
    ));
    done(&machine, amend(Amendment::LegalHold(false), 6));
    done(&machine, delete_version(0, 1, false, 7));
}

#[test]
fn the_buckets_default_holds_for_versions_without_a_retention_of_their_own() {
    let machine = lockable();
    let default = DefaultRetention { mode: LockMode::Compliance, period: RetentionPeriod::Days(1) };
    done(&machine, set(0, Setting::ObjectLock(ObjectLock { default: Some(default) })));
    done(&machine, put(0, "k", 7, vec![]));
    let lock = machine.version(&bucket(0), &key("k"), None).unwrap().record.lock;
    assert_eq!(lock.retention.unwrap().until_ms, 7 + 86_400_000);
    done(&machine, put_locked(0, "k", 8, vec![], retained(LockMode::Governance, 9)));
    let lock = machine.version(&bucket(0), &key("k"), None).unwrap().record.lock;
    assert_eq!(lock, retained(LockMode::Governance, 9));
}

#[test]
fn locks_need_a_bucket_that_was_made_for_them() {
    let plain = machine(Versioning::Enabled);
    let locked = put_locked(0, "k", 1, vec![], retained(LockMode::Governance, 100));
    assert_eq!(refused(&plain, locked), CatalogError::NoObjectLock);
    done(&plain, put(0, "k", 1, vec![]));
    assert_eq!(refused(&plain, amend(Amendment::LegalHold(true), 2)), CatalogError::NoObjectLock);

    let unversioned = machine(Versioning::Unversioned);
    let lock = || set(0, Setting::ObjectLock(ObjectLock::default()));
    assert!(matches!(refused(&unversioned, lock()), CatalogError::InvalidBucketState(_)));
    let suspend = set(0, Setting::Versioning(Versioning::Suspended));
    assert!(matches!(refused(&lockable(), suspend), CatalogError::InvalidBucketState(_)));
}

#[test]
fn a_quota_bounds_what_is_added_and_never_what_is_removed() {
    let machine = machine(Versioning::Unversioned);
    done(&machine, put(0, "a", 60, vec![]));
    done(&machine, set(0, Setting::Quota(Some(100))));
    let exceeded = CatalogError::QuotaExceeded { quota: 100 };
    assert_eq!(refused(&machine, put(0, "b", 41, vec![])), exceeded);
    done(&machine, put(0, "b", 40, vec![]));
    done(&machine, put(0, "a", 59, vec![]));
    done(&machine, set(0, Setting::Quota(Some(10))));
    let outcome = done(&machine, delete(0, "b", vec![], 70));
    assert!(matches!(outcome, Outcome::Deleted { existed: true, .. }));
    assert_eq!(machine.usage(&bucket(0)).unwrap().bytes, 59);
}
