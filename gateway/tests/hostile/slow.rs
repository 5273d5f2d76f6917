//! Clients that take their time, and those that take everybody's.

use super::support::raw::Raw;
use super::support::wire::{Fixture, Protocol};
use coffer_core::access::Verb;
use coffer_gateway::http::front::Limits;
use coffer_gateway::http::health::Health;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// More than all slow clients together may have.
const CLIENTS: usize = 40;

async fn impatient(requests: usize) -> Fixture {
    let short = Duration::from_millis(300);
    let limits = Limits { requests, body_idle: short, headers: short };
    Fixture::start_with(limits, Health::new(|| Box::pin(async { None }))).await
}

/// What the server says until it closes the connection.
async fn last_words(mut connection: impl AsyncReadExt + Unpin) -> String {
    let mut text = Vec::new();
    let read = connection.read_to_end(&mut text);
    let _ = tokio::time::timeout(Duration::from_secs(60), read).await.expect("it hangs");
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_do_not_end_are_given_up_and_hold_nobody_up() {
    // Not one of them counts as a request before its head is there.
    let fixture = impatient(1).await;
    let bearer = format!("Bearer {}", fixture.token(&[Verb::Read], 600));
    let mut slow = Vec::new();
    for i in 0..CLIENTS {
        let mut connection = fixture.raw(b"http/1.1").await;
        let head = "GET /data/mnist/1 HTTP/1.1\r\nhost: x\r\nx-slow: a";
        connection.write_all(&head.as_bytes()[..i % head.len()]).await.unwrap();
        slow.push(connection);
    }
    let headers = [("authorization", bearer.as_str())];
    let served = fixture.send(Protocol::Http2, "GET", "/data/mnist/1", &headers, b"").await;
    assert_eq!(served.status, 200);
    // The beginning of HTTP/2, and not all of it.
    for i in [0, 5, 20] {
        let mut connection = fixture.raw(b"h2").await;
        connection.write_all(&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..i]).await.unwrap();
        slow.push(connection);
    }
    for connection in slow {
        let said = last_words(connection).await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 408"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_drips_is_given_up_all_the_same() {
    let fixture = impatient(10).await;
    let (mut read, mut write) = tokio::io::split(fixture.raw(b"http/1.1").await);
    let drip = async {
        // For as long as anybody listens.
        while write.write_all(b"GET /").await.is_ok() && write.flush().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        said = last_words(&mut read) => assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said}"),
        () = drip => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_do_not_come_are_given_up_and_their_places_are_free_again() {
    let fixture = impatient(CLIENTS).await;
    let bearer = format!("Bearer {}", fixture.token(&[Verb::Read, Verb::Write], 600));
    let mut slow = Vec::new();
    for _ in 0..CLIENTS {
        let mut connection = fixture.raw(b"http/1.1").await;
        let head = format!(
            "PUT /data/mnist/o HTTP/1.1\r\nhost: x\r\nauthorization: {bearer}\r\n\
             content-length: 1000000\r\n\r\nabc"
        );
        connection.write_all(head.as_bytes()).await.unwrap();
        slow.push(connection);
    }
    for connection in slow {
        let said = last_words(connection).await;
        assert!(said.contains("<Code>RequestTimeout</Code>"), "{said}");
    }
    let headers = [("authorization", bearer.as_str())];
    let served = fixture.send(Protocol::Http3, "GET", "/data/mnist/1", &headers, b"").await;
    assert_eq!(served.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_tls_is_not_answered() {
    let fixture = impatient(10).await;
    for bytes in [&b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..], &[0x16, 3, 1, 0xFF, 0xFF], &[0; 5000]]
    {
        let mut tcp = tokio::net::TcpStream::connect(fixture.address).await.unwrap();
        let _ = tcp.write_all(bytes).await;
        tcp.shutdown().await.ok();
        let said = last_words(tcp).await;
        assert!(!said.contains("HTTP/1.1"), "{said}");
    }
    let raw = Raw::new(fixture.address, &fixture.dir.path().join("ca.pem"));
    let (replies, open) = raw.talk(b"").await;
    assert!(replies.is_empty() && open);
}
