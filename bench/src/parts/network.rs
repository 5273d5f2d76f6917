//! What goes over the network: shards to and from a node, objects to and from a gateway. The client is
//! this thread; all others are the server's.

use super::report::{Clock, Line, Unit};
use super::stream::{self, Bare};
use super::tls;
use super::turns::{Effort, Id, Taken, Turns};
use crate::data::{Check, Content};
use crate::s3::{Ask, Exchange, Http, Reader, Target, TargetOptions};
use anyhow::{Context, anyhow, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use coffer_client::ProfileOptions;
use coffer_client::transport::{client_config, quic_config, quic_socket};
use coffer_core::erasure::Code;
use coffer_core::ids::{BlobId, NodeId};
use coffer_core::layout::{MAX_SEGMENT, TAG_LEN};
use coffer_core::shard::{
    BlockRange, Finding, NodeStat, ShardError, ShardInfo, ShardKey, ShardStore,
};
use coffer_core::wire;
use coffer_gateway::http::quic_endpoint;
use coffer_gateway::http::tls::ServerTls;
use coffer_gateway::run::{Embedded, EmbeddedOptions};
use coffer_gateway::setup::config::{GatewayConfig, load_cluster};
use coffer_gateway::setup::init;
use coffer_node::rpc::MutualTls;
use coffer_node::service::{NodeClient, node_name, serve};
use futures::future::try_join_all;
use http::Method;
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

pub(super) const ANYWHERE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The client's runtime, which is this thread, and the server's.
fn runtimes() -> std::io::Result<(Runtime, Runtime)> {
    let client = Builder::new_current_thread().enable_all().build()?;
    Ok((client, Builder::new_multi_thread().enable_all().build()?))
}

const QUIC: &str = "a bare quinn stream";
const TLS: &str = "bare TLS over TCP";

/// A work by both clocks, beside the same bytes over a bare stream.
fn lines(taken: &Taken, part: &str, work: Id, bare: (&str, Id)) -> [Line; 2] {
    [Clock::Wall, Clock::Server].map(|clock| taken.line(part, (Unit::Bytes, clock), work, bare))
}

/// Shards in memory: the service is measured, and no disk.
#[derive(Debug, Default)]
struct Memory(Mutex<HashMap<ShardKey, (ShardInfo, Bytes)>>);

#[async_trait]
impl ShardStore for Memory {
    async fn put(&self, key: ShardKey, info: ShardInfo, payload: Bytes) -> Result<(), ShardError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, (info, payload));
        Ok(())
    }

    async fn get(&self, key: ShardKey, blocks: BlockRange) -> Result<Bytes, ShardError> {
        let shards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (info, payload) = shards.get(&key).ok_or(ShardError::NotFound)?;
        let range = blocks.bytes_in(info)?;
        Ok(payload.slice(range.start as usize..range.end as usize))
    }

    async fn delete(&self, _: Vec<ShardKey>) -> Result<(), ShardError> {
        Ok(())
    }

    async fn list(
        &self,
        _: Option<ShardKey>,
        _: u32,
    ) -> Result<Vec<(ShardKey, ShardInfo)>, ShardError> {
        Ok(Vec::new())
    }

    async fn findings(&self, _: Option<u64>, _: u32) -> Result<Vec<Finding>, ShardError> {
        Ok(Vec::new())
    }

    async fn stat(&self) -> Result<NodeStat, ShardError> {
        Ok(NodeStat::idle(NodeId::from_bytes([0; 16])))
    }
}

/// A node and a gateway that trust each other, as those of a cluster do.
pub(super) struct Parties {
    pub(super) node: NodeId,
    pub(super) node_tls: MutualTls,
    pub(super) gateway_tls: MutualTls,
}

pub(super) fn parties(dir: &Path) -> anyhow::Result<Parties> {
    let gateways = init::init_cluster(dir, &GatewayConfig::new(ANYWHERE), &[], &[ANYWHERE])?;
    let gateway = gateways.first().context("a cluster without a gateway")?;
    let map = load_cluster(&gateway.file("cluster.json"))?;
    let node = map.nodes.first().context("a cluster without nodes")?;
    Ok(Parties {
        node: node.id,
        node_tls: MutualTls::load(&dir.join(&node.name), "node")?,
        gateway_tls: MutualTls::load(gateway.path(), "gateway")?,
    })
}

