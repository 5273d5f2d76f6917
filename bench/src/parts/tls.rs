//! Bare TLS over TCP: what rustls and the kernel move when nobody looks at the bytes.
//!
//! A request says how many bytes it wants and how many it sends, and sends them; the answer has those
//! that were wanted. Many requests follow each other on a connection.

use anyhow::{Context, ensure};
use bytes::Bytes;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::ServerName;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Bytes that are handed to rustls at a time.
const PIECE: usize = 256 << 10;
/// Bytes that are read from the kernel at a time.
const READ: usize = 128 << 10;

/// A client's end of a connection.
pub(super) type Connection = tokio_rustls::client::TlsStream<BufReader<TcpStream>>;

/// Answers on a listener for as long as it is polled.
pub(super) async fn serve(listener: TcpListener, config: Arc<ServerConfig>) {
    let acceptor = TlsAcceptor::from(config);
    let piece = Bytes::from(vec![7; PIECE]);
    while let Ok((tcp, _)) = listener.accept().await {
        let (acceptor, piece) = (acceptor.clone(), piece.clone());
        tokio::spawn(async move {
            let _ = tcp.set_nodelay(true);
            let tcp = BufReader::with_capacity(READ, tcp);
            if let Ok(mut tls) = acceptor.accept(tcp).await {
                tls.get_mut().1.set_buffer_limit(Some(PIECE));
                while answer(&mut tls, &piece).await.is_ok() {}
            }
        });
    }
}

async fn answer(
    tls: &mut (impl AsyncBufRead + AsyncWrite + Unpin),
    piece: &Bytes,
) -> std::io::Result<()> {
    let wanted = tls.read_u64().await?;
    let sent = tls.read_u64().await?;
    drain(tls, sent).await?;
    tls.write_u64(sent).await?;
    let mut left = wanted;
    while left > 0 {
        let some = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        tls.write_all(piece.get(..some).unwrap_or_default()).await?;
        left -= some as u64;
    }
    tls.flush().await
}

/// Lets so many bytes go by.
async fn drain(tls: &mut (impl AsyncBufRead + Unpin), bytes: u64) -> std::io::Result<()> {
    let mut left = bytes;
    while left > 0 {
        let there = tls.fill_buf().await?.len();
        if there == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let taken = there.min(usize::try_from(left).unwrap_or(usize::MAX));
        tls.consume(taken);
        left -= taken as u64;
    }
    Ok(())
}

/// Connects.
pub(super) async fn connect(
    address: SocketAddr,
    config: Arc<ClientConfig>,
    name: String,
) -> anyhow::Result<Connection> {
    let tcp = TcpStream::connect(address).await.context("no bare TLS stream")?;
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from(name)?;
    let tcp = BufReader::with_capacity(READ, tcp);
    let mut tls = TlsConnector::from(config).connect(name, tcp).await?;
    tls.get_mut().1.set_buffer_limit(Some(PIECE));
    Ok(tls)
}

/// One request: sends `bytes`, wants `wanted` of them.
pub(super) async fn exchange(
    connection: &mut Connection,
    bytes: &[u8],
    wanted: u64,
) -> anyhow::Result<()> {
    connection.write_u64(wanted).await?;
    connection.write_u64(bytes.len() as u64).await?;
    connection.write_all(bytes).await?;
    connection.flush().await?;
    let arrived = connection.read_u64().await?;
    ensure!(arrived == bytes.len() as u64, "a bare TLS stream has lost some bytes");
    drain(connection, wanted).await.context("a bare TLS stream brought too little")
}

#[cfg(test)]
mod tests {
    use super::super::network::{ANYWHERE, Parties, parties};
    use super::*;
    use coffer_core::wire;
    use coffer_node::service::node_name;

    #[tokio::test(flavor = "multi_thread")]
    async fn as_many_bytes_move_as_were_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let Parties { node, node_tls, gateway_tls } = parties(dir.path()).unwrap();
        let listener = TcpListener::bind(ANYWHERE).await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, node_tls.server(wire::ALPN).unwrap()));
        let config = gateway_tls.client(wire::ALPN).unwrap();
        let mut connection = connect(address, config, node_name(node)).await.unwrap();
        for (sent, wanted) in [(0, 0), (1, 0), (0, 1), (0, PIECE), (2 * PIECE + 1, 3 * PIECE + 1)] {
            exchange(&mut connection, &vec![1; sent], wanted as u64).await.unwrap();
        }
        // Nothing is left behind.
        exchange(&mut connection, b"x", 1).await.unwrap();
        serving.abort();
    }
}
