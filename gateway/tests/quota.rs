//! Quotas of buckets: who may set them, what they hold back, and what they count.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/people.rs"]
mod people;
#[path = "support/signed.rs"]
mod signed;

use coffer_client::ErrorKind;
use people::People;
use signed::{Extras, Signed};

/// Puts an object of `size` bytes; returns status and error code.
async fn put(who: &Signed, path: &str, size: usize) -> (u16, String) {
    let answer = who.must("PUT", path, Extras { body: vec![7; size], ..Extras::default() }).await;
    (answer.status.as_u16(), answer.code())
}

fn full() -> (u16, String) {
    (403, "QuotaExceeded".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_bucket_takes_no_more_until_something_goes() {
    let people = People::start().await;
    let (root, ann) = (&people.root, &people.ann);
    assert_eq!(ann.must("PUT", "/data", Extras::default()).await.status, 200);
    let none = ann.client().bucket_quota("data").await.unwrap();
    assert_eq!((none.bytes, none.usage.bytes, none.usage.versions), (None, 0, 0));
    root.client().set_bucket_quota("data", Some(100)).await.unwrap();

    assert_eq!(put(ann, "/data/a", 60).await.0, 200);
    assert_eq!(put(ann, "/data/b", 41).await, full());
    assert_eq!(put(ann, "/data/b", 40).await.0, 200);
    let held = ann.client().bucket_quota("data").await.unwrap();
    assert_eq!((held.bytes, held.usage.bytes, held.usage.versions), (Some(100), 100, 2));
    // In place of what is there, there is room for as much.
    assert_eq!(put(ann, "/data/a", 60).await.0, 200);
    assert_eq!(put(ann, "/data/a", 61).await, full());
    // Parts count before they are completed; what was refused does not.
    let begun = ann.must("POST", "/data/c", Extras { query: "uploads", ..Extras::default() }).await;
    let id = signed::Between::between(&*begun.text(), "<UploadId>", "</UploadId>").to_owned();
    let part = format!("partNumber=1&uploadId={id}");
    let extras = Extras { query: &part, body: vec![7; 10], ..Extras::default() };
    assert_eq!(ann.must("PUT", "/data/c", extras.clone()).await.code(), "QuotaExceeded");
    assert_eq!(ann.must("DELETE", "/data/b", Extras::default()).await.status, 204);
    assert_eq!(ann.must("PUT", "/data/c", extras).await.status, 200);
    let held = ann.client().bucket_quota("data").await.unwrap();
    assert_eq!((held.usage.bytes, held.usage.versions), (70, 1));

    // Below what is there: nothing goes, nothing comes.
    root.client().set_bucket_quota("data", Some(0)).await.unwrap();
    assert_eq!(put(ann, "/data/d", 1).await, full());
    assert_eq!(ann.must("GET", "/data/a", Extras::default()).await.body.len(), 60);
    root.client().set_bucket_quota("data", None).await.unwrap();
    assert_eq!(put(ann, "/data/d", 1).await.0, 200);
    people.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_administrators_set_quotas_and_strangers_learn_nothing() {
    let people = People::start().await;
    let (ann, eve, nobody) = (&people.ann, &people.eve, &people.nobody);
    assert_eq!(ann.must("PUT", "/data", Extras::default()).await.status, 200);
    let denied = ErrorKind::AccessDenied;
    let kind = |outcome: Result<_, coffer_client::Error>| outcome.err().map(|e| e.kind());
    // A bucket's owner pays nothing for storage, and so does not set its limit.
    assert_eq!(kind(ann.client().set_bucket_quota("data", Some(9)).await), Some(denied));
    assert_eq!(kind(ann.client().set_bucket_quota("data", None).await), Some(denied));
    for stranger in [eve, nobody, &people.bob] {
        assert_eq!(stranger.client().bucket_quota("data").await.unwrap_err().kind(), denied);
        assert_eq!(kind(stranger.client().set_bucket_quota("data", None).await), Some(denied));
    }
    let nowhere = people.root.client().bucket_quota("nowhere").await.unwrap_err();
    assert_eq!(nowhere.kind(), ErrorKind::NotFound);
    for (method, path, body, code) in [
        ("PUT", "/.coffer/v1/buckets/data/quota", "{\"bytes\": -1}", "InvalidRequest"),
        ("PUT", "/.coffer/v1/buckets/data/quota", "{}", "InvalidRequest"),
        ("POST", "/.coffer/v1/buckets/data/quota", "", "MethodNotAllowed"),
        ("GET", "/.coffer/v1/buckets/UPPER/quota", "", "InvalidBucketName"),
        ("GET", "/.coffer/v1/buckets/data", "", "NotImplemented"),
    ] {
        let extras = Extras { body: body.as_bytes().to_vec(), ..Extras::default() };
        assert_eq!(people.root.must(method, path, extras).await.code(), code, "{method} {path}");
    }
    people.cluster.stop().await;
}
