//! Several gateways of one cluster: which one is asked, and when another is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]
#![allow(dead_code)]

#[path = "support/s3.rs"]
mod s3;
mod support;

use bytes::Bytes;
use coffer_client::object_store::client::HttpRequest;
use coffer_client::transport::{Timeouts, Transport, TransportError};
use coffer_client::{Client, ClientOptions, Credentials, Endpoint, Http3, Profile, RetryPolicy};
use s3::FakeS3;
use std::time::Duration;
use support::Server;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

fn profile(endpoints: &[String]) -> Profile {
    let mut endpoints = endpoints.iter().map(|e| e.parse::<Endpoint>().unwrap());
    Profile {
        name: "test".to_owned(),
        endpoint: endpoints.next().unwrap(),
        others: endpoints.collect(),
        region: "us-east-1".to_owned(),
        credentials: Credentials::Anonymous,
        ca_file: None,
        http3: Http3::Never,
    }
}

fn client(endpoints: &[String], retries: usize) -> Client {
    let retry =
        RetryPolicy { retries, first_pause: Duration::from_millis(1), ..RetryPolicy::default() };
    let options = ClientOptions { retry, ..ClientOptions::default() };
    Client::with_options(profile(endpoints), options).unwrap()
}

/// An endpoint where nobody listens.
async fn gone() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn get(uri: String) -> HttpRequest {
    http::Request::get(uri).body(Bytes::new().into()).unwrap()
}

#[tokio::test]
async fn the_next_gateway_is_asked_where_one_is_gone_and_is_remembered() {
    let (second, third) = (FakeS3::start().await, FakeS3::start().await);
    let client = client(&[gone().await, second.endpoint(), third.endpoint()], 0);
    for bucket in ["a-a", "b-b", "c-c"] {
        client.create_bucket(bucket).await.unwrap();
    }
    assert_eq!(second.state().buckets.len(), 3);
    assert!(third.state().requests.is_empty());
}

#[tokio::test]
async fn a_gateway_that_is_unavailable_is_left() {
    let (first, second) = (FakeS3::start().await, FakeS3::start().await);
    first.state().faults.push(("PUT /data".to_owned(), 503, "SlowDown"));
    let client = client(&[first.endpoint(), second.endpoint()], 1);
    client.create_bucket("data").await.unwrap();
    client.create_bucket("more").await.unwrap();
    assert_eq!((first.state().requests.len(), second.state().requests.len()), (1, 2));
    // Round again, to the first.
    second.state().faults.push(("PUT /again".to_owned(), 503, "ServiceUnavailable"));
    client.create_bucket("again").await.unwrap();
    assert!(first.state().buckets.contains("again"));
}

#[tokio::test]
async fn refusals_are_answers_and_no_reason_to_ask_another() {
    let (first, second) = (FakeS3::start().await, FakeS3::start().await);
    first.state().faults.push(("PUT /data".to_owned(), 403, "AccessDenied"));
    let client = client(&[first.endpoint(), second.endpoint()], 3);
    assert!(client.create_bucket("data").await.is_err());
    client.create_bucket("data").await.unwrap();
    assert!(second.state().requests.is_empty());
}

#[tokio::test]
async fn a_request_that_may_have_had_its_effect_is_not_sent_to_another_unasked() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let first = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        // Reads what is asked, and breaks off.
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
        }
    });
    let second = FakeS3::start().await;
    let profile = profile(&[first.clone(), second.endpoint()]);
    let transport = Transport::new(&profile, &Timeouts::default()).unwrap();
    let uri = format!("{first}/data");
    let error = transport.send(get(uri.clone())).await.unwrap_err();
    assert!(matches!(error, TransportError::Broken { .. }), "{error}");
    assert!(second.state().requests.is_empty());
    // The next request goes there at once.
    assert_eq!(transport.send(get(uri)).await.unwrap().status(), 404);
}

#[tokio::test]
async fn where_all_are_gone_that_is_said_once_each_was_tried() {
    let endpoints = [gone().await, gone().await];
    let transport = Transport::new(&profile(&endpoints), &Timeouts::default()).unwrap();
    let error = transport.send(get(format!("{}/", endpoints[0]))).await.unwrap_err();
    assert!(error.to_string().contains(&endpoints[1]), "{error}");
}

#[tokio::test]
async fn every_gateway_shows_a_certificate_of_its_own_name() {
    let servers = [Server::both().await, Server::both().await];
    let authorities = servers.iter().map(|s| std::fs::read(s.ca_file()).unwrap());
    let both = servers[0].ca_file().with_file_name("both.pem");
    std::fs::write(&both, authorities.collect::<Vec<_>>().concat()).unwrap();
    for http3 in [Http3::Always, Http3::Never] {
        let [first, second] = [0, 1].map(|n| servers[n].profile(http3).endpoint);
        let nobody: Endpoint = gone().await.replace("http:", "https:").parse().unwrap();
        let profile = Profile {
            endpoint: nobody.clone(),
            others: vec![first, second],
            ca_file: Some(both.clone()),
            ..servers[0].profile(http3)
        };
        let timeouts = Timeouts { connect: Duration::from_millis(500), ..Timeouts::default() };
        let transport = Transport::new(&profile, &timeouts).unwrap();
        // The address stays the one that it was signed for.
        let answer = transport.send(get(format!("{nobody}/"))).await.unwrap();
        assert_eq!(answer.status(), 200, "{http3:?}");
        // One that is not trusted is passed over, and gets nothing.
        let profile = Profile { ca_file: Some(servers[1].ca_file()), ..profile };
        let before = servers[0].seen.tcp_requests() + servers[0].seen.h3_requests();
        let transport = Transport::new(&profile, &timeouts).unwrap();
        assert_eq!(transport.send(get(format!("{nobody}/"))).await.unwrap().status(), 200);
        assert_eq!(servers[0].seen.tcp_requests() + servers[0].seen.h3_requests(), before);
    }
}
