//! Keys, buckets and paths that try to be something else.

use super::World;
use super::support::signed::Extras;
use super::support::sigv4::Head;

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_text_and_nothing_in_it_means_anything() {
    let world = World::start().await;
    // What is sent, and what the key is when it is listed (as a URL).
    let table = [
        ("..", ".."),
        (".", "."),
        ("../../etc/passwd", "../../etc/passwd"),
        ("a/../b", "a/../b"),
        ("%2e%2e/.coffer/v1/tokens", "../.coffer/v1/tokens"),
        ("a//b", "a//b"),
        ("/lead", "/lead"),
        ("tail/", "tail/"),
        ("%5Cback%5C..", "%5Cback%5C.."),
        ("a%01b%7F", "a%01b%7F"),
        ("a%0D%0Ab", "a%0D%0Ab"),
        ("a%2Fb", "a/b"),
        ("%c3%A9", "%C3%A9"),
        ("%252e%252e", "%252e%252e"),
        ("%3Cscript%3E%26", "%3Cscript%3E%26"),
        (".coffer", ".coffer"),
        ("health/live", "health/live"),
    ];
    for (sent, listed) in table {
        let path = format!("/data/{sent}");
        let put = world.ask(&Head::new("PUT", &path), sent.as_bytes()).await;
        assert_eq!(put.status, 200, "{sent}: {}", put.text());
        let keys = world.keys().await;
        assert!(keys.iter().any(|k| k == listed), "{sent}: {keys:?}");
        // Markup stays text without that encoding, too.
        let plain = world.ask(&Head::new("GET", "/data?list-type=2"), b"").await.text();
        assert!(!plain.contains("<script>"), "{plain}");
        let got = world.ask(&Head::new("GET", &path), b"").await;
        assert_eq!(got.body, sent.as_bytes(), "{sent}");
        assert_eq!(world.ask(&Head::new("DELETE", &path), b"").await.status, 204);
        assert_eq!(world.keys().await, ["o"], "{sent}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_none_are_refused() {
    let world = World::start().await;
    let long = "k".repeat(1025);
    let wide = "%C3%A9".repeat(513);
    let bucket = "b".repeat(64);
    let endless = "b".repeat(5000);
    let table = [
        ("PUT", format!("/data/{long}"), 400, "KeyTooLongError"),
        ("PUT", format!("/data/{wide}"), 400, "KeyTooLongError"),
        ("PUT", "/data/a%00b".into(), 400, "InvalidArgument"),
        ("PUT", "/data/%FF%FE".into(), 400, "InvalidURI"),
        ("PUT", "/data/%c0%af".into(), 400, "InvalidURI"),
        ("PUT", "/data/%ED%A0%80".into(), 400, "InvalidURI"),
        ("PUT", "/data/a%".into(), 400, "InvalidURI"),
        ("PUT", "/data/a%2".into(), 400, "InvalidURI"),
        ("PUT", "/data/a%zz".into(), 400, "InvalidURI"),
        ("PUT", format!("/{bucket}"), 400, "InvalidBucketName"),
        ("PUT", format!("/{endless}/k"), 400, "InvalidBucketName"),
        ("PUT", "/Data/k".into(), 400, "InvalidBucketName"),
        ("PUT", "/1.2.3.4/k".into(), 400, "InvalidBucketName"),
        ("PUT", "/..".into(), 400, "InvalidBucketName"),
        ("PUT", "//k".into(), 400, "InvalidBucketName"),
        ("GET", "/%2ecoffer/v1/tokens".into(), 400, "InvalidBucketName"),
        ("GET", "/.COFFER/v1/tokens".into(), 400, "InvalidBucketName"),
        ("GET", "/.coffer/../data/o".into(), 501, "NotImplemented"),
        ("PUT", "/.coffer/v1/tokens".into(), 405, "MethodNotAllowed"),
        ("GET", "/health/live/../../data/o".into(), 404, "NoSuchBucket"),
    ];
    for (method, path, status, code) in table {
        let shown: String = path.chars().take(40).collect();
        world.expect(&shown, &Head::new(method, &path), b"", status, code).await;
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_source_of_a_copy_is_named_as_strictly() {
    let world = World::start().await;
    let long = format!("/data/{}", "k".repeat(1025));
    let table = [
        ("/data/../data/o", 404, "NoSuchKey"),
        ("/data/o%0d%0ax", 404, "NoSuchKey"),
        ("//data/o", 400, "InvalidArgument"),
        ("/data/", 400, "InvalidArgument"),
        ("/", 400, "InvalidArgument"),
        ("/data/%FF", 400, "InvalidArgument"),
        ("/data/a%00b", 400, "InvalidArgument"),
        ("/.coffer/v1", 400, "InvalidArgument"),
        ("arn:aws:s3:x", 400, "InvalidArgument"),
        (&long, 400, "InvalidArgument"),
    ];
    for (source, status, code) in table {
        let head = Head::new("PUT", "/data/copy").signed("x-amz-copy-source", source);
        world.expect(&source[..source.len().min(30)], &head, b"", status, code).await;
    }
    assert_eq!(world.s3.must("GET", "/health/live", Extras::default()).await.status, 200);
    world.stop().await;
}
