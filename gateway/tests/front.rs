//! The front over all three protocols: who gets in, what is refused and how, what is bounded.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support {
    pub(crate) mod wire;
}

use coffer_core::access::Verb;
use coffer_gateway::http::front::Limits;
use coffer_gateway::http::health::Health;
use std::time::Duration;
use support::wire::{Fixture, PROTOCOLS, Protocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MIB: usize = 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn all_protocols_reach_the_same_service() {
    let fixture = Fixture::start().await;
    let bearer = format!("Bearer {}", fixture.token(&[Verb::Read, Verb::Write, Verb::List], 600));
    let headers = [("authorization", bearer.as_str())];
    for protocol in PROTOCOLS {
        let send = |method, path| fixture.send(protocol, method, path, &headers, b"");
        let got = send("GET", "/data/mnist/3000000").await;
        assert_eq!((got.status.as_u16(), got.body.len()), (200, 3_000_000), "{protocol:?}");
        assert_eq!(got.headers["content-length"], "3000000", "{protocol:?}");
        assert_eq!(got.headers["x-amz-request-id"].len(), 16, "{protocol:?}");
        let hint = format!("h3=\":{}\"; ma=86400", fixture.address.port());
        let advertised = got.headers.get("alt-svc").map(|v| v.to_str().unwrap());
        assert_eq!(advertised, (protocol != Protocol::Http3).then_some(&*hint), "{protocol:?}");

        assert!(send("GET", "/data/mnist/0").await.body.is_empty());
        let missing = send("HEAD", "/data/else/7").await;
        assert_eq!((missing.status.as_u16(), missing.body.len()), (403, 0), "{protocol:?}");
        assert_eq!(send("GET", "/data?list-type=2&prefix=mnist%2F").await.status, 200);

        for len in [0, 1, 3 * MIB] {
            let body = vec![7; len];
            let put = fixture.send(protocol, "PUT", "/data/mnist/o", &headers, &body).await;
            assert_eq!(put.status, 200, "{protocol:?} {len}");
            assert_eq!(put.headers["x-received"], len.to_string(), "{protocol:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_allowed_is_refused_with_the_codes_of_s3() {
    let fixture = Fixture::start().await;
    let good = fixture.token(&[Verb::Read, Verb::List], 600);
    let expired = fixture.token(&[Verb::Read], -1);
    let foreign = Fixture::start().await.token(&[Verb::Read], 600);
    let truncated = good[..good.len() - 20].to_owned();
    let inside = "/data/mnist/1";
    let table: [(&str, &str, &str, u16, &str); 17] = [
        ("GET", inside, &good, 200, ""),
        ("GET", "/data/other/1", &good, 403, "AccessDenied"),
        ("GET", "/data2/mnist/1", &good, 403, "AccessDenied"),
        ("PUT", inside, &good, 403, "AccessDenied"),
        ("DELETE", inside, &good, 403, "AccessDenied"),
        ("GET", "/data?list-type=2&prefix=mnist%2Fa", &good, 200, ""),
        ("GET", "/data?list-type=2", &good, 403, "AccessDenied"),
        ("GET", "/data?list-type=2&prefix=mnist%2F&prefix=", &good, 400, "InvalidRequest"),
        // Few knows no buckets; that it was asked is what counts.
        ("GET", "/", &good, 501, "NotImplemented"),
        ("GET", "/", "", 403, "AccessDenied"),
        ("GET", "/data?policy", &good, 403, "AccessDenied"),
        ("GET", "/data?replication", &good, 501, "NotImplemented"),
        ("GET", inside, &expired, 400, "ExpiredToken"),
        ("GET", inside, &foreign, 400, "InvalidToken"),
        ("GET", inside, &truncated, 400, "InvalidToken"),
        ("GET", inside, "", 403, "AccessDenied"),
        ("GET", "/data?policy", "", 403, "AccessDenied"),
    ];
    for protocol in PROTOCOLS {
        for (method, path, token, status, code) in &table {
            let bearer = format!("Bearer {token}");
            let all = [("authorization", bearer.as_str())];
            let headers = if token.is_empty() { &[][..] } else { &all[..] };
            let answer = fixture.send(protocol, method, path, headers, b"").await;
            let got = (answer.status.as_u16(), answer.code());
            assert_eq!(got, (*status, (*code).to_owned()), "{protocol:?} {method} {path}");
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(token.is_empty() || !text.contains(token), "the token is echoed");
            let id = answer.headers["x-amz-request-id"].to_str().unwrap();
            let named = text.contains(&format!("<RequestId>{id}</RequestId></Error>"));
            assert!(named || *status == 200, "{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_signatures_get_the_codes_of_s3() {
    let fixture = Fixture::start().await;
    let now = time::OffsetDateTime::now_utc();
    let day = format!("{:04}{:02}{:02}", now.year(), u8::from(now.month()), now.day());
    let stamp = format!("{day}T{:02}{:02}{:02}Z", now.hour(), now.minute(), now.second());
    let signed = |key: &str| {
        format!(
            "AWS4-HMAC-SHA256 Credential={key}/{day}/us-east-1/s3/aws4_request, \
             SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={}",
            "0".repeat(64)
        )
    };
    let old = "20200101T000000Z";
    let old_signature = signed("AKROOT").replace(&day, "20200101");
    let table = [
        (signed("AKROOT"), stamp.as_str(), "SignatureDoesNotMatch"),
        (signed("NOBODY"), stamp.as_str(), "InvalidAccessKeyId"),
        (old_signature, old, "RequestTimeTooSkewed"),
        ("AWS4-HMAC-SHA256 nonsense".to_owned(), stamp.as_str(), "InvalidRequest"),
    ];
    for (authorization, date, code) in &table {
        let headers = [
            ("authorization", authorization.as_str()),
            ("x-amz-date", date),
            ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
        ];
        let answer = fixture.send(Protocol::Http1, "GET", "/data/mnist/1", &headers, b"").await;
        assert_eq!(answer.code(), *code, "{answer:?}");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(!text.contains("secret") && !text.contains("AKROOT"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_of_version_2_are_refused() {
    let fixture = Fixture::start().await;
    let query = "AWSAccessKeyId=AKROOT&Expires=4000000000&%53ignature=x";
    let table = [
        ("/data/mnist/1".to_owned(), vec![("authorization", "AWS AKROOT:eA=="), ("date", "x")]),
        (format!("/data/mnist/1?{query}"), vec![]),
    ];
    for (path, headers) in table {
        let answer = fixture.send(Protocol::Http1, "GET", &path, &headers, b"").await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "InvalidRequest"));
        assert!(String::from_utf8_lossy(&answer.body).contains("AWS4-HMAC-SHA256"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chunk_framing_is_not_taken_for_data() {
    let fixture = Fixture::start().await;
    let bearer = format!("Bearer {}", fixture.token(&[Verb::Write], 600));
    let headers = [
        ("authorization", bearer.as_str()),
        ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
    ];
    // With a token, and without anything.
    for headers in [&headers[..], &headers[1..]] {
        let put = fixture.send(Protocol::Http1, "PUT", "/data/mnist/o", headers, b"0\r\n\r\n");
        let put = put.await;
        assert_eq!((put.status.as_u16(), put.code().as_str()), (501, "NotImplemented"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_issued_to_those_who_may_and_grant_what_was_asked() {
    let fixture = Fixture::start().await;
    let (narrow, root) = (fixture.token(&[Verb::Read, Verb::Admin], 600), fixture.root_token());
    let post = async |token: &str, body: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        let path = "/.coffer/v1/tokens";
        fixture.send(Protocol::Http2, "POST", path, &headers, body.as_bytes()).await
    };
    let wanted = r#"{"name":"job","bucket":"data","prefix":"mnist/","verbs":["read"]}"#;
    let refused = post(&narrow, wanted).await;
    assert_eq!(refused.code(), "AccessDenied");
    let anonymous =
        fixture.send(Protocol::Http2, "POST", "/.coffer/v1/tokens", &[], wanted.as_bytes()).await;
    assert_eq!(anonymous.code(), "AccessDenied");
    // A token may itself be narrowed in ways that nobody sees here, so that it can't be passed on.
    assert_eq!(post(&root, wanted).await.code(), "AccessDenied");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_needs_no_credentials_and_tells_readiness() {
    let health = Health::new(|| Box::pin(async { Some("too few storage nodes answer") }));
    let limits = Limits { requests: 1, ..Limits::default() };
    let fixture = Fixture::start_with(limits, health).await;
    for protocol in PROTOCOLS {
        let live = fixture.send(protocol, "GET", "/health/live", &[], b"").await;
        assert_eq!((live.status.as_u16(), &live.body[..]), (200, &b"ok\n"[..]));
        let ready = fixture.send(protocol, "GET", "/health/ready", &[], b"").await;
        assert_eq!(ready.status, 503);
        assert_eq!(&ready.body[..], b"too few storage nodes answer\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_requests_are_told_to_slow_down() {
    let limits = Limits { requests: 1, ..Limits::default() };
    let healthy = Health::new(|| Box::pin(async { None }));
    let fixture = Fixture::start_with(limits, healthy).await;
    let bearer = format!("Bearer {}", fixture.token(&[Verb::Read, Verb::Write], 600));
    let headers = [("authorization", bearer.as_str())];
    // An upload that has begun and does not go on.
    let mut slow = fixture.raw(b"http/1.1").await;
    let head = format!(
        "PUT /data/mnist/o HTTP/1.1\r\nhost: localhost\r\nauthorization: {bearer}\r\n\
         content-length: 10\r\nexpect: 100-continue\r\n\r\n"
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    // It is being served once it is told to go on.
    let mut told = [0; 12];
    slow.read_exact(&mut told).await.unwrap();
    assert_eq!(&told, b"HTTP/1.1 100");
    let refused = fixture.send(Protocol::Http2, "GET", "/data/mnist/1", &headers, b"").await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (503, "SlowDown"));
    assert_eq!(refused.headers["retry-after"], "1");
    drop(slow);
    // Its place is free again when the server notices that the client is gone.
    loop {
        let answer = fixture.send(Protocol::Http2, "GET", "/data/mnist/1", &headers, b"").await;
        if answer.status == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_stalls_is_given_up() {
    let limits = Limits { body_idle: Duration::from_millis(200), ..Limits::default() };
    let healthy = Health::new(|| Box::pin(async { None }));
    let fixture = Fixture::start_with(limits, healthy).await;
    let mut slow = fixture.raw(b"http/1.1").await;
    let head = format!(
        "PUT /data/mnist/o HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
         content-length: 10\r\n\r\nabc",
        fixture.token(&[Verb::Write], 600)
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = slow.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(30), read).await.expect("it hangs");
    let text = String::from_utf8_lossy(&answer);
    assert!(text.starts_with("HTTP/1.1 400"), "{text}");
    assert!(text.contains("<Code>RequestTimeout</Code>"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_reaches_a_client_that_sends_everything_first() {
    let fixture = Fixture::start().await;
    let expired = fixture.token(&[Verb::Write], -1);
    let mut client = fixture.raw(b"http/1.1").await;
    let body = vec![b'x'; 5 * MIB];
    let len = body.len();
    for _ in 0..2 {
        let head = format!(
            "PUT /data/mnist/o HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {expired}\r\n\
             content-length: {len}\r\n\r\n"
        );
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(&body).await.unwrap();
        client.flush().await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"</Error>") {
            let read = tokio::time::timeout(Duration::from_secs(30), client.read_buf(&mut answer));
            assert_ne!(read.await.expect("it hangs").unwrap(), 0, "closed");
        }
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with("HTTP/1.1 400"), "{text}");
        assert!(text.contains("<Code>ExpiredToken</Code>"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_headers_are_refused_and_others_are_served_on() {
    let fixture = Fixture::start().await;
    for header in ["a".repeat(200 * 1024), "a".repeat(90) + ": b\r\n" + &"c: d\r\n".repeat(300)] {
        let mut raw = fixture.raw(b"http/1.1").await;
        let head = format!("GET /health/live HTTP/1.1\r\nhost: x\r\nx-long{header}: y\r\n\r\n");
        // The server may close before all is written.
        let _ = raw.write_all(head.as_bytes()).await;
        let mut answer = Vec::new();
        let read = raw.read_to_end(&mut answer);
        let _ = tokio::time::timeout(Duration::from_secs(30), read).await.expect("it hangs");
        let text = String::from_utf8_lossy(&answer);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
    }
    let long = "v".repeat(40 * 1024);
    let live = |headers: Vec<(&'static str, String)>| {
        let fixture = &fixture;
        async move {
            let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
            fixture.send(Protocol::Http2, "GET", "/health/live", &headers, b"").await.status
        }
    };
    assert_eq!(live(vec![("x-long", long)]).await, 431);
    assert_eq!(live(vec![("x-short", "v".into())]).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_lets_an_upload_end_and_closes_the_port() {
    let mut fixture = Fixture::start().await;
    let token = fixture.token(&[Verb::Write], 600);
    let mut upload = fixture.raw(b"http/1.1").await;
    let head = format!(
        "PUT /data/mnist/o HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
         content-length: 3\r\nexpect: 100-continue\r\n\r\n"
    );
    upload.write_all(head.as_bytes()).await.unwrap();
    let mut told = [0; 12];
    upload.read_exact(&mut told).await.unwrap();
    let address = fixture.address;
    let rest = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        upload.write_all(b"abc").await.unwrap();
        let mut answer = Vec::new();
        upload.read_to_end(&mut answer).await.ok();
        String::from_utf8_lossy(&answer).into_owned()
    };
    let ((), answer) = tokio::join!(fixture.stop(), rest);
    assert!(answer.contains("200 OK") && answer.contains("x-received: 3"), "{answer}");
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    assert!(std::net::UdpSocket::bind(address).is_ok(), "the UDP port is free again");
}
