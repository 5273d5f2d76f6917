//! Requests between processes: connections that are used again, servers that are silent, slow or gone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use bytes::Bytes;
use coffer_node::rpc::{
    self, Answer, Broken, CallError, Dialer, Exchange, Limits, Link, SILENCE, Service, frame,
};
use common::{NODE, Pki};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const ALPN: &[u8] = b"test/1";
const LIMIT: u32 = 1000;
const LIMITS: Limits = Limits { header: LIMIT, payload: 64 << 20 };
/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Ask {
    /// For the payload.
    Echo(u32),
    /// After so many ms.
    Late(u32, u64),
    /// Refuses without a look at the payload.
    Refuse(u32),
    /// Closes the connection.
    Close,
}

struct Server;

impl Answer for Server {
    const LIMIT: Duration = LONG;

    async fn answer(&self, mut exchange: Exchange<'_>) -> Result<(), Broken> {
        match exchange.header(LIMIT).await? {
            Ask::Echo(n) => {
                let payload = exchange.payload().await?;
                exchange.answer(&n, payload, LIMIT).await
            }
            Ask::Late(n, ms) => {
                exchange.working(tokio::time::sleep(Duration::from_millis(ms))).await?;
                exchange.answer(&n, Bytes::new(), LIMIT).await
            }
            Ask::Refuse(n) => exchange.answer(&n, Bytes::new(), LIMIT).await,
            Ask::Close => Err(Broken::Gone),
        }
    }
}

/// A wire to a server, which counts connections, and can be cut without anybody being told.
#[derive(Clone)]
struct Wire {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    cut: Arc<AtomicBool>,
}

