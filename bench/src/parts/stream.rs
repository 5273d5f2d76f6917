//! Bare QUIC streams: what quinn moves when nobody looks at the bytes.
//!
//! A request says how many bytes it wants, and then sends as many as it likes; the answer says how
//! many have arrived, and then has those that were wanted.

use anyhow::{Context, ensure};
use bytes::Bytes;
use coffer_gateway::http::MAX_MTU;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

/// Bytes that are handed to quinn at a time.
const PIECE: usize = 1 << 20;
/// The flow control window of a stream, in bytes.
const WINDOW: u32 = 4 << 20;

/// Answers requests.
#[derive(Debug, Clone)]
pub(super) struct Bare {
    piece: Bytes,
}

impl Default for Bare {
    fn default() -> Self {
        Self { piece: vec![7; PIECE].into() }
    }
}

impl Bare {
    async fn answer(&self, mut send: SendStream, mut receive: RecvStream) -> anyhow::Result<()> {
        let mut wanted = [0; 8];
        receive.read_exact(&mut wanted).await?;
        let arrived = drain(&mut receive).await?;
        send.write_all(&arrived.to_le_bytes()).await?;
        let mut left = u64::from_le_bytes(wanted);
        while left > 0 {
            let piece = self.piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            send.write_chunk(self.piece.slice(..piece)).await?;
            left -= piece as u64;
        }
        send.finish()?;
        // Dropping the stream would be taken for a reset before all has arrived.
        let _ = send.stopped().await;
        Ok(())
    }
}

/// As large as packets of HTTP/3 are, and as many on their way.
fn transport() -> Arc<quinn::TransportConfig> {
    let mut transport = quinn::TransportConfig::default();
    let mut discovery = quinn::MtuDiscoveryConfig::default();
    discovery.upper_bound(MAX_MTU);
    transport
        .stream_receive_window(WINDOW.into())
        .receive_window((8 * WINDOW).into())
        .send_window(u64::from(8 * WINDOW))
        .mtu_discovery_config(Some(discovery));
    Arc::new(transport)
}

fn endpoint(socket: UdpSocket, server: Option<quinn::ServerConfig>) -> anyhow::Result<Endpoint> {
    let mut shared = quinn::EndpointConfig::default();
    shared.max_udp_payload_size(MAX_MTU)?;
    Ok(Endpoint::new(shared, server, socket, Arc::new(quinn::TokioRuntime))?)
}

/// A server's endpoint. Must be called within a Tokio runtime.
pub(super) fn listen(at: SocketAddr, tls: Arc<rustls::ServerConfig>) -> anyhow::Result<Endpoint> {
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(transport());
    endpoint(UdpSocket::bind(at)?, Some(config))
}

/// A client's connection.
pub(super) async fn connect(
    to: SocketAddr,
    tls: Arc<rustls::ClientConfig>,
    name: &str,
) -> anyhow::Result<Connection> {
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(transport());
    let endpoint = endpoint(UdpSocket::bind((to.ip(), 0))?, None)?;
    Ok(endpoint.connect_with(config, to, name)?.await?)
}

/// Answers on an endpoint until it is closed.
pub(super) async fn serve(endpoint: Endpoint, bare: Bare) {
    while let Some(incoming) = endpoint.accept().await {
        let bare = bare.clone();
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else { return };
            while let Ok((send, receive)) = connection.accept_bi().await {
                let bare = bare.clone();
                tokio::spawn(async move { bare.answer(send, receive).await });
            }
        });
    }
}

/// Counts what arrives until the end.
async fn drain(receive: &mut RecvStream) -> Result<u64, quinn::ReadError> {
    let mut arrived = 0;
    while let Some(chunk) = receive.read_chunk(usize::MAX, true).await? {
        arrived += chunk.bytes.len() as u64;
    }
    Ok(arrived)
}

/// One request: sends `bytes`, wants `wanted` of them.
pub(super) async fn exchange(
    connection: &Connection,
    bytes: Bytes,
    wanted: u64,
) -> anyhow::Result<()> {
    let (mut send, mut receive) = connection.open_bi().await.context("no bare stream")?;
    let sent = bytes.len() as u64;
    send.write_all(&wanted.to_le_bytes()).await?;
    send.write_chunk(bytes).await?;
    send.finish()?;
    let mut arrived = [0; 8];
    receive.read_exact(&mut arrived).await?;
    ensure!(u64::from_le_bytes(arrived) == sent, "a bare stream has lost some of {sent} bytes");
    let got = drain(&mut receive).await?;
    ensure!(got == wanted, "a bare stream brought {got} of {wanted} bytes");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::network::{ANYWHERE, Parties, parties};
    use super::*;
    use coffer_core::wire;
    use coffer_node::service::node_name;

    /// A connection to a server, which answers with streams of its own making.
    async fn connect_to<F: Future<Output = ()> + Send + 'static>(
        server: impl FnOnce(Endpoint) -> F,
    ) -> Connection {
        let dir = tempfile::tempdir().unwrap();
        let Parties { node, node_tls, gateway_tls } = parties(dir.path()).unwrap();
        let endpoint = listen(ANYWHERE, node_tls.server(wire::ALPN).unwrap()).unwrap();
        let address = endpoint.local_addr().unwrap();
        tokio::spawn(server(endpoint));
        let config = gateway_tls.client(wire::ALPN).unwrap();
        connect(address, config, &node_name(node)).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn as_many_bytes_move_as_were_asked_for() {
        let connection = connect_to(|endpoint| serve(endpoint, Bare::default())).await;
        let mib = PIECE as u64;
        for (sent, wanted) in [(0, 0), (1, 0), (0, 1), (0, mib), (2 * PIECE + 1, 3 * mib + 1)] {
            let bytes = Bytes::from(vec![1; sent]);
            exchange(&connection, bytes, wanted).await.unwrap();
        }
    }

    /// Says that all has arrived, and brings a byte less than was wanted.
    async fn bring_too_little(endpoint: Endpoint) {
        let connection = endpoint.accept().await.unwrap().await.unwrap();
        let (mut send, mut receive) = connection.accept_bi().await.unwrap();
        let mut wanted = [0; 8];
        receive.read_exact(&mut wanted).await.unwrap();
        let arrived = drain(&mut receive).await.unwrap();
        send.write_all(&arrived.to_le_bytes()).await.unwrap();
        let less = u64::from_le_bytes(wanted) - 1;
        send.write_all(&vec![0; usize::try_from(less).unwrap()]).await.unwrap();
        send.finish().unwrap();
        let _ = send.stopped().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_missing_byte_is_noticed() {
        let connection = connect_to(bring_too_little).await;
        let error = exchange(&connection, Bytes::from_static(b"x"), 100).await.unwrap_err();
        assert_eq!(error.to_string(), "a bare stream brought 99 of 100 bytes");
    }
}
