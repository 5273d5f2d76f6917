//! The node's side of the shard service.

use crate::rpc::{self, Answer, Broken, Exchange, HeaderError, MutualTls, Service};
use bytes::Bytes;
use coffer_core::layout::{MAX_SEGMENT, TAG_LEN};
use coffer_core::shard::{
    BlockRange, MAX_BATCH, MAX_PUT_ALL, MAX_SHARD_LEN, ShardError, ShardInfo, ShardKey, ShardPut,
    ShardStore,
};
use coffer_core::wire::{self, MAX_HEADER, Request, Response, WireError};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Bytes of payload that all requests together may be receiving, and all answers sending: bounds
/// the memory of the service.
const RECEIVING: usize = 128 << 20;
const SENDING: usize = 128 << 20;

/// Serves `store` on a TCP address.
///
/// # Errors
/// When the address can't be bound or the certificates do not fit.
pub fn serve(
    store: Arc<dyn ShardStore>,
    tls: &MutualTls,
    listen: SocketAddr,
) -> io::Result<Service> {
    let config = tls.server(wire::ALPN).map_err(io::Error::other)?;
    let (receiving, sending) = (Semaphore::new(RECEIVING), Semaphore::new(SENDING));
    let server = Server { store, receiving, sending };
    rpc::serve(Arc::new(server), config, listen)
}

/// What all requests share.
#[derive(Debug)]
struct Server {
    store: Arc<dyn ShardStore>,
    receiving: Semaphore,
    sending: Semaphore,
}

impl Server {
    /// Room for the answer to a request, to be held until the answer has arrived.
    async fn room(&self, request: &Request) -> Option<SemaphorePermit<'_>> {
        let Request::Get { blocks, .. } = request else { return None };
        self.sending.acquire_many(most_bytes(blocks)).await.ok()
    }
}

/// Bytes that blocks of a shard may have, whatever its shape.
fn most_bytes(blocks: &BlockRange) -> u32 {
    blocks.count.saturating_mul(MAX_SEGMENT + TAG_LEN).min(MAX_SHARD_LEN)
}

impl Answer for Server {
    const LIMIT: Duration = Duration::from_secs(30);

    async fn answer(&self, mut exchange: Exchange<'_>) -> Result<(), Broken> {
        let mut _room = None;
        let outcome = match exchange.header(MAX_HEADER).await {
            Ok(request) => {
                _room = exchange.working(self.room(&request)).await?;
                perform(request, &mut exchange, self).await?
            }
            Err(HeaderError::Wire(error @ WireError::Malformed(_))) => {
                Err(ShardError::BadRequest(error.to_string()))
            }
            Err(error) => return Err(error.into()),
        };
        let (response, payload) = outcome.unwrap_or_else(|e| (Response::Failed(e), Bytes::new()));
        exchange.answer(&response, payload, MAX_HEADER).await
    }
}

type Outcome = Result<(Response, Bytes), ShardError>;

async fn perform(
    request: Request,
    exchange: &mut Exchange<'_>,
    server: &Server,
) -> Result<Outcome, Broken> {
    let store = &server.store;
    let plain = |response| (response, Bytes::new());
    Ok(match request {
        Request::Put { key, info } => {
            // Before anything is allocated for it.
            if let Err(error) = info.check().and_then(|()| announced(exchange, info.len)) {
                return Ok(Err(error));
            }
            let _room = exchange.working(server.receiving.acquire_many(info.len)).await?;
            let payload = exchange.payload().await?;
            let put = exchange.working(store.put(key, info, payload)).await?;
            put.map(|()| plain(Response::Done))
        }
        Request::PutAll { shards } => {
            let len = match total_len(&shards) {
                Ok(len) => len,
                Err(error) => return Ok(Err(error)),
            };
            if let Err(error) = announced(exchange, len) {
                return Ok(Err(error));
            }
            let _room = exchange.working(server.receiving.acquire_many(len)).await?;
            let mut bytes = exchange.payload().await?;
            let cut = |(key, info): (ShardKey, ShardInfo)| ShardPut {
                key,
                info,
                payload: bytes.split_to(info.len as usize),
            };
            let puts = shards.into_iter().map(cut).collect();
            exchange.working(store.put_all(puts)).await?.map(|()| plain(Response::Done))
        }
        Request::Get { key, blocks, verify } => {
            let read = match verify {
                true => store.get(key, blocks),
                false => store.get_unverified(key, blocks),
            };
            exchange.working(read).await?.map(|bytes| (Response::Blocks, bytes))
        }
        Request::Delete { keys } => {
            exchange.working(store.delete(keys)).await?.map(|()| plain(Response::Done))
        }
        Request::List { after, limit } => {
            let rows = exchange.working(store.list(after, limit)).await?;
            rows.map(|rows| plain(Response::Shards(rows)))
        }
        Request::Findings { after, limit } => {
            let page = exchange.working(store.findings(after, limit)).await?;
            page.map(|page| plain(Response::Findings(page)))
        }
        Request::Stat => {
            let stat = exchange.working(store.stat()).await?;
            stat.map(|stat| plain(Response::Stat(Box::new(stat))))
        }
    })
}

/// Whether a request's payload is as long as its header says.
fn announced(exchange: &Exchange<'_>, len: u32) -> Result<(), ShardError> {
    match exchange.payload_len() {
        payload if payload == len => Ok(()),
        payload => Err(ShardError::BadRequest(format!("{payload} bytes of payload, not {len}"))),
    }
}

/// Bytes of payload of shards that come together, checked before anything is allocated for them.
fn total_len(shards: &[(ShardKey, ShardInfo)]) -> Result<u32, ShardError> {
    if shards.len() > MAX_BATCH {
        let message = format!("{} shards; at most {MAX_BATCH} at a time", shards.len());
        return Err(ShardError::BadRequest(message));
    }
    shards.iter().try_for_each(|(_, info)| info.check())?;
    let sum: u64 = shards.iter().map(|(_, info)| u64::from(info.len)).sum();
    u32::try_from(sum).ok().filter(|sum| *sum as usize <= MAX_PUT_ALL).ok_or_else(|| {
        ShardError::BadRequest(format!("{sum} bytes of shards; at most {MAX_PUT_ALL} at a time"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_core::erasure::Code;
    use coffer_core::shard::ShardInfo;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_answer_is_longer_than_the_room_that_it_waited_for(
            first in 0u32..100, count: u32, block_size in 17u32..=MAX_SEGMENT + TAG_LEN, len in 1u32..=MAX_SHARD_LEN,
        ) {
            let info = ShardInfo { code: Code::DEFAULT, block_size, len };
            let blocks = BlockRange { first, count: count % 200 };
            if let Ok(range) = blocks.bytes_in(&info) {
                prop_assert!(range.end - range.start <= most_bytes(&blocks));
                prop_assert!(most_bytes(&blocks) as usize <= SENDING);
            }
        }
    }
}