/// Requests at a time.
const SHARDS_TOGETHER: u8 = 8;

pub(super) fn shards(effort: Effort, dir: &Path) -> anyhow::Result<Vec<Line>> {
    let Parties { node, node_tls, gateway_tls } = parties(dir)?;
    let (client, server) = runtimes()?;
    let (service, quic, tls_address) = {
        let _server = server.enter();
        let service = serve(Arc::new(Memory::default()), &node_tls, ANYWHERE)?;
        let quic = stream::listen(ANYWHERE, node_tls.server(wire::ALPN)?)?;
        let listener = server.block_on(TcpListener::bind(ANYWHERE))?;
        let address = listener.local_addr()?;
        tokio::spawn(stream::serve(quic.clone(), Bare::default()));
        tokio::spawn(tls::serve(listener, node_tls.server(wire::ALPN)?));
        (service, quic, address)
    };
    let remote = NodeClient::new(&gateway_tls)?.node(node, &service.local_addr().to_string());
    let config = gateway_tls.client(wire::ALPN)?;
    let (connection, mut bare) = client.block_on(async {
        let quic = stream::connect(quic.local_addr()?, config.clone(), &node_name(node)).await?;
        let all = (0..SHARDS_TOGETHER)
            .map(|_| tls::connect(tls_address, config.clone(), node_name(node)));
        anyhow::Ok((quic, try_join_all(all).await?))
    })?;
    let bare = RefCell::new(&mut bare);
    let key =
        |index| ShardKey { blob: BlobId::from_bytes([1; 16]), chunk: 0, index, generation: 0 };
    let mut all = Vec::new();
    for (name, blocks) in [("64 KiB", 1u32), ("1 MiB", 16)] {
        let len = blocks * (MAX_SEGMENT + TAG_LEN);
        let info = ShardInfo { code: Code::DEFAULT, block_size: MAX_SEGMENT + TAG_LEN, len };
        let whole = BlockRange { first: 0, count: blocks };
        let payload = Content::random(1, u64::from(len)).bytes(0, u64::from(len));
        let put = || {
            let puts = (0..SHARDS_TOGETHER).map(|n| remote.put(key(n), info, payload.clone()));
            client.block_on(try_join_all(puts)).context("a shard can't be stored")
        };
        let get = || {
            let gets = (0..SHARDS_TOGETHER).map(|n| remote.get(key(n), whole));
            client.block_on(try_join_all(gets)).context("a shard can't be read")
        };
        let over_quic = |bytes: &Bytes, wanted: u32| {
            let all = (0..SHARDS_TOGETHER)
                .map(|_| stream::exchange(&connection, bytes.clone(), wanted.into()));
            client.block_on(try_join_all(all)).map(drop)
        };
        let over_tls = |bytes: &Bytes, wanted: u32| {
            let mut bare = bare.borrow_mut();
            let all = bare.iter_mut().map(|tls| tls::exchange(tls, bytes, wanted.into()));
            client.block_on(try_join_all(all)).map(drop)
        };
        put()?;
        ensure!(get()?.iter().all(|got| *got == payload), "a shard is not what was stored");
        let amount = usize::from(SHARDS_TOGETHER) * len as usize;
        let none = Bytes::new();
        let mut turns = Turns::new(effort);
        let putting = turns.add(amount, || put().map(drop));
        let sending = turns.add(amount, || over_tls(&payload, 0));
        let sending_quic = turns.add(amount, || over_quic(&payload, 0));
        let getting = turns.add(amount, || get().map(drop));
        let receiving = turns.add(amount, || over_tls(&none, len));
        let receiving_quic = turns.add(amount, || over_quic(&none, len));
        let taken = turns.take()?;
        all.extend(lines(&taken, &format!("put of {name} shards"), putting, (TLS, sending)));
        all.extend(lines(&taken, &format!("get of {name} shards"), getting, (TLS, receiving)));
        let bare = |what| format!("{TLS}, {what} {name}");
        all.extend(lines(&taken, &bare("to a server,"), sending, (QUIC, sending_quic)));
        all.extend(lines(&taken, &bare("from a server,"), receiving, (QUIC, receiving_quic)));
    }
    connection.close(0u32.into(), b"done");
    quic.close(0u32.into(), b"done");
    server.block_on(service.stop());
    server.shutdown_background();
    Ok(all)
}

