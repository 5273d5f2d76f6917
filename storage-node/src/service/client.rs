//! The gateway's side of the shard service.

use super::node_name;
use crate::rpc::{CallError, Dialer, Limits, Link, MutualTls, TlsError, frame};
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
/// The most that a node may answer.
const ANSWER: Limits = Limits { header: MAX_HEADER, payload: MAX_SHARD_LEN };

/// A client for all nodes of a cluster, which shows one certificate.
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
    /// [`TlsError`] when the certificate can't be used.
    pub fn new(tls: &MutualTls) -> Result<Self, TlsError> {
        Ok(Self { dialer: Dialer::new(tls.client(wire::ALPN)?) })
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
        mut payload: Vec<Bytes>,
    ) -> Result<(Response, Bytes), ShardError> {
        let len = payload.iter().map(Bytes::len).sum();
        let head = frame::encode(&request, len, MAX_HEADER)
            .map_err(|e| ShardError::BadRequest(e.to_string()))?;
        payload.insert(0, head.into());
        // All requests may arrive twice: they say what shall be, and not what shall change.
        match self.link.call(payload, ANSWER, true, REQUEST_TIMEOUT).await {
            Ok((Response::Failed(error), _)) => Err(error),
            Ok(answer) => Ok(answer),
            Err(CallError::Late { .. }) => Err(ShardError::Timeout),
            Err(error) => Err(unreachable(error)),
        }
    }

    async fn read(&self, request: Request) -> Result<Bytes, ShardError> {
        match self.call(request, Vec::new()).await? {
            (Response::Blocks, bytes) => Ok(bytes),
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
