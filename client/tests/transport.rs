//! The transport against a real server: which protocol is used, what happens when one does not
//! work, and that nothing hangs, is cut short unseen, or piles up in memory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

mod support;

use bytes::Bytes;
use coffer_client::object_store::client::{HttpRequest, HttpResponse, HttpResponseBody};
use coffer_client::transport::{Carrier, Timeouts, Transport, TransportError};
use coffer_client::{Http3, Profile};
use futures::StreamExt;
use http::{Method, Version};
use http_body_util::BodyExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::{MIB, Seen, Server, Udp};

fn transport(profile: &Profile) -> Transport {
    // Generous towards a machine that is busy with other tests.
    let timeouts = Timeouts { try_http3: Duration::from_secs(10), ..Timeouts::default() };
    Transport::new(profile, &timeouts).unwrap()
}

fn impatient(profile: &Profile) -> Transport {
    let short = Duration::from_millis(300);
    let timeouts = Timeouts { try_http3: short, connect: Duration::from_secs(10), stall: short };
    Transport::new(profile, &timeouts).unwrap()
}

fn get(uri: String) -> HttpRequest {
    request(Method::GET, uri, Bytes::new())
}

fn request(method: Method, uri: String, body: Bytes) -> HttpRequest {
    http::Request::builder().method(method).uri(uri).body(body.into()).unwrap()
}

