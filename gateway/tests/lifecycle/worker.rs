//! Round by round, at times of our own: what is due goes, nothing else does, and whoever comes
//! between wins.

use crate::store::*;
use coffer_core::bucket::lifecycle::{Expiration, Filter, Rule};
use coffer_core::bucket::{LockMode, Retention, Setting, Tags, Versioning};
use coffer_core::catalog::records::{Encryption, Lock, UploadRecord};
use coffer_core::catalog::{Amendment, Command, UploadQuery};
use coffer_core::ids::UploadId;
use coffer_core::manifest::ObjectHeaders;
use coffer_gateway::lifecycle::Done;

#[tokio::test]
async fn objects_expire_by_prefix_and_never_early() {
    let store = Store::new(Versioning::Unversioned, vec![days("tmp/", 2), days("log", 5)]).await;
    for name in ["keep", "log", "log/x", "tmp", "tmp/a", "tmp/b", "tmp/c", "tmp/d", "tmp0"] {
        store.put(name, 100).await;
    }
    let early = store.round(100 + 2 * DAY - 1).await;
    assert_eq!((early.changes(), early.seen), (0, 6), "only what the rules are about is read");
    let due = store.round(100 + 2 * DAY).await;
    assert_eq!((due.expired, due.changes(), due.buckets), (4, 4, 1));
    assert_eq!(store.versions(), ["keep 100*", "log 100*", "log/x 100*", "tmp 100*", "tmp0 100*"]);
    assert_eq!(store.round(100 + 9 * DAY).await.expired, 2);
    assert_eq!(store.versions(), ["keep 100*", "tmp 100*", "tmp0 100*"]);
}

#[tokio::test]
async fn objects_expire_by_tags_and_size() {
    let tagged = Filter { tags: tags("class=tmp"), ..Filter::default() };
    let large = Filter { larger_than: Some(100), smaller_than: Some(200), ..Filter::default() };
    let one_day = Some(Expiration::Days(1));
    let rules = vec![
        Rule { filter: tagged, expiration: one_day, ..rule("tags") },
        Rule { filter: large, expiration: one_day, ..rule("size") },
        Rule { enabled: false, ..days("", 1) },
    ];
    let store = Store::new(Versioning::Unversioned, rules).await;
    store.put_with("a", |o| o.tags = tags("class=tmp&x=y")).await;
    store.put_with("b", |o| o.tags = tags("class=keep")).await;
    store.put_with("c", |o| o.size = 100).await;
    store.put_with("d", |o| o.size = 101).await;
    store.put_with("e", |o| o.size = 200).await;
    assert_eq!(store.round(DAY).await.expired, 2);
    assert_eq!(store.versions(), ["b 0*", "c 0*", "e 0*"]);
}

#[tokio::test]
async fn with_versions_kept_a_marker_comes_first_and_all_goes_in_the_end() {
    let everything = vec![days("", 1), noncurrent(1, None)];
    let store = Store::new(Versioning::Enabled, everything).await;
    store.put("k", 0).await;
    store.put("k", 100).await;
    assert_eq!(store.round(DAY).await.changes(), 0);
    // The older one ceased to be current at 100, when the newer one was made.
    let due = store.round(DAY + 100).await;
    assert_eq!((due.expired, due.noncurrent), (1, 1));
    assert_eq!(store.versions(), ["k 1100+*", "k 100"]);
    assert_eq!(store.round(DAY + 100).await.changes(), 0, "nothing is done twice");
    // Then the marker has been there for a day; when it is alone, it goes in the next round.
    assert_eq!(store.round(2 * DAY + 100).await.noncurrent, 1);
    assert_eq!(store.versions(), ["k 1100+*"]);
    assert_eq!(store.round(2 * DAY + 100).await.markers, 1);
    assert!(store.versions().is_empty());
}

#[tokio::test]
async fn the_newest_noncurrent_versions_are_kept_whatever_the_pages() {
    for page in [1, 2, 3, 100] {
        let store = Store::new(Versioning::Enabled, vec![noncurrent(1, Some(2))]).await;
        for (name, count) in [("a", 4), ("b", 1), ("c", 6)] {
            for n in 0..count {
                store.put(name, n).await;
            }
        }
        store.delete("c", 6).await;
        let due = store.round_by(page, 9 * DAY).await;
        assert_eq!(due.noncurrent, 1 + 4, "{page}");
        let left = ["a 3*", "a 2", "a 1", "b 0*", "c 6+*", "c 5", "c 4"];
        assert_eq!(store.versions(), left, "{page}");
    }
}

#[tokio::test]
async fn expired_delete_markers_go_only_when_nothing_is_below_them() {
    let markers = Rule { expiration: Some(Expiration::ExpiredDeleteMarker), ..rule("markers") };
    for page in [1, 100] {
        let store = Store::new(Versioning::Enabled, vec![markers.clone()]).await;
        store.delete("alone", 5).await;
        store.put("below", 1).await;
        store.delete("below", 5).await;
        store.delete("twice", 5).await;
        store.delete("twice", 6).await;
        assert_eq!(store.round_by(page, 5).await.markers, 1);
        assert_eq!(store.versions(), ["below 5+*", "below 1", "twice 6+*", "twice 5+"]);
    }
}

