//! Signatures that cover too little, hold for too long, or are there twice.

use super::World;
use super::support::sigv4::{Head, sha256};

#[tokio::test(flavor = "multi_thread")]
async fn presigned_urls_allow_what_was_signed_and_nothing_else() {
    let world = World::start().await;
    let send = async |target: &str, method: &str, headers: &str| {
        let host = &world.signer.host;
        let text = format!(
            "{method} {target} HTTP/1.1\r\nhost: {host}\r\n{headers}content-length: 0\r\n\r\n"
        );
        world.raw.ask(text.as_bytes()).await
    };
    let get = Head::new("GET", "/data/o");
    let long = "8".repeat(40);
    let parameters = "AuthorizationQueryParametersError";
    let table = [
        ("good", get.clone(), vec![], 200, ""),
        ("a week", get.clone(), vec![("X-Amz-Expires", "604800")], 200, ""),
        ("more than a week", get.clone(), vec![("X-Amz-Expires", "604801")], 400, parameters),
        ("no time", get.clone(), vec![("X-Amz-Expires", "0")], 400, parameters),
        ("negative", get.clone(), vec![("X-Amz-Expires", "-1")], 400, parameters),
        ("beyond u64", get.clone(), vec![("X-Amz-Expires", long.as_str())], 400, parameters),
        ("a fraction", get.clone(), vec![("X-Amz-Expires", "1.5")], 400, parameters),
        ("no life", get.clone(), vec![("X-Amz-Expires", "")], 400, parameters),
        ("no credential", get.clone(), vec![("X-Amz-Credential", "")], 400, parameters),
        ("no host", get.clone(), vec![("X-Amz-SignedHeaders", "date")], 403, "AccessDenied"),
        ("past", get.clone().at(-3600), vec![], 403, "AccessDenied"),
        ("future", get.clone().at(1200), vec![], 403, "RequestTimeTooSkewed"),
        ("no date", get.clone(), vec![("X-Amz-Date", "x")], 400, "InvalidRequest"),
    ];
    for (what, head, parameters, status, code) in table {
        let reply = send(&world.signer.presign(&head, &parameters), "GET", "").await;
        let got = (reply.status, reply.code());
        assert_eq!(got, (status, code.to_owned()), "{what}: {}", reply.text());
    }
    let url = world.signer.presign(&get, &[]);
    assert_eq!(send(&url, "DELETE", "").await.code(), "SignatureDoesNotMatch");
    let other = url.replacen("/data/o", "/data/p", 1);
    assert_eq!(send(&other, "GET", "").await.code(), "SignatureDoesNotMatch");
    let more = format!("{url}&versionId=null");
    assert_eq!(send(&more, "GET", "").await.code(), "SignatureDoesNotMatch");
    let twice = format!("{url}&X-Amz-Expires=60");
    assert_eq!(send(&twice, "GET", "").await.code(), parameters);

    // An invitation to upload is none to copy what the one who invites may read.
    let put = world.signer.presign(&Head::new("PUT", "/data/uploaded"), &[]);
    for header in ["x-amz-copy-source: /data/o", "x-amz-meta-a: b", "x-amz-tagging: a=b"] {
        let reply = send(&put, "PUT", &format!("{header}\r\n")).await;
        assert_eq!((reply.status, reply.code()), (403, "AccessDenied".to_owned()), "{header}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_are_signed_are_there_once_and_those_with_a_meaning_are_signed() {
    let world = World::start().await;
    let put = || Head::new("PUT", "/data/new").payload(sha256(b"x"));
    let copy = Head::new("PUT", "/data/new").unsigned("x-amz-copy-source", "/data/o");
    world.expect("an unsigned source", &copy, b"", 403, "AccessDenied").await;
    let twice = put().signed("x-amz-meta-a", "1").unsigned("x-amz-meta-a", "2");
    world.expect("metadata twice", &twice, b"x", 403, "SignatureDoesNotMatch").await;
    let date = put().unsigned("x-amz-date", "20200101T000000Z");
    world.expect("two dates", &date, b"x", 400, "InvalidRequest").await;
    let hash = put().unsigned("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
    world.expect("two hashes", &hash, b"x", 400, "InvalidRequest").await;
    let authorization = put().unsigned("authorization", "Bearer x");
    let reply = world.ask(&authorization, b"x").await;
    assert!(matches!(reply.status, 400 | 403), "{reply:?}");
    let old = put().at(-3600);
    world.expect("an old date", &old, b"x", 403, "RequestTimeTooSkewed").await;
    let early = put().at(3600);
    world.expect("a date to come", &early, b"x", 403, "RequestTimeTooSkewed").await;

    let sound = world.signer.request(&put(), b"x");
    let text = String::from_utf8(sound).unwrap();
    let (_, rest) = text.split_once("x-amz-date: ").unwrap();
    let stamp = &rest[..16];
    for date in ["garbage", "20261399T000000Z", "99999999T999999Z", "00000000T000000Z", ""] {
        let changed = text.replacen(stamp, date, 1);
        let reply = world.raw.ask(changed.as_bytes()).await;
        assert!(matches!(reply.status, 400 | 403), "{date}: {reply:?}");
    }
    for authorization in [
        "AWS4-HMAC-SHA256 nonsense",
        "AWS4-HMAC-SHA256 Credential=a/b/c/d/e/f/g, SignedHeaders=host, Signature=00",
        &format!("AWS4-HMAC-SHA256 {}", "Credential=".repeat(2_000)),
    ] {
        let get =
            format!("GET /data/o HTTP/1.1\r\nhost: x\r\nauthorization: {authorization}\r\n\r\n");
        let reply = world.raw.ask(get.as_bytes()).await;
        assert_eq!((reply.status, reply.code()), (400, "InvalidRequest".to_owned()));
    }
    world.stop().await;
}