/// Bytes of an object.
const OBJECT: u64 = 16 << 20;

pub(super) fn http3(effort: Effort, dir: &Path) -> anyhow::Result<Vec<Line>> {
    let (client, server) = runtimes()?;
    let cluster = server.block_on(Embedded::start(dir, EmbeddedOptions::default()))?;
    let tls = ServerTls::load(&dir.join("gateway.pem"), &dir.join("gateway.key"))?;
    let endpoint = {
        let _server = server.enter();
        quic_endpoint(UdpSocket::bind(ANYWHERE)?, &tls)?
    };
    let address = endpoint.local_addr()?;
    server.spawn(stream::serve(endpoint.clone(), Bare::default()));
    let target = Target::new(&TargetOptions {
        label: "gateway".into(),
        profile: ProfileOptions {
            config: Some(cluster.client_profile()),
            ..ProfileOptions::default()
        },
        keys: None,
        token: None,
        ca_file: None,
        insecure: false,
        http: Http::Three,
        connections: 1,
        region: None,
        hash_bodies: None,
        customer_key: None,
        bucket: "coffer-bench".into(),
    })?;
    let config = quic_config(&client_config(Some(&cluster.ca_file()))?)?;
    let connection = client.block_on(async {
        let socket = quic_socket(ANYWHERE)?;
        let connecting = socket.connect_with(config, address, &address.ip().to_string())?;
        anyhow::Ok(connecting.await?)
    })?;
    client.block_on(target.ensure_bucket())?;
    let content = Content::random(1, OBJECT);
    let body = content.bytes(0, OBJECT);
    let ask = |method, n: usize, body: &Bytes, reader: Reader| {
        let key = format!("object-{n}");
        let request = target.request(Ask { body: body.clone(), ..Ask::new(method, &key) });
        let target = &target;
        async move {
            let exchange = Exchange::run(target, request?, reader, 0).await;
            exchange.result.map_err(|failure| anyhow!("{key} over HTTP/3: {failure}"))
        }
    };
    let none = Bytes::new();
    let mut all = Vec::new();
    for together in [1, 4] {
        let put = || {
            let puts = (0..together).map(|n| ask(Method::PUT, n, &body, Reader::Discard(None)));
            client.block_on(try_join_all(puts)).map(drop)
        };
        let get = |reader: &dyn Fn() -> Reader| {
            let gets = (0..together).map(|n| ask(Method::GET, n, &none, reader()));
            client.block_on(try_join_all(gets)).map(drop)
        };
        let streams = |bytes: &Bytes, wanted: u64| {
            let all = (0..together).map(|_| stream::exchange(&connection, bytes.clone(), wanted));
            client.block_on(try_join_all(all)).map(drop)
        };
        put()?;
        get(&|| Reader::Verify(Check::new(content.clone(), 0, OBJECT)))?;
        let amount = together * usize::try_from(OBJECT)?;
        let mut turns = Turns::new(effort);
        let getting = turns.add(amount, || get(&|| Reader::Discard(Some(OBJECT))));
        let receiving = turns.add(amount, || streams(&none, OBJECT));
        let putting = turns.add(amount, put);
        let sending = turns.add(amount, || streams(&body, 0));
        let taken = turns.take()?;
        let part = |method| format!("HTTP/3 {method} of 16 MiB, {together} at a time");
        all.extend(lines(&taken, &part("GET"), getting, (QUIC, receiving)));
        all.extend(lines(&taken, &part("PUT"), putting, (QUIC, sending)));
    }
    client.block_on(target.close());
    connection.close(0u32.into(), b"done");
    endpoint.close(0u32.into(), b"done");
    server.block_on(cluster.stop());
    server.shutdown_background();
    Ok(all)
}
