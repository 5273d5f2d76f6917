//! The gateway's side of the shard service.

use super::node_name;
use crate::quic::{Dialer, Link, MutualTls, TlsError, header};
use async_trait::async_trait;
use bytes::Bytes;
use coffer_core::ids::NodeId;
use coffer_core::shard::{
    BlockRange, Finding, MAX_SHARD_LEN, NodeStat, ShardError, ShardInfo, ShardKey, ShardPut,
    ShardStore,
};
use coffer_core::wire::{self, MAX_HEADER, Request, Response};
use std::time::Duration;

/// How long an answer may take; a bound for callers that set none of their own.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A client for all nodes of a cluster: one UDP socket, one certificate.
#[derive(Debug, Clone)]
pub struct NodeClient {
    dialer: Dialer,
}

/// One node, over the network.
#[derive(Debug)]
pub struct RemoteNode {
    link: Link,
}

impl NodeClient {
    /// A client that shows the certificate of `tls`.
    ///
    /// # Errors
    /// [`TlsError`] when the certificate can't be used, or no socket can be had.
    pub fn new(tls: &MutualTls) -> Result<Self, TlsError> {
        let dialer = Dialer::new(tls.client(wire::ALPN)?)
            .map_err(|e| TlsError { path: "a UDP socket".into(), why: e.to_string() })?;
        Ok(Self { dialer })
    }

    /// A node by its id and address (`host:port`).
    pub fn node(&self, node: NodeId, address: &str) -> RemoteNode {
        RemoteNode { link: self.dialer.link(node_name(node), address.to_owned()) }
    }
}

fn unreachable(error: impl std::fmt::Display) -> ShardError {
    ShardError::Unreachable(error.to_string())
}

impl RemoteNode {
    async fn call(
        &self,
        request: Request,
        payload: Vec<Bytes>,
    ) -> Result<(Response, Bytes), ShardError> {
        let exchange = self.exchange(request, payload);
        tokio::time::timeout(REQUEST_TIMEOUT, exchange).await.map_err(|_| ShardError::Timeout)?
    }

    async fn exchange(
        &self,
        request: Request,
        mut payload: Vec<Bytes>,
    ) -> Result<(Response, Bytes), ShardError> {
        let header = wire::encode(&request).map_err(|e| ShardError::BadRequest(e.to_string()))?;
        let connection = self.link.connection().await.map_err(unreachable)?;
        let (mut send, mut receive) = connection.open_bi().await.map_err(unreachable)?;
        let write = async {
            send.write_all(&header).await.map_err(unreachable)?;
            send.write_all_chunks(&mut payload).await.map_err(unreachable)?;
            send.finish().map_err(unreachable)?;
            Ok::<_, ShardError>(())
        };
        let read = async {
            let response: Response =
                header::read(&mut receive, MAX_HEADER).await.map_err(unreachable)?;
            let len = match &response {
                Response::Blocks { len } if *len <= MAX_SHARD_LEN => *len as usize,
                Response::Blocks { len } => {
                    return Err(unreachable(format!("it announces {len} bytes of blocks")));
                }
                _ => 0,
            };
            let mut payload = vec![0; len];
            receive.read_exact(&mut payload).await.map_err(unreachable)?;
            Ok((response, Bytes::from(payload)))
        };
        // A node answers as soon as it has all that it needs, or refuses, and lets go of the rest,
        // be it only the end of the stream: its answer is what counts, not how writing ended.
        let (_, answer) = tokio::join!(write, read);
        match answer? {
            (Response::Failed(error), _) => Err(error),
            answer => Ok(answer),
        }
    }

    async fn read(&self, request: Request) -> Result<Bytes, ShardError> {
        match self.call(request, Vec::new()).await? {
            (Response::Blocks { .. }, bytes) => Ok(bytes),
            (other, _) => Err(unexpected(&other)),
        }
    }
}

fn unexpected(response: &Response) -> ShardError {
    unreachable(format!("it answers out of turn: {response:?}"))
}

#[async_trait]
impl ShardStore for RemoteNode {
    async fn put(&self, key: ShardKey, info: ShardInfo, payload: Bytes) -> Result<(), ShardError> {
        match self.call(Request::Put { key, info }, vec![payload]).await? {
            (Response::Done, _) => Ok(()),
            (other, _) => Err(unexpected(&other)),
        }
    }

    async fn put_all(&self, puts: Vec<ShardPut>) -> Result<(), ShardError> {
        let shards = puts.iter().map(|put| (put.key, put.info)).collect();
        let payloads = puts.into_iter().map(|put| put.payload).collect();
        match self.call(Request::PutAll { shards }, payloads).await? {
            (Response::Done, _) => Ok(()),
            (other, _) => Err(unexpected(&other)),
        }
    }

    async fn get(&self, key: ShardKey, blocks: BlockRange) -> Result<Bytes, ShardError> {
        self.read(Request::Get { key, blocks, verify: true }).await
    }

    async fn get_unverified(&self, key: ShardKey, blocks: BlockRange) -> Result<Bytes, ShardError> {
        self.read(Request::Get { key, blocks, verify: false }).await
    }

    async fn delete(&self, keys: Vec<ShardKey>) -> Result<(), ShardError> {
        match self.call(Request::Delete { keys }, Vec::new()).await? {
            (Response::Done, _) => Ok(()),
            (other, _) => Err(unexpected(&other)),
        }
    }

    async fn list(
        &self,
        after: Option<ShardKey>,
        limit: u32,
    ) -> Result<Vec<(ShardKey, ShardInfo)>, ShardError> {
        match self.call(Request::List { after, limit }, Vec::new()).await? {
            (Response::Shards(rows), _) => Ok(rows),
            (other, _) => Err(unexpected(&other)),
        }
    }

    async fn findings(&self, after: Option<u64>, limit: u32) -> Result<Vec<Finding>, ShardError> {
        match self.call(Request::Findings { after, limit }, Vec::new()).await? {
            (Response::Findings(page), _) => Ok(page),
            (other, _) => Err(unexpected(&other)),
        }
    }

    async fn stat(&self) -> Result<NodeStat, ShardError> {
        match self.call(Request::Stat, Vec::new()).await? {
            (Response::Stat(stat), _) => Ok(*stat),
            (other, _) => Err(unexpected(&other)),
        }
    }
}
