//! Answering requests of other gateways.

use super::{ALPN, LIMIT};
use crate::catalog::raft::network::PeerService;
use coffer_core::wire;
use coffer_node::quic::{self, Answer, Broken, MutualTls, Service, header};
use quinn::{RecvStream, SendStream};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Bytes of requests that may be at hand together: bounds the memory of the service.
const AT_HAND: usize = 128 << 20;

/// Serves other gateways on a UDP address.
///
/// # Errors
/// When the address can't be bound or the certificates do not fit.
pub fn serve(
    service: Arc<dyn PeerService>,
    tls: &MutualTls,
    listen: SocketAddr,
) -> io::Result<Service> {
    let config = tls.server(ALPN).map_err(io::Error::other)?;
    let server = Server { service, room: Semaphore::new(AT_HAND) };
    quic::serve(Arc::new(server), config, listen)
}

/// What all requests share.
struct Server {
    service: Arc<dyn PeerService>,
    room: Semaphore,
}

impl Answer for Server {
    const LIMIT: Duration = Duration::from_secs(60);

    async fn answer(&self, mut send: SendStream, mut receive: RecvStream) -> Result<(), Broken> {
        let len = header::read_len(&mut receive, LIMIT).await?;
        // Never closed: all that can happen is that it waits.
        let _room = self.room.acquire_many(len).await;
        let request = header::read_body(&mut receive, len).await?;
        let response = tokio::select! {
            response = self.service.handle(request) => response,
            // Nobody waits for the answer any more.
            _ = send.stopped() => return Ok(()),
        };
        send.write_all(&wire::encode_within(&response, LIMIT)?).await?;
        send.finish()?;
        // Dropping the stream would be taken for a reset before all has arrived.
        let _ = send.stopped().await;
        Ok(())
    }
}
