//! Bare QUIC streams: what quinn moves when nobody looks at the bytes.
//!
//! A request says how many bytes it wants, and then sends as many as it likes; the answer says how
//! many have arrived, and then has those that were wanted.

use anyhow::{Context, ensure};
use bytes::Bytes;
use coffer_node::quic::{Answer, Broken};
use quinn::{Connection, Endpoint, ReadExactError, RecvStream, SendStream};
use std::time::Duration;

/// Bytes that are handed to quinn at a time.
const PIECE: usize = 1 << 20;

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

impl Answer for Bare {
    const LIMIT: Duration = Duration::from_secs(60);

    async fn answer(&self, mut send: SendStream, mut receive: RecvStream) -> Result<(), Broken> {
        let mut wanted = [0; 8];
        receive.read_exact(&mut wanted).await?;
        let arrived = drain(&mut receive).await.map_err(ReadExactError::ReadError)?;
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
    use coffer_node::quic::{self, Dialer};
    use coffer_node::service::node_name;
    use std::sync::Arc;

    /// Says that all has arrived, and brings a byte less than was wanted.
    struct Short;

    impl Answer for Short {
        const LIMIT: Duration = Duration::from_secs(60);

        async fn answer(
            &self,
            mut send: SendStream,
            mut receive: RecvStream,
        ) -> Result<(), Broken> {
            let mut wanted = [0; 8];
            receive.read_exact(&mut wanted).await?;
            let arrived = drain(&mut receive).await.map_err(ReadExactError::ReadError)?;
            send.write_all(&arrived.to_le_bytes()).await?;
            let less = u64::from_le_bytes(wanted) - 1;
            send.write_all(&vec![0; usize::try_from(less).unwrap()]).await?;
            send.finish()?;
            let _ = send.stopped().await;
            Ok(())
        }
    }

    async fn connect(answer: impl Answer) -> (quic::Service, Dialer, Connection) {
        let dir = tempfile::tempdir().unwrap();
        let Parties { node, node_tls, gateway_tls } = parties(dir.path()).unwrap();
        let config = node_tls.server(wire::ALPN).unwrap();
        let service = quic::serve(Arc::new(answer), config, ANYWHERE).unwrap();
        let dialer = Dialer::new(gateway_tls.client(wire::ALPN).unwrap()).unwrap();
        let link = dialer.link(node_name(node), service.local_addr().to_string());
        let connection = link.connection().await.unwrap();
        (service, dialer, connection)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn as_many_bytes_move_as_were_asked_for() {
        let (_service, _dialer, connection) = connect(Bare::default()).await;
        let mib = PIECE as u64;
        for (sent, wanted) in [(0, 0), (1, 0), (0, 1), (0, mib), (2 * PIECE + 1, 3 * mib + 1)] {
            let bytes = Bytes::from(vec![1; sent]);
            exchange(&connection, bytes, wanted).await.unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_missing_byte_is_noticed() {
        let (_service, _dialer, connection) = connect(Short).await;
        let error = exchange(&connection, Bytes::from_static(b"x"), 100).await.unwrap_err();
        assert_eq!(error.to_string(), "a bare stream brought 99 of 100 bytes");
    }
}