#[tokio::test]
async fn uploads_that_nobody_completes_are_aborted() {
    let filter = Filter { prefix: Some("in/".into()), ..Filter::default() };
    let aborts = Rule { filter, abort_uploads_after_days: Some(2), ..rule("uploads") };
    let store = Store::new(Versioning::Unversioned, vec![aborts]).await;
    let begin = |name: &str, n: u8, at_ms| Command::CreateUpload {
        bucket: bucket(),
        key: key(name),
        upload: UploadId::from_bytes([n; 16]),
        record: UploadRecord {
            initiated_ms: at_ms,
            headers: ObjectHeaders::default(),
            tags: Tags::default(),
            lock: Lock::default(),
            encryption: Encryption::Managed,
            checksum: None,
        },
    };
    for n in 0..9 {
        store.done(begin("in/a", n, u64::from(n))).await;
    }
    store.done(begin("out", 9, 0)).await;
    store.put("in/object", 0).await;
    assert_eq!(store.round(2 * DAY - 1).await.changes(), 0);
    assert_eq!(store.round(2 * DAY + 4).await.uploads, 5);
    let query = UploadQuery { limit: 100, ..UploadQuery::default() };
    let list = store.catalog.list(bucket(), move |c, b| c.list_uploads(b, &query)).await;
    assert_eq!(list.unwrap().entries.len(), 4 + 1);
    assert_eq!(store.versions(), ["in/object 0*"]);
}

#[tokio::test]
async fn what_is_locked_stays_until_it_is_free() {
    let store = Store::new(Versioning::Enabled, vec![noncurrent(1, None)]).await;
    let retention = |mode| Some(Retention { mode, until_ms: 5 * DAY });
    store.put_with("a", |o| o.lock.retention = retention(LockMode::Governance)).await;
    store.put_with("b", |o| o.lock.retention = retention(LockMode::Compliance)).await;
    store.put_with("c", |o| o.lock.legal_hold = true).await;
    for name in ["a", "b", "c", "d", "d"] {
        store.put(name, 1).await;
    }
    let held = store.round(2 * DAY).await;
    assert_eq!((held.locked, held.noncurrent), (3, 1));
    assert_eq!(store.versions().len(), 7);
    let free = store.round(5 * DAY).await;
    assert_eq!((free.locked, free.noncurrent), (1, 2));
    assert_eq!(store.versions(), ["a 1*", "b 1*", "c 1*", "c 0", "d 1*"]);
}

#[tokio::test]
async fn whoever_comes_between_wins() {
    let store = Store::new(Versioning::Unversioned, vec![days("", 1)]).await;
    store.put("k", 0).await;
    let young = store.object("k", 5 * DAY);
    let between = vec![store.put_command("k", young)];
    let overtaken = store.round_with(5 * DAY, between).await;
    assert_eq!((overtaken.expired, overtaken.overtaken), (0, 1));
    assert_eq!(store.versions(), ["k 5000*"]);

    let filter = Filter { tags: tags("class=tmp"), ..Filter::default() };
    let by_tag = Rule { filter, expiration: Some(Expiration::Days(1)), ..rule("tags") };
    let store = Store::new(Versioning::Unversioned, vec![by_tag]).await;
    store.put_with("k", |o| o.tags = tags("class=tmp")).await;
    let retag = Command::AmendVersion {
        bucket: bucket(),
        key: key("k"),
        version: None,
        change: Amendment::Tags(tags("class=keep")),
        at_ms: 1,
    };
    let overtaken = store.round_with(5 * DAY, vec![retag]).await;
    assert_eq!((overtaken.expired, overtaken.overtaken), (0, 1));

    // The current version is deleted: the one below it is current again, and stays.
    let store = Store::new(Versioning::Enabled, vec![noncurrent(1, None)]).await;
    store.put("k", 0).await;
    store.put("k", 1).await;
    let current = store.catalog.list(bucket(), |c, b| c.version(b, &key("k"), None)).await.unwrap();
    let delete = Command::DeleteVersion {
        bucket: bucket(),
        key: key("k"),
        version: current.name(),
        preconditions: vec![],
        bypass: false,
        at_ms: 2,
    };
    let overtaken = store.round_with(5 * DAY, vec![delete]).await;
    assert_eq!((overtaken.noncurrent, overtaken.overtaken), (0, 1));
    assert_eq!(store.versions(), ["k 0*"]);
}

#[tokio::test]
async fn rules_that_change_end_the_turn() {
    let store = Store::new(Versioning::Unversioned, vec![days("", 1)]).await;
    for n in 0..9 {
        store.put(&format!("k{n}"), 0).await;
    }
    let setting = Box::new(Setting::Lifecycle(None));
    *store.kv.then.lock().unwrap() = vec![Command::SetBucket { bucket: bucket(), setting }];
    // The first page was read while they were in force.
    assert_eq!(store.round_by(2, 5 * DAY).await.expired, 2);
    assert_eq!(store.versions().len(), 7);
    assert_eq!(store.round(5 * DAY).await, Done::default());
}