async fn text(response: HttpResponse) -> String {
    String::from_utf8(response.into_body().bytes().await.unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn http3_is_used_and_its_connection_shared() {
    let server = Server::both().await;
    let transport = transport(&server.profile(Http3::Auto));
    let requests = (0..8).map(|_| transport.send(get(server.uri("/"))));
    for response in futures::future::join_all(requests).await {
        let response = response.unwrap();
        assert_eq!(response.version(), Version::HTTP_3);
        assert_eq!(text(response).await, "0");
    }
    assert_eq!(server.seen.h3_requests(), 8);
    assert_eq!(server.seen.h3_connections.load(Ordering::SeqCst), 1);
    assert_eq!(server.seen.tcp_requests(), 0);
    transport.close().await;
}

#[tokio::test]
async fn without_udp_it_falls_back_to_http2_and_remembers() {
    let server = Server::start(Udp::BlackHole, &["h2", "http/1.1"]).await;
    let transport = impatient(&server.profile(Http3::Auto));
    let response = transport.send(get(server.uri("/"))).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);

    let socket = server.black_hole.as_ref().unwrap();
    socket.set_nonblocking(true).unwrap();
    let drain = || {
        let mut datagrams = 0;
        while socket.recv(&mut [0; 2048]).is_ok() {
            datagrams += 1;
        }
        datagrams
    };
    assert!(drain() > 0, "HTTP/3 was tried");
    transport.send(get(server.uri("/"))).await.unwrap();
    assert_eq!(drain(), 0, "HTTP/3 was not tried again so soon");
    assert_eq!(server.seen.tcp_requests(), 2);
}

#[tokio::test]
async fn requests_that_start_together_wait_for_one_attempt_only() {
    let server = Server::start(Udp::BlackHole, &["h2"]).await;
    let transport = impatient(&server.profile(Http3::Auto));
    let requests = (0..8).map(|_| transport.send(get(server.uri("/"))));
    for response in futures::future::join_all(requests).await {
        assert_eq!(response.unwrap().version(), Version::HTTP_2);
    }
    let socket = server.black_hole.as_ref().unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut callers = std::collections::HashSet::new();
    while let Ok((_, caller)) = socket.recv_from(&mut [0; 2048]) {
        callers.insert(caller);
    }
    assert_eq!(callers.len(), 1);
}

#[tokio::test]
async fn http3_always_means_always() {
    let server = Server::start(Udp::BlackHole, &["h2"]).await;
    let timeouts = Timeouts { connect: Duration::from_millis(300), ..Timeouts::default() };
    let transport = Transport::new(&server.profile(Http3::Always), &timeouts).unwrap();
    let error = transport.send(get(server.uri("/"))).await.unwrap_err();
    assert!(
        matches!(error, TransportError::ConnectTimeout { carrier: Carrier::Http3, .. }),
        "{error}"
    );
    assert_eq!(server.seen.tcp_requests(), 0);
}

#[tokio::test]
async fn http3_never_leaves_udp_alone() {
    let server = Server::both().await;
    let transport = transport(&server.profile(Http3::Never));
    let response = transport.send(get(server.uri("/"))).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    assert_eq!(server.seen.h3_connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn http1_serves_where_http2_is_not_offered() {
    let server = Server::start(Udp::BlackHole, &["http/1.1"]).await;
    let transport = transport(&server.profile(Http3::Never));
    let response = transport.send(get(server.uri("/"))).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_11);
    assert_eq!(text(response).await, "0");
}

#[tokio::test]
async fn plain_http_serves_on_this_machine() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(support::tcp::serve_plain(listener, Arc::new(Seen::default())));
    let server = Server::both().await;
    let endpoint = format!("http://{address}").parse().unwrap();
    let profile = Profile { endpoint, ca_file: None, ..server.profile(Http3::Auto) };
    let body = Bytes::from_static(b"abc");
    let uri = format!("http://{address}/");
    let response = transport(&profile).send(request(Method::PUT, uri, body)).await.unwrap();
    assert_eq!(text(response).await, "3");
}

#[tokio::test]
async fn an_unknown_authority_is_named_with_the_file_to_check() {
    let (server, other) = (Server::both().await, Server::both().await);
    for http3 in [Http3::Auto, Http3::Always, Http3::Never] {
        let profile = Profile { ca_file: Some(other.ca_file()), ..server.profile(http3) };
        let error = transport(&profile).send(get(server.uri("/"))).await.unwrap_err();
        assert!(matches!(error, TransportError::Untrusted { .. }), "{http3:?}: {error}");
        let hint = error.hint().unwrap();
        assert!(hint.contains("ca.pem"), "{hint}");
        assert!(!error.may_retry_anything(), "{http3:?}: trying again changes nothing");
    }
    assert_eq!(server.seen.tcp_requests() + server.seen.h3_requests(), 0);
}

trait Retriable {
    fn may_retry_anything(self) -> bool;
}

impl Retriable for TransportError {
    /// As `object_store` decides.
    fn may_retry_anything(self) -> bool {
        use coffer_client::object_store::client::{HttpError, HttpErrorKind};
        HttpError::from(self).kind() != HttpErrorKind::Unknown
    }
}

#[tokio::test]
async fn a_file_without_certificates_is_refused() {
    let server = Server::both().await;
    let empty = server.ca_file().with_file_name("empty.pem");
    std::fs::write(&empty, "nothing\n").unwrap();
    for file in [empty, "/nonexistent/ca.pem".into()] {
        let profile = Profile { ca_file: Some(file.clone()), ..server.profile(Http3::Auto) };
        let error = Transport::new(&profile, &Timeouts::default()).unwrap_err();
        assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
    }
}

#[tokio::test]
async fn bodies_arrive_whole_both_ways() {
    let server = Server::both().await;
    for http3 in [Http3::Always, Http3::Never] {
        let transport = transport(&server.profile(http3));
        let body = Bytes::from(vec![1; 20 * MIB + 7]);
        let put = request(Method::PUT, server.uri("/"), body);
        let response = transport.send(put).await.unwrap();
        assert_eq!(text(response).await, (20 * MIB + 7).to_string(), "{http3:?}");

        let response = transport.send(get(server.uri("/send/20"))).await.unwrap();
        let received = response.into_body().bytes().await.unwrap();
        assert_eq!(received.len(), 20 * MIB, "{http3:?}");
        assert!(received.iter().all(|byte| *byte == 7));
    }
}

#[tokio::test]
async fn a_reader_that_pauses_holds_the_server_back() {
    for http3 in [Http3::Always, Http3::Never] {
        let server = Server::both().await;
        let transport = transport(&server.profile(http3));
        let response = transport.send(get(server.uri("/send/256"))).await.unwrap();
        let mut body = response.into_body().bytes_stream();
        body.next().await.unwrap().unwrap();
        let offered = settled(&server.seen).await;
        assert!(offered < 64 * MIB as u64, "{http3:?}: {offered} bytes are under way");
        drop(body);
        // The connection serves on after an answer that was not read to its end.
        let response = transport.send(get(server.uri("/"))).await.unwrap();
        assert_eq!(text(response).await, "0", "{http3:?}");
    }
}

/// The bytes offered, once the server has stopped offering more.
async fn settled(seen: &Seen) -> u64 {
    let mut last = u64::MAX;
    loop {
        let now = seen.offered.load(Ordering::SeqCst);
        if now == last {
            return now;
        }
        last = now;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn silence_ends_in_an_error() {
    let server = Server::both().await;
    for http3 in [Http3::Always, Http3::Never] {
        let transport = impatient(&server.profile(http3));
        let error = transport.send(get(server.uri("/hang"))).await.unwrap_err();
        assert!(matches!(error, TransportError::Stalled { .. }), "{http3:?}: {error}");

        let response = transport.send(get(server.uri("/stall"))).await.unwrap();
        let error = response.into_body().bytes().await.unwrap_err();
        assert!(error.to_string().contains("no progress"), "{http3:?}: {error}");
    }
}

#[tokio::test]
async fn a_body_cut_short_is_an_error() {
    let server = Server::both().await;
    let transport = transport(&server.profile(Http3::Always));
    let response = transport.send(get(server.uri("/short"))).await.unwrap();
    let error = response.into_body().bytes().await.unwrap_err();
    assert!(error.to_string().contains("5 bytes early"), "{error}");
}

#[tokio::test]
async fn the_answer_to_head_has_no_body_to_wait_for() {
    let server = Server::both().await;
    let transport = transport(&server.profile(Http3::Always));
    let head = request(Method::HEAD, server.uri("/send/1"), Bytes::new());
    let response = transport.send(head).await.unwrap();
    assert_eq!(response.headers()["content-length"], (1024 * 1024).to_string().as_str());
    assert!(response.into_body().bytes().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_early_refusal_is_heard() {
    let server = Server::both().await;
    for http3 in [Http3::Always, Http3::Never] {
        let transport = transport(&server.profile(http3));
        let body = Bytes::from(vec![1; 64 * MIB]);
        let put = request(Method::PUT, server.uri("/refuse"), body);
        let response = transport.send(put).await.unwrap();
        assert_eq!(response.status(), 403, "{http3:?}");
        assert_eq!(text(response).await, "refused", "{http3:?}");
    }
}

#[tokio::test]
async fn a_lost_connection_is_made_anew() {
    let server = Server::both().await;
    let transport = transport(&server.profile(Http3::Always));
    transport.send(get(server.uri("/"))).await.unwrap();
    server.quic.as_ref().unwrap().close(0_u32.into(), b"restart");
    let error = transport.send(get(server.uri("/"))).await;
    assert!(error.is_err(), "the server takes no connections any more");

    let server = Server::both().await;
    let transport = self::transport(&server.profile(Http3::Auto));
    transport.send(get(server.uri("/"))).await.unwrap();
    transport.close().await;
    let again = transport.send(get(server.uri("/"))).await.unwrap();
    assert_eq!(again.version(), Version::HTTP_3);
    assert_eq!(server.seen.h3_connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn when_http3_is_lost_tcp_takes_over() {
    let server = Server::both().await;
    let transport = impatient(&server.profile(Http3::Auto));
    let first = transport.send(get(server.uri("/"))).await.unwrap();
    assert_eq!(first.version(), Version::HTTP_3);
    server.quic.as_ref().unwrap().close(0_u32.into(), b"no more UDP");
    // The request may meet the end of the connection half-way; from then on TCP serves.
    let _ = transport.send(get(server.uri("/"))).await;
    let second = transport.send(get(server.uri("/"))).await.unwrap();
    assert_eq!(second.version(), Version::HTTP_2);
}

#[tokio::test]
async fn other_servers_are_never_talked_to() {
    let (server, other) = (Server::both().await, Server::both().await);
    let transport = transport(&server.profile(Http3::Auto));
    let error = transport.send(get(other.uri("/"))).await.unwrap_err();
    assert!(matches!(error, TransportError::ForeignOrigin { .. }), "{error}");
    assert_eq!(other.seen.tcp_requests() + other.seen.h3_requests(), 0);
}

#[test]
fn response_bodies_may_cross_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<HttpResponseBody>();
}

#[tokio::test]
async fn frames_come_as_they_are_sent() {
    let server = Server::both().await;
    let transport = transport(&server.profile(Http3::Always));
    let mut body = transport.send(get(server.uri("/stall"))).await.unwrap().into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "x", "the first byte is here though the second never comes");
}
