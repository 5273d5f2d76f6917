//! Gateways' way to each other: who may use it, and what is known when it fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use async_trait::async_trait;
use coffer_core::catalog::{Command, Outcome};
use coffer_core::ids::{BucketName, NodeId};
use coffer_gateway::catalog::raft::network::{
    MAX_MESSAGE, PeerError, PeerLink, PeerRequest, PeerResponse, PeerService,
};
use coffer_gateway::catalog::raft::types::{Answers, Encoded, GatewayId, Group, Peer};
use coffer_gateway::peer::{self, ALPN, PeerClient};
use coffer_gateway::setup::ca::Authority;
use coffer_node::rpc::{Dialer, MutualTls, Service};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const ONE: GatewayId = GatewayId(1);
const TWO: GatewayId = GatewayId(2);
/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(300);

/// Directories with certificates: of gateways 1 and 2 and of a node.
struct Pki {
    dir: tempfile::TempDir,
}

impl Pki {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::load_or_create(dir.path()).unwrap();
        let one = authority.gateway(&[peer::name(ONE)]).unwrap();
        let two = authority.gateway(&[peer::name(TWO)]).unwrap();
        let node = authority.node(NodeId::from_bytes([1; 16])).unwrap();
        for (name, issued) in [("one", one), ("two", two), ("node", node)] {
            std::fs::write(dir.path().join(format!("{name}.pem")), issued.certificate).unwrap();
            std::fs::write(dir.path().join(format!("{name}.key")), &*issued.key).unwrap();
        }
        Self { dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn tls(&self, name: &str) -> MutualTls {
        MutualTls::load(self.path(), name).unwrap()
    }

    fn client(&self, name: &str) -> PeerClient {
        PeerClient::new(&self.tls(name)).unwrap()
    }
}

/// Does what it is told, and counts.
#[derive(Default)]
struct Echo {
    asked: AtomicUsize,
    ended: AtomicUsize,
}

/// Counts when it is dropped.
struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl PeerService for Echo {
    async fn handle(&self, request: PeerRequest) -> PeerResponse {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let _ended = Counted(&self.ended);
        match request {
            PeerRequest::Propose(group) => {
                PeerResponse::Proposed(Answers(vec![Ok(Outcome::Done); group.0.len()]))
            }
            // Hangs.
            _ => std::future::pending().await,
        }
    }
}

/// Gateway 2, serving.
fn start(pki: &Pki, listen: SocketAddr) -> (Arc<Echo>, Service, Peer) {
    let echo = Arc::new(Echo::default());
    let service = peer::serve(echo.clone(), &pki.tls("two"), listen).unwrap();
    let address = service.local_addr().to_string();
    (echo, service, Peer { name: "gateway-2".into(), address, endpoint: String::new() })
}

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Bytes of one command in [`group`].
const COMMAND: usize = 68;

/// Commands of at least `bytes` bytes together.
fn group(bytes: usize) -> PeerRequest {
    let bucket = BucketName::new("b".repeat(63)).unwrap();
    let command = Command::DeleteBucket { bucket, at_ms: 0 };
    PeerRequest::Propose(Group(vec![Encoded::new(&command).unwrap(); bytes.div_ceil(COMMAND)]))
}

fn answers(response: Result<PeerResponse, PeerError>) -> usize {
    match response {
        Ok(PeerResponse::Proposed(answers)) => answers.0.len(),
        other => panic!("{other:?}"),
    }
}

fn not_sent<T>(outcome: &Result<T, PeerError>) -> bool {
    matches!(outcome, Err(PeerError::NotSent { .. }))
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_all_sizes_cross_many_at_a_time() {
    let pki = Pki::new();
    let (echo, service, peer) = start(&pki, anywhere());
    let client = pki.client("one");
    for bytes in [1, 1000, 1 << 20, MAX_MESSAGE / 2] {
        let sent = client.call(TWO, &peer, group(bytes), LONG).await;
        assert_eq!(answers(sent), bytes.div_ceil(COMMAND), "{bytes} bytes");
    }
    // More than there may be connections.
    let calls = (0..400).map(|_| client.call(TWO, &peer, group(10_000), LONG));
    for sent in futures::future::join_all(calls).await {
        assert_eq!(answers(sent), 10_000_usize.div_ceil(COMMAND));
    }
    assert_eq!(echo.asked.load(Ordering::SeqCst), 404);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_gateways_of_the_cluster_are_let_in_and_only_the_one_meant_is_talked_to() {
    let pki = Pki::new();
    let (echo, service, peer) = start(&pki, anywhere());
    // A storage node's certificate is of the same authority, but not good for clients. The client
    // learns of the refusal when it has sent already: the handshake is over for it before.
    let node = pki.client("node").call(TWO, &peer, group(1), LONG).await;
    assert!(node.is_err(), "{node:?}");
    // Another cluster's gateway: neither side trusts the other.
    let stranger = Pki::new();
    let refused = stranger.client("one").call(TWO, &peer, group(1), LONG).await;
    assert!(not_sent(&refused), "{refused:?}");
    // It trusts us, but we do not trust it.
    let ca = std::fs::read(pki.path().join("ca.pem")).unwrap();
    std::fs::write(stranger.path().join("ca.pem"), ca).unwrap();
    let refused = stranger.client("one").call(TWO, &peer, group(1), LONG).await;
    assert!(refused.is_err(), "{refused:?}");
    // There is another gateway than the one that is meant.
    let impostor = pki.client("one").call(GatewayId(3), &peer, group(1), LONG).await;
    assert!(not_sent(&impostor), "{impostor:?}");
    assert_eq!(echo.asked.load(Ordering::SeqCst), 0);
    assert_eq!(answers(pki.client("one").call(TWO, &peer, group(1), LONG).await), 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_says_whether_the_request_can_have_had_an_effect() {
    let pki = Pki::new();
    let (echo, service, peer) = start(&pki, anywhere());
    let client = pki.client("one");
    // Over the limit: it does not leave.
    let long = client.call(TWO, &peer, group(MAX_MESSAGE + 1), LONG).await;
    assert!(not_sent(&long), "{long:?}");
    assert!(long.unwrap_err().to_string().contains("over the limit"));
    // Nobody there.
    let nobody = Peer { address: "127.0.0.1:9".into(), ..peer.clone() };
    let gone = client.call(TWO, &nobody, PeerRequest::ReadIndex, SHORT).await;
    assert!(not_sent(&gone), "{gone:?}");
    // It hangs: the request was taken.
    let hung = client.call(TWO, &peer, PeerRequest::ReadIndex, SHORT).await;
    assert!(matches!(hung, Err(PeerError::NoAnswer { .. })), "{hung:?}");
    // Who gives up takes the work along; others are not held up.
    let given_up = async {
        while echo.ended.load(Ordering::SeqCst) < echo.asked.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, given_up).await.expect("the handler goes on");
    assert_eq!(answers(client.call(TWO, &peer, group(1), LONG).await), 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_are_too_long_or_no_headers_are_not_taken() {
    let pki = Pki::new();
    let (echo, service, peer) = start(&pki, anywhere());
    let dialer = Dialer::new(pki.tls("one").client(ALPN).unwrap());
    let link = dialer.link(peer::name(TWO), service.local_addr().to_string());
    let lengths =
        |header: u32, payload: u32| [header.to_le_bytes(), payload.to_le_bytes()].concat();
    for bytes in [
        [lengths(u32::MAX, 0), vec![0; 100]].concat(),
        [lengths(5, 0), vec![0xFF; 5]].concat(),
        [lengths(0, 0)].concat(),
        // These wait for the rest, and then for nothing more.
        [lengths(5, 0), vec![0; 2]].concat(),
        vec![1],
    ] {
        let mut stream = link.connect().await.unwrap();
        // It may be refused while it is written.
        let _ = stream.write(vec![bytes.clone().into()]).await;
        let answer = tokio::time::timeout(LONG, stream.read(1)).await.expect("hangs");
        assert!(answer.is_err(), "{bytes:?}");
    }
    assert_eq!(echo.asked.load(Ordering::SeqCst), 0);
    assert_eq!(answers(pki.client("one").call(TWO, &peer, group(1), LONG).await), 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_restarts_or_moves_is_found_again() {
    let pki = Pki::new();
    let (_, service, peer) = start(&pki, anywhere());
    let address = service.local_addr();
    let client = pki.client("one");
    assert_eq!(answers(client.call(TWO, &peer, group(1), LONG).await), 1);
    service.stop().await;
    assert!(client.call(TWO, &peer, group(1), SHORT).await.is_err());
    let found = |peer: Peer| {
        let client = &client;
        async move {
            while client.call(TWO, &peer, group(1), SHORT).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    let (_, service, _) = start(&pki, address);
    tokio::time::timeout(LONG, found(peer.clone())).await.expect("not found again");
    let (_, elsewhere, moved) = start(&pki, anywhere());
    service.stop().await;
    tokio::time::timeout(LONG, found(moved)).await.expect("not found where it is now");
    elsewhere.stop().await;
}
