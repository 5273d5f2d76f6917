//! Answering requests of other gateways.

use super::{ALPN, LIMIT};
use crate::catalog::raft::network::PeerService;
use bytes::Bytes;
use coffer_node::rpc::{self, Answer, Broken, Exchange, MutualTls, Service};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Bytes of requests that may be at hand together: bounds the memory of the service.
const AT_HAND: usize = 128 << 20;

/// Serves other gateways on a TCP address.
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
    rpc::serve(Arc::new(server), config, listen)
}

/// What all requests share.
struct Server {
    service: Arc<dyn PeerService>,
    room: Semaphore,
}

impl Answer for Server {
    const LIMIT: Duration = Duration::from_secs(60);

    async fn answer(&self, mut exchange: Exchange<'_>) -> Result<(), Broken> {
        let len = exchange.header_len(LIMIT)?;
        // Never closed: all that can happen is that it waits.
        let _room = exchange.working(self.room.acquire_many(len)).await?;
        let request = exchange.header(LIMIT).await?;
        let response = exchange.working_while_wanted(self.service.handle(request)).await?;
        exchange.answer(&response, Bytes::new(), LIMIT).await
    }
}