impl Wire {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind(anywhere()).await.unwrap();
        let wire = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            cut: Arc::default(),
        };
        let all = wire.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                all.connections.fetch_add(1, Ordering::SeqCst);
                let cut = all.cut.clone();
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(server).await else { return };
                    let (mut from_client, mut to_client) = client.into_split();
                    let (mut from_server, mut to_server) = server.into_split();
                    let mut buffers = (vec![0; 65_536], vec![0; 65_536]);
                    loop {
                        let (read, there) = tokio::select! {
                            read = from_client.read(&mut buffers.0) => (read, true),
                            read = from_server.read(&mut buffers.1) => (read, false),
                        };
                        let read = read.unwrap_or(0);
                        if cut.load(Ordering::SeqCst) {
                            return std::future::pending().await;
                        }
                        let written = match there {
                            _ if read == 0 => return,
                            true => to_server.write_all(&buffers.0[..read]).await,
                            false => to_client.write_all(&buffers.1[..read]).await,
                        };
                        if written.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        wire
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn start(pki: &Pki, listen: SocketAddr) -> Service {
    rpc::serve(Arc::new(Server), pki.tls("node").server(ALPN).unwrap(), listen).unwrap()
}

fn link(pki: &Pki, address: SocketAddr) -> Link {
    let dialer = Dialer::new(pki.tls("gateway").client(ALPN).unwrap());
    dialer.link(format!("node-{NODE}"), address.to_string())
}

async fn world() -> (Pki, Service, Wire, Link) {
    let pki = Pki::new();
    let service = start(&pki, anywhere());
    let wire = Wire::to(service.local_addr()).await;
    let link = link(&pki, wire.address);
    (pki, service, wire, link)
}

async fn call(link: &Link, ask: Ask, payload: &Bytes) -> Result<(u32, Bytes), CallError> {
    call_within(link, ask, payload, LONG).await
}

async fn call_within(
    link: &Link,
    ask: Ask,
    payload: &Bytes,
    within: Duration,
) -> Result<(u32, Bytes), CallError> {
    let head = frame::encode(&ask, payload.len(), LIMIT).unwrap();
    link.call(vec![head.into(), payload.clone()], LIMITS, ask != Ask::Close, within).await
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_of_all_sizes_come_back_over_one_connection() {
    let (_pki, service, wire, link) = world().await;
    for (n, len) in [0, 1, 16_384, 65_537, 1 << 20, 20_000_001].into_iter().enumerate() {
        let n = u32::try_from(n).unwrap();
        let payload: Bytes = (0..len).map(|i: u32| (i / 7).to_le_bytes()[0]).collect();
        let (back, echo) = call(&link, Ask::Echo(n), &payload).await.unwrap();
        assert!(back == n && echo == payload, "{len} bytes");
    }
    assert_eq!(wire.connections(), 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_at_a_time_have_connections_of_their_own_up_to_a_bound() {
    let (_pki, service, wire, link) = world().await;
    for together in [20, 400] {
        let calls =
            (0..together).map(|n| {
                let link = &link;
                async move {
                    assert_eq!(call(link, Ask::Late(n, 30), &Bytes::new()).await.unwrap().0, n)
                }
            });
        join_all(calls).await;
    }
    assert!((20..=128).contains(&wire.connections()), "{} connections", wire.connections());
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_given_up_is_not_used_again() {
    let (_pki, service, wire, link) = world().await;
    let (none, soon) = (Bytes::new(), Duration::from_millis(50));
    for n in 0..5 {
        let late = call_within(&link, Ask::Late(1000, 200), &none, soon).await;
        assert_eq!(late, Err(CallError::Late { within: soon, sent: true }));
        assert_eq!(call(&link, Ask::Echo(n), &none).await.unwrap().0, n);
    }
    assert!(wire.connections() >= 5);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_arrives_however_much_was_to_be_said() {
    let (_pki, service, _wire, link) = world().await;
    for len in [1usize, 100_000, 30_000_000] {
        for n in 0..10 {
            let payload = Bytes::from(vec![1; len]);
            assert_eq!(call(&link, Ask::Refuse(n), &payload).await.unwrap().0, n, "{len} bytes");
            assert_eq!(call(&link, Ask::Echo(n), &Bytes::new()).await.unwrap().0, n);
        }
    }
    service.stop().await;
}

/// A machine without power, or a process that stands still.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_is_given_up_and_one_that_works_is_not() {
    let (_pki, service, wire, link) = world().await;
    let ms = u64::try_from(SILENCE.as_millis()).unwrap() + 1500;
    assert_eq!(call(&link, Ask::Late(7, ms), &Bytes::new()).await.unwrap().0, 7);
    wire.cut.store(true, Ordering::SeqCst);
    for len in [0, 30_000_000] {
        let began = Instant::now();
        let silent = call(&link, Ask::Echo(1), &vec![1; len].into()).await;
        assert!(silent.is_err(), "{len} bytes");
        assert!(began.elapsed() < SILENCE + Duration::from_secs(2), "{:?}", began.elapsed());
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_become_of_a_request_is_told() {
    let (pki, service, _wire, link) = world().await;
    let closed = call(&link, Ask::Close, &Bytes::new()).await;
    assert!(matches!(closed, Err(CallError::NoAnswer(_))), "{closed:?}");
    let nobody = self::link(&pki, SocketAddr::from(([127, 0, 0, 1], 9)));
    for _ in 0..2 {
        let refused = call(&nobody, Ask::Echo(1), &Bytes::new()).await;
        assert!(matches!(refused, Err(CallError::NotSent(_))), "{refused:?}");
    }
    // Whoever speaks another protocol means somebody else.
    let dialer = Dialer::new(pki.tls("gateway").client(b"test/2").unwrap());
    let other = dialer.link(format!("node-{NODE}"), service.local_addr().to_string());
    let refused = call(&other, Ask::Echo(1), &Bytes::new()).await;
    assert!(matches!(refused, Err(CallError::NotSent(_))), "{refused:?}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_restarted_is_used_as_if_nothing_had_been() {
    let pki = Pki::new();
    let service = start(&pki, anywhere());
    let address = service.local_addr();
    let link = link(&pki, address);
    let mut service = Some(service);
    for n in 0..5 {
        let none = Bytes::new();
        let calls = (0..10).map(|_| call(&link, Ask::Late(n, 10), &none));
        assert!(join_all(calls).await.iter().all(|answer| answer.as_ref().is_ok_and(|a| a.0 == n)));
        service.take().unwrap().stop().await;
        service = Some(start(&pki, address));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_who_say_nothing_do_not_keep_others_out_for_long() {
    let pki = Pki::new();
    let service = start(&pki, anywhere());
    let strangers = (0..100).map(|_| TcpStream::connect(service.local_addr()));
    let strangers = join_all(strangers).await;
    assert!(strangers.iter().all(Result::is_ok));
    let link = link(&pki, service.local_addr());
    let began = Instant::now();
    while call(&link, Ask::Echo(1), &Bytes::new()).await.is_err() {
        assert!(began.elapsed() < LONG, "kept out");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    service.stop().await;
}
