//! Bytes over TLS, and what comes back.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::signed::Between;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long an answer may take until it counts as hung.
const PATIENCE: Duration = Duration::from_secs(60);
/// A last request on a connection; the server answers it only if it still listens.
const PROBE: &[u8] = b"GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

/// A server, seen by someone with bad manners.
#[derive(Clone)]
pub(crate) struct Raw {
    address: SocketAddr,
    tls: TlsConnector,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn code(&self) -> String {
        self.text().between("<Code>", "</Code>").to_owned()
    }
}

impl Raw {
    pub(crate) fn new(address: SocketAddr, ca: &Path) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { address, tls: TlsConnector::from(Arc::new(config)) }
    }

    pub(crate) async fn connect(&self) -> TlsStream<TcpStream> {
        let tcp = TcpStream::connect(self.address).await.unwrap();
        self.tls.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap()
    }

    /// Sends bytes, and then asks whether the server is well; returns the answers to the bytes, and
    /// whether the connection was of use after them.
    pub(crate) async fn talk(&self, bytes: &[u8]) -> (Vec<Reply>, bool) {
        let (mut read, mut write) = tokio::io::split(self.connect().await);
        let send = async {
            // The server may close before it has everything.
            let _ = write.write_all(bytes).await;
            let _ = write.write_all(PROBE).await;
            let _ = write.flush().await;
        };
        let mut text = Vec::new();
        let receive = async {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(n @ 1..) = read.read(&mut buffer).await {
                text.extend_from_slice(&buffer[..n]);
            }
        };
        let both = async { tokio::join!(send, receive) };
        let ended = tokio::time::timeout(PATIENCE, both).await;
        assert!(ended.is_ok(), "hangs after {:?}", String::from_utf8_lossy(&text));
        let mut replies = replies(&text);
        let alive = replies.pop_if(|last| last.body == b"ok\n").is_some();
        (replies, alive)
    }

    /// As [`Raw::talk`], for bytes that get one answer.
    pub(crate) async fn ask(&self, bytes: &[u8]) -> Reply {
        let (mut replies, _) = self.talk(bytes).await;
        assert_eq!(replies.len(), 1, "{replies:?}");
        replies.remove(0)
    }
}

/// Takes a stream of answers apart.
fn replies(mut text: &[u8]) -> Vec<Reply> {
    let mut replies = Vec::new();
    while let Some(end) = text.windows(4).position(|w| w == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&text[..end + 2]).to_ascii_lowercase();
        text = &text[end + 4..];
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.between("content-length: ", "\r\n").parse::<usize>();
        let body = match length {
            Ok(length) => text[..length.min(text.len())].to_vec(),
            Err(_) if head.contains("transfer-encoding: chunked") => {
                let end = text.windows(5).position(|w| w == b"0\r\n\r\n").map_or(0, |n| n + 5);
                text[..end].to_vec()
            }
            Err(_) => Vec::new(),
        };
        text = &text[body.len()..];
        replies.push(Reply { status, head, body });
    }
    replies
}
