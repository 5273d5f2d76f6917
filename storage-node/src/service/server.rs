//! The node's side of the shard service.

use crate::quic::{self, Answer, Broken, HeaderError, MutualTls, Service, header};
use bytes::Bytes;
use coffer_core::layout::{MAX_SEGMENT, TAG_LEN};
use coffer_core::shard::{
    BlockRange, MAX_BATCH, MAX_PUT_ALL, MAX_SHARD_LEN, ShardError, ShardInfo, ShardKey, ShardPut,
    ShardStore,
};
use coffer_core::wire::{self, MAX_HEADER, Request, Response};
use quinn::{RecvStream, SendStream};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Bytes of payload that all requests together may be receiving, and all answers sending: bounds
/// the memory of the service.
const RECEIVING: usize = 128 << 20;
const SENDING: usize = 128 << 20;

/// Serves `store` on a UDP address.
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
    quic::serve(Arc::new(server), config, listen)
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

    async fn answer(&self, mut send: SendStream, mut receive: RecvStream) -> Result<(), Broken> {
        let mut _room = None;
        let outcome = match header::read(&mut receive, MAX_HEADER).await {
            Ok(request) => {
                _room = self.room(&request).await;
                perform(request, &mut receive, self).await?
            }
            Err(HeaderError::Wire(error)) => Err(ShardError::BadRequest(error.to_string())),
            Err(error) => return Err(error.into()),
        };
        let (response, payload) = outcome.unwrap_or_else(|e| (Response::Failed(e), Bytes::new()));
        send.write_all(&wire::encode(&response)?).await?;
        send.write_chunk(payload).await?;
        send.finish()?;
        // Dropping the stream would be taken for a reset before all has arrived.
        let _ = send.stopped().await;
        Ok(())
    }
}

type Outcome = Result<(Response, Bytes), ShardError>;

async fn perform(
    request: Request,
    receive: &mut RecvStream,
    server: &Server,
) -> Result<Outcome, Broken> {
    let store = &server.store;
    let plain = |response| (response, Bytes::new());
    Ok(match request {
        Request::Put { key, info } => {
            // Before anything is allocated for it.
            if let Err(error) = info.check() {
                return Ok(Err(error));
            }
            let _room = server.receiving.acquire_many(info.len).await;
            match payload(receive, info.len as usize).await? {
                Ok(payload) => store.put(key, info, payload).await.map(|()| plain(Response::Done)),
                Err(error) => Err(error),
            }
        }
        Request::PutAll { shards } => {
            let len = match total_len(&shards) {
                Ok(len) => len,
                Err(error) => return Ok(Err(error)),
            };
            let _room = server.receiving.acquire_many(len).await;
            match payload(receive, len as usize).await? {
                Ok(mut bytes) => {
                    let cut = |(key, info): (ShardKey, ShardInfo)| ShardPut {
                        key,
                        info,
                        payload: bytes.split_to(info.len as usize),
                    };
                    let puts = shards.into_iter().map(cut).collect();
                    store.put_all(puts).await.map(|()| plain(Response::Done))
                }
                Err(error) => Err(error),
            }
        }
        Request::Get { key, blocks, verify } => {
            let outcome = match verify {
                true => store.get(key, blocks).await,
                false => store.get_unverified(key, blocks).await,
            };
            outcome.map(|bytes| {
                let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                (Response::Blocks { len }, bytes)
            })
        }
        Request::Delete { keys } => store.delete(keys).await.map(|()| plain(Response::Done)),
        Request::List { after, limit } => {
            store.list(after, limit).await.map(|rows| plain(Response::Shards(rows)))
        }
        Request::Findings { after, limit } => {
            store.findings(after, limit).await.map(|page| plain(Response::Findings(page)))
        }
        Request::Stat => store.stat().await.map(|stat| plain(Response::Stat(Box::new(stat)))),
    })
}

/// The payload of a request, which must be just as long as it was announced.
async fn payload(
    receive: &mut RecvStream,
    len: usize,
) -> Result<Result<Bytes, ShardError>, Broken> {
    let mut payload = vec![0; len];
    receive.read_exact(&mut payload).await?;
    if receive.read(&mut [0]).await.is_ok_and(|more| more.is_some()) {
        let message = format!("more than the {len} bytes that were announced");
        return Ok(Err(ShardError::BadRequest(message)));
    }
    Ok(Ok(payload.into()))
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
