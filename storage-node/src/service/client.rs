//! The gateway's side of the shard service.

use super::tls::{TlsError, node_name};
use super::{MutualTls, endpoint_config};
use async_trait::async_trait;
use bytes::Bytes;
use coffer_core::ids::NodeId;
use coffer_core::shard::{
    BlockRange, MAX_SHARD_LEN, NodeStat, ShardError, ShardInfo, ShardKey, ShardStore,
};
use coffer_core::wire::{self, Request, Response};
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long an answer may take; a bound for callers that set none of their own.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The pauses between attempts to connect to a node that does not answer.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A client for all nodes of a cluster: one UDP socket, one certificate.
#[derive(Debug, Clone)]
pub struct NodeClient {
    endpoint: quinn::Endpoint,
}

/// One node, over the network. Connects when it is first needed and again when it must.
#[derive(Debug)]
pub struct RemoteNode {
    endpoint: quinn::Endpoint,
    name: String,
    address: String,
    link: Mutex<Link>,
}

/// The connection to a node, or when to try again.
#[derive(Debug, Default)]
struct Link {
    connection: Option<quinn::Connection>,
    retry_at: Option<Instant>,
    pause: Duration,
}

impl NodeClient {
    /// A client that shows the certificate of `tls`.
    ///
    /// # Errors
    /// [`TlsError`] when the certificate can't be used, or no socket can be had.
    pub fn new(tls: &MutualTls) -> Result<Self, TlsError> {
        let config = tls.client()?;
        let failed =
            |e: std::io::Error| TlsError { path: "a UDP socket".into(), why: e.to_string() };
        // Where there is no IPv6, IPv4 must do.
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))
            .or_else(|_| UdpSocket::bind(("0.0.0.0", 0)))
            .map_err(failed)?;
        let runtime = std::sync::Arc::new(quinn::TokioRuntime);
        let mut endpoint =
            quinn::Endpoint::new(endpoint_config(), None, socket, runtime).map_err(failed)?;
        endpoint.set_default_client_config(config);
        Ok(Self { endpoint })
    }

    /// A node by its id and address (`host:port`).
    pub fn node(&self, node: NodeId, address: &str) -> RemoteNode {
        RemoteNode {
            endpoint: self.endpoint.clone(),
            name: node_name(node),
            address: address.to_owned(),
            link: Mutex::default(),
        }
    }
}

fn unreachable(error: impl std::fmt::Display) -> ShardError {
    ShardError::Unreachable(error.to_string())
}

impl RemoteNode {
    /// The connection, made if there is none. While a node does not answer, callers fail at once
    /// but for one that tries from time to time.
    async fn connection(&self) -> Result<quinn::Connection, ShardError> {
        let mut link = self.link.lock().await;
        if let Some(connection) = &link.connection
            && connection.close_reason().is_none()
        {
            return Ok(connection.clone());
        }
        if link.retry_at.is_some_and(|at| Instant::now() < at) {
            return Err(unreachable("it did not answer just now"));
        }
        match tokio::time::timeout(CONNECT_TIMEOUT, self.connect()).await {
            Ok(Ok(connection)) => {
                *link = Link { connection: Some(connection.clone()), ..Link::default() };
                Ok(connection)
            }
            failed => {
                link.pause = (link.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                link.retry_at = Some(Instant::now() + link.pause);
                link.connection = None;
                Err(match failed {
                    Ok(Err(error)) => error,
                    _ => unreachable(format!(
                        "no connection within {} ms",
                        CONNECT_TIMEOUT.as_millis()
                    )),
                })
            }
        }
    }

    async fn connect(&self) -> Result<quinn::Connection, ShardError> {
        let address = self.resolve().await?;
        let connecting = self.endpoint.connect(address, &self.name).map_err(unreachable)?;
        connecting.await.map_err(unreachable)
    }

    async fn resolve(&self) -> Result<SocketAddr, ShardError> {
        let wide = self.endpoint.local_addr().is_ok_and(|a| a.is_ipv6());
        let mut addresses = tokio::net::lookup_host(&self.address).await.map_err(unreachable)?;
        let address = addresses
            .find(|a| wide || a.is_ipv4())
            .ok_or_else(|| unreachable(format!("{} has no usable address", self.address)))?;
        Ok(match address {
            // A socket for both takes IPv4 addresses in IPv6 form.
            SocketAddr::V4(v4) if wide => SocketAddr::from((v4.ip().to_ipv6_mapped(), v4.port())),
            other => other,
        })
    }

    async fn call(
        &self,
        request: Request,
        payload: Bytes,
    ) -> Result<(Response, Bytes), ShardError> {
        let exchange = self.exchange(request, payload);
        tokio::time::timeout(REQUEST_TIMEOUT, exchange).await.map_err(|_| ShardError::Timeout)?
    }

    async fn exchange(
        &self,
        request: Request,
        payload: Bytes,
    ) -> Result<(Response, Bytes), ShardError> {
        let header = wire::encode(&request).map_err(|e| ShardError::BadRequest(e.to_string()))?;
        let connection = self.connection().await?;
        let (mut send, mut receive) = connection.open_bi().await.map_err(unreachable)?;
        let write = async {
            send.write_all(&header).await.map_err(unreachable)?;
            send.write_chunk(payload).await.map_err(unreachable)?;
            send.finish().map_err(unreachable)?;
            Ok::<_, ShardError>(())
        };
        let read = async {
            let mut len = [0; 4];
            receive.read_exact(&mut len).await.map_err(unreachable)?;
            let len = wire::check_len(u32::from_le_bytes(len)).map_err(unreachable)?;
            let mut body = vec![0; len as usize];
            receive.read_exact(&mut body).await.map_err(unreachable)?;
            let response: Response = wire::decode(&body).map_err(unreachable)?;
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
}

fn unexpected(response: &Response) -> ShardError {
    unreachable(format!("it answers out of turn: {response:?}"))
}

#[async_trait]
impl ShardStore for RemoteNode {
    async fn put(&self, key: ShardKey, info: ShardInfo, payload: Bytes) -> Result<(), ShardError> {
        match self.call(Request::Put { key, info }, payload).await? {
            (Response::Done, _) => Ok(()),
            (other, _) => Err(unexpected(&other)),
        }
    }

    async fn get(&self, key: ShardKey, blocks: BlockRange) -> Result<Bytes, ShardError> {
        match self.call(Request::Get { key, blocks }, Bytes::new()).await? {
            (Response::Blocks { .. }, bytes) => Ok(bytes),
            (other, _) => Err(unexpected(&other)),
        }
    }

    async fn delete(&self, keys: Vec<ShardKey>) -> Result<(), ShardError> {
        match self.call(Request::Delete { keys }, Bytes::new()).await? {
            (Response::Done, _) => Ok(()),
            (other, _) => Err(unexpected(&other)),
        }
    }

    async fn list(
        &self,
        after: Option<ShardKey>,
        limit: u32,
    ) -> Result<Vec<(ShardKey, ShardInfo)>, ShardError> {
        match self.call(Request::List { after, limit }, Bytes::new()).await? {
            (Response::Shards(rows), _) => Ok(rows),
            (other, _) => Err(unexpected(&other)),
        }
    }

    async fn stat(&self) -> Result<NodeStat, ShardError> {
        match self.call(Request::Stat, Bytes::new()).await? {
            (Response::Stat(stat), _) => Ok(stat),
            (other, _) => Err(unexpected(&other)),
        }
    }
}
