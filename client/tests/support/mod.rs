//! A real server for transport tests: TLS with HTTP/2 and 1.1 on TCP, HTTP/3 on the same UDP port,
//! both with the same few behaviours.

pub(crate) mod h3;
pub(crate) mod tcp;
pub(crate) mod tls;

use coffer_client::{Credentials, Http3, Profile};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::net::TcpListener;

pub(crate) const MIB: usize = 1024 * 1024;

/// What the server has seen and done.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) h3_connections: AtomicUsize,
    pub(crate) h3_requests: AtomicUsize,
    pub(crate) tcp_requests: AtomicUsize,
    /// Body bytes handed to the HTTP layer for sending.
    pub(crate) offered: AtomicU64,
}

impl Seen {
    pub(crate) fn h3_requests(&self) -> usize {
        self.h3_requests.load(Ordering::SeqCst)
    }

    pub(crate) fn tcp_requests(&self) -> usize {
        self.tcp_requests.load(Ordering::SeqCst)
    }
}

/// How a path answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Reads the request body and answers with its length.
    Count,
    /// Sends this many MiB.
    Send(usize),
    /// Never answers.
    Hang,
    /// Sends a head and one byte of two.
    Stall,
    /// Promises ten bytes, sends five and ends.
    Short,
    /// Answers 403 without reading the request body.
    Refuse,
}

impl Behaviour {
    pub(crate) fn of(path: &str) -> Self {
        match path {
            "/hang" => Self::Hang,
            "/stall" => Self::Stall,
            "/short" => Self::Short,
            "/refuse" => Self::Refuse,
            path => path
                .strip_prefix("/send/")
                .and_then(|mib| mib.parse().ok())
                .map_or(Self::Count, Self::Send),
        }
    }
}

/// What stands on the UDP port.
pub(crate) enum Udp {
    Http3,
    /// A socket that takes datagrams and never answers.
    BlackHole,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Seen>,
    pub(crate) tls: tls::Identity,
    pub(crate) quic: Option<quinn::Endpoint>,
    pub(crate) black_hole: Option<UdpSocket>,
}

impl Server {
    /// Starts a server; `alpn` are the protocols offered on TCP.
    pub(crate) async fn start(udp: Udp, alpn: &[&str]) -> Self {
        let (listener, socket) = same_port().await;
        let address = listener.local_addr().unwrap();
        let (seen, tls) = (Arc::new(Seen::default()), tls::Identity::generate());
        tokio::spawn(tcp::serve(listener, tls.server_config(alpn), Arc::clone(&seen)));
        let (mut quic, mut black_hole) = (None, None);
        match udp {
            Udp::Http3 => quic = Some(h3::serve(socket, &tls, &seen)),
            Udp::BlackHole => black_hole = Some(socket),
        }
        Self { address, seen, tls, quic, black_hole }
    }

    pub(crate) async fn both() -> Self {
        Self::start(Udp::Http3, &["h2", "http/1.1"]).await
    }

    pub(crate) fn profile(&self, http3: Http3) -> Profile {
        Profile {
            name: "test".to_owned(),
            endpoint: format!("https://{}", self.address).parse().unwrap(),
            others: Vec::new(),
            region: "us-east-1".to_owned(),
            credentials: Credentials::Anonymous,
            ca_file: Some(self.ca_file()),
            http3,
        }
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.tls.ca_file()
    }

    pub(crate) fn uri(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }
}

/// A TCP and a UDP socket with the same free port.
async fn same_port() -> (TcpListener, UdpSocket) {
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        if let Ok(socket) = UdpSocket::bind(listener.local_addr().unwrap()) {
            return (listener, socket);
        }
    }
}
