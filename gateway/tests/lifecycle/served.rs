//! Over real HTTP: rules go in and come out, bad ones are refused, objects say when they expire.

use crate::signed::{Between, Extras, Signed};
use coffer_client::Http3;
use coffer_gateway::run::{Embedded, EmbeddedOptions};
use std::time::Duration;

/// A cluster with a bucket `data`, in which a day has a second.
async fn cluster() -> (Signed, Embedded, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let start = || Embedded::start(dir.path(), EmbeddedOptions::default());
    start().await.unwrap().stop().await;
    let path = ["gateway/gateway.toml", "gateway.toml"].map(|name| dir.path().join(name));
    let path = path.iter().find(|path| path.exists()).unwrap();
    let config = std::fs::read_to_string(path).unwrap();
    let config = config
        .replace("lifecycle_interval_seconds = 3600", "lifecycle_interval_seconds = 1")
        .replace("lifecycle_day_seconds = 86400", "lifecycle_day_seconds = 1");
    std::fs::write(path, config).unwrap();
    let cluster = start().await.unwrap();
    let root = Signed::new(&cluster.client_profile(), Http3::Never);
    assert_eq!(root.must("PUT", "/data", Extras::default()).await.status, 200);
    (root, cluster, dir)
}

/// Sets rules; returns status and error code.
async fn set(root: &Signed, rules: &str) -> (u16, String) {
    let body = format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>").into_bytes();
    let answer =
        root.must("PUT", "/data", Extras { query: "lifecycle", body, ..Extras::default() });
    let answer = answer.await;
    (answer.status.as_u16(), answer.code())
}

fn query(query: &str) -> Extras<'_> {
    Extras { query, ..Extras::default() }
}

const TEMPORARY: &str = "<Rule><ID>old &amp; gone</ID><Status>Enabled</Status>\
    <Filter><Prefix>tmp/</Prefix></Filter><Expiration><Days>1</Days></Expiration></Rule>";

#[tokio::test(flavor = "multi_thread")]
async fn rules_go_in_and_come_out_as_they_are() {
    let (root, cluster, _dir) = cluster().await;
    let none = root.must("GET", "/data", query("lifecycle")).await;
    assert_eq!((none.status.as_u16(), &*none.code()), (404, "NoSuchLifecycleConfiguration"));
    let rules = "<Rule><AbortIncompleteMultipartUpload><DaysAfterInitiation>3</DaysAfterInitiation>\
        </AbortIncompleteMultipartUpload><ID>a</ID><Prefix>in/</Prefix><Status>Enabled</Status></Rule>\
        <Rule><Expiration><Date>2030-01-01T00:00:00Z</Date></Expiration><Filter><And>\
        <ObjectSizeGreaterThan>5</ObjectSizeGreaterThan><ObjectSizeLessThan>9</ObjectSizeLessThan>\
        <Prefix>x</Prefix><Tag><Key>k</Key><Value>v</Value></Tag></And></Filter><ID>b</ID>\
        <Status>Disabled</Status></Rule>\
        <Rule><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>\
        <Filter></Filter><ID>c</ID><NoncurrentVersionExpiration>\
        <NewerNoncurrentVersions>4</NewerNoncurrentVersions><NoncurrentDays>2</NoncurrentDays>\
        </NoncurrentVersionExpiration><Status>Enabled</Status></Rule>";
    assert_eq!(set(&root, rules).await, (200, String::new()));
    let shown = root.must("GET", "/data", query("lifecycle")).await.text();
    let shown = shown.between("2006-03-01/\">", "</LifecycleConfiguration>").to_owned();
    assert_eq!(shown.replace(".000Z", "Z"), rules);
    for _ in 0..2 {
        let gone = root.must("DELETE", "/data", query("lifecycle")).await;
        assert_eq!(gone.status, 204);
    }
    assert_eq!(root.must("GET", "/data", query("lifecycle")).await.status, 404);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_can_not_be_kept_are_refused() {
    let (root, cluster, _dir) = cluster().await;
    let filter = "<Filter><Prefix>a</Prefix></Filter>";
    let expire = "<Expiration><Days>1</Days></Expiration>";
    let on = "<Status>Enabled</Status>";
    let move_off = "<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>";
    let table = [
        (format!("{filter}{expire}{on}{move_off}"), 501, "NotImplemented"),
        (format!("{filter}{expire}<Status>enabled</Status>"), 400, "MalformedXML"),
        (format!("{expire}{on}"), 400, "MalformedXML"),
        (format!("{filter}<Prefix>a</Prefix>{expire}{on}"), 400, "MalformedXML"),
        (format!("{filter}{on}"), 400, "InvalidRequest"),
        (format!("{filter}{on}<Expiration><Days>0</Days></Expiration>"), 400, "InvalidArgument"),
        (format!("{filter}{on}<Expiration></Expiration>"), 400, "MalformedXML"),
        (format!("{filter}{on}{expire}<ID>{}</ID>", "x".repeat(256)), 400, "InvalidArgument"),
        (
            format!("{filter}{on}<Expiration><Date>2030-01-01T01:00:00Z</Date></Expiration>"),
            400,
            "InvalidArgument",
        ),
    ];
    for (rule, status, code) in table {
        let answer = set(&root, &format!("<Rule>{rule}</Rule>")).await;
        assert_eq!(answer, (status, code.to_owned()), "{rule}");
    }
    assert_eq!(set(&root, "").await, (400, "MalformedXML".to_owned()));
    assert_eq!(root.must("GET", "/data", query("lifecycle")).await.status, 404);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_say_when_they_expire_and_then_do() {
    let (root, cluster, _dir) = cluster().await;
    assert_eq!(set(&root, TEMPORARY).await, (200, String::new()));
    let copy = Extras {
        headers: vec![("x-amz-copy-source", "/data/tmp/a".to_owned())],
        ..Extras::default()
    };
    let mut answers = Vec::new();
    for (method, path, extras) in [
        ("PUT", "/data/tmp/a", Extras::default()),
        ("GET", "/data/tmp/a", Extras::default()),
        ("HEAD", "/data/tmp/a", Extras::default()),
        ("PUT", "/data/tmp/b", copy),
    ] {
        answers.push(root.must(method, path, extras).await);
    }
    let (complete, xml) = root.upload("/data/tmp/c", vec![7; 100]).await.unwrap();
    let completion = Extras { query: &complete, body: xml, ..Extras::default() };
    answers.push(root.must("POST", "/data/tmp/c", completion).await);
    for answer in answers {
        let told = answer.headers.get("x-amz-expiration").map(|v| v.to_str().unwrap());
        let told = told.unwrap_or_else(|| panic!("not told: {answer:?}"));
        // Clients are told of real days, which end at midnight.
        assert!(told.starts_with("expiry-date=\""), "{told}");
        assert!(told.ends_with("00:00:00 GMT\", rule-id=\"old%20%26%20gone\""), "{told}");
    }
    let kept = root.must("PUT", "/data/kept", Extras::default()).await;
    assert_eq!(kept.headers.get("x-amz-expiration"), None);
    for _ in 0..600 {
        let left = root.must("GET", "/data", Extras::default()).await.text();
        assert!(left.contains("<Key>kept</Key>"), "{left}");
        if !left.contains("tmp/") {
            return cluster.stop().await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("objects outlive their day");
}
