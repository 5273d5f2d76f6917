//! A front on a free port, and the same request over HTTP/1.1, HTTP/2 and HTTP/3.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bytes::{Buf, Bytes};
use coffer_core::access::{Grant, Verb};
use coffer_core::bucket::BucketSettings;
use coffer_core::catalog::Command;
use coffer_core::catalog::records::BucketRecord;
use coffer_core::erasure::Code;
use coffer_core::ids::{BucketName, NodeId, TokenId};
use coffer_core::placement::{ClusterMap, NodeEntry, NodeState};
use coffer_core::seal::Key;
use coffer_core::shard::ShardStore;
use coffer_gateway::auth::access::Access;
use coffer_gateway::auth::keys::{AccessKey, KeyRing, Secret};
use coffer_gateway::auth::token::Tokens;
use coffer_gateway::catalog::CatalogHandle;
use coffer_gateway::catalog::raft::types::GatewayId;
use coffer_gateway::engine::keys::MasterKey;
use coffer_gateway::engine::nodes::NodeSet;
use coffer_gateway::engine::repair::{RepairConfig, Repairer};
use coffer_gateway::engine::{Engine, EngineConfig};
use coffer_gateway::http::admin::{AdminRoute, Names};
use coffer_gateway::http::cors::CrossOrigin;
use coffer_gateway::http::forms::Forms;
use coffer_gateway::http::front::{Front, Limits};
use coffer_gateway::http::health::Health;
use coffer_gateway::http::tls::ServerTls;
use coffer_gateway::http::{Server, Sockets};
use coffer_gateway::monitor::{Monitor, MonitorConfig, Watched};
use coffer_gateway::setup::ca::Authority;
use coffer_gateway::setup::files;
use futures::future::poll_fn;
use futures::stream::TryStreamExt;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use s3s::dto::{
    GetObjectInput, GetObjectOutput, ListObjectsV2Input, ListObjectsV2Output, PutObjectInput,
    PutObjectOutput, StreamingBlob,
};
use s3s::service::S3ServiceBuilder;
use s3s::{Body, S3, S3Request, S3Response, S3Result};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// An S3 that knows three operations. Objects are as many bytes long as their names say.
struct Few;

#[async_trait::async_trait]
impl S3 for Few {
    async fn get_object(
        &self,
        req: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let len: usize = req.input.key.rsplit('/').next().unwrap().parse().unwrap_or(0);
        let body = Body::from(vec![b'x'; len]);
        Ok(S3Response::new(GetObjectOutput {
            content_length: Some(i64::try_from(len).unwrap()),
            body: Some(StreamingBlob::from(body)),
            ..GetObjectOutput::default()
        }))
    }

    async fn put_object(
        &self,
        req: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let mut body = req.input.body.unwrap();
        let mut len = 0;
        while let Some(bytes) = body.try_next().await.map_err(|_| s3s::s3_error!(IncompleteBody))? {
            len += bytes.len();
        }
        let mut response = S3Response::new(PutObjectOutput::default());
        response.headers.insert("x-received", len.into());
        Ok(response)
    }

    async fn list_objects_v2(
        &self,
        _: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        Ok(S3Response::new(ListObjectsV2Output::default()))
    }
}

/// A server with one key pair (`AKROOT`, `secret`) and a token key.
pub(crate) struct Fixture {
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) address: SocketAddr,
    pub(crate) dir: tempfile::TempDir,
    server: Option<Server>,
}

/// The ways to reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
    Http3,
}

pub(crate) const PROTOCOLS: [Protocol; 3] = [Protocol::Http1, Protocol::Http2, Protocol::Http3];

/// What came back, in full.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The S3 error code in the body, or nothing.
    pub(crate) fn code(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let inner = text.split("<Code>").nth(1).unwrap_or_default();
        inner.split("</Code>").next().unwrap_or_default().to_owned()
    }
}

/// A catalog in which there are the buckets `data` and `data2`.
async fn catalog(path: &Path) -> CatalogHandle {
    let catalog = CatalogHandle::open(path, &Key::from_bytes([7; 32])).await.unwrap();
    for bucket in ["data", "data2"] {
        let record = BucketRecord {
            created_ms: 0,
            wrapped_key: Vec::new(),
            code: Code::DEFAULT,
            owner: "root".into(),
            settings: BucketSettings::default(),
        };
        let bucket = BucketName::new(bucket).unwrap();
        catalog.submit(Command::CreateBucket { bucket, record }).await.unwrap();
    }
    catalog
}

/// A repairer that has nothing to do, since its one node is nowhere, and a monitor that does not look.
fn workers(catalog: &CatalogHandle) -> (Arc<Repairer>, Arc<Monitor>) {
    let node = NodeEntry {
        id: NodeId::from_bytes([1; 16]),
        name: "nowhere".into(),
        address: String::new(),
        domain: String::new(),
        weight: 1.0,
        state: NodeState::Active,
    };
    let doors = HashMap::<NodeId, Arc<dyn ShardStore>>::new();
    let nodes = NodeSet::new(ClusterMap { version: 1, nodes: vec![node] }, doors).unwrap();
    let engine = Engine::announcing(EngineConfig::default(), nodes, catalog.expected());
    let master = MasterKey::new(&Key::from_bytes([7; 32]));
    let config = RepairConfig::default();
    let repairer = Repairer::new(engine.clone(), catalog.clone(), master, config, || true, || 0);
    let watched = Watched {
        id: GatewayId(1),
        name: "gateway-1".into(),
        engine,
        catalog: catalog.clone(),
        repairer: repairer.clone(),
        journal: None,
    };
    (repairer, Monitor::new(watched, MonitorConfig::default(), || 0))
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        Self::start_with(Limits::default(), Health::new(|| Box::pin(async { None }))).await
    }

    pub(crate) async fn start_with(limits: Limits, health: Health) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let issued = Authority::load_or_create(dir.path())
            .unwrap()
            .gateway(&["localhost".to_owned(), "127.0.0.1".to_owned()])
            .unwrap();
        let (pem, key) = (dir.path().join("gateway.pem"), dir.path().join("gateway.key"));
        files::write(&pem, issued.certificate.as_bytes()).unwrap();
        files::write_secret(&key, issued.key.as_bytes()).unwrap();
        let keys = KeyRing::new(vec![AccessKey {
            access_key: "AKROOT".into(),
            secret_key: Secret::new("secret".into()),
            name: "root".into(),
            grants: vec![Grant::root()],
        }])
        .unwrap();
        let tokens = Arc::new(Tokens::from_hex(&Tokens::new_key()).unwrap());
        let catalog = catalog(&dir.path().join("catalog")).await;
        let mut service = S3ServiceBuilder::new(Few);
        service.set_auth(keys.clone());
        service.set_access(Access::new(keys.clone(), catalog.clone()));
        let (repairer, monitor) = workers(&catalog);
        let (route_tokens, route_keys) = (tokens.clone(), keys.clone());
        let route = AdminRoute::new(route_tokens, route_keys, catalog.clone(), repairer, monitor);
        service.set_route(route);
        service.set_validation(Names::default());
        let sockets = Sockets::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = sockets.address();
        let cross_origin = CrossOrigin::new(catalog);
        let (service, forms, port) = (service.build(), Forms::new(keys), address.port());
        let front = Front::new(service, tokens.clone(), health, cross_origin, forms, &limits, port);
        let tls = ServerTls::load(&pem, &key).unwrap();
        let server = Server::start(sockets, &tls, Arc::new(front)).unwrap();
        Self { tokens, address, dir, server: Some(server) }
    }

    pub(crate) async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
    }

    /// A token for some verbs in the bucket `data` under `mnist/`.
    pub(crate) fn token(&self, verbs: &[Verb], ttl: i64) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let grant = Grant {
            verbs: verbs.to_vec(),
            bucket: Some(BucketName::new("data").unwrap()),
            prefix: Some("mnist/".into()),
            owned: false,
        };
        let expires = now.checked_add_signed(ttl).unwrap();
        self.tokens.issue(TokenId::from_bytes([3; 16]), "tester", &[grant], expires).unwrap()
    }

    /// A token for everything.
    pub(crate) fn root_token(&self) -> String {
        let id = TokenId::from_bytes([4; 16]);
        self.tokens.issue(id, "root token", &[Grant::root()], u64::from(u32::MAX)).unwrap()
    }

    fn client_tls(&self, protocol: &[u8]) -> rustls::ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.dir.path().join("ca.pem")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        config
    }

    /// A TLS connection, for requests that no client would send.
    pub(crate) async fn raw(&self, alpn: &[u8]) -> TlsStream<TcpStream> {
        let tcp = TcpStream::connect(self.address).await.unwrap();
        let connector = TlsConnector::from(Arc::new(self.client_tls(alpn)));
        connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap()
    }

    /// Sends a request; `path` includes the query.
    pub(crate) async fn send(
        &self,
        protocol: Protocol,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut builder = Request::builder()
            .method(method)
            .uri(format!("https://localhost:{}{path}", self.address.port()));
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        if !body.is_empty() || method == "PUT" || method == "POST" {
            builder = builder.header("content-length", body.len());
        }
        let request = builder.body(()).unwrap();
        let body = Bytes::copy_from_slice(body);
        let exchange = async {
            match protocol {
                Protocol::Http1 => self.http1(request.map(|()| Full::new(body))).await,
                Protocol::Http2 => self.http2(request.map(|()| Full::new(body))).await,
                Protocol::Http3 => self.http3(request, body).await,
            }
        };
        let answer = tokio::time::timeout(Duration::from_secs(60), exchange).await;
        answer.unwrap_or_else(|_| panic!("{protocol:?} {method} {path} hangs"))
    }

    async fn http1(&self, mut request: Request<Full<Bytes>>) -> Answer {
        let io = TokioIo::new(self.raw(b"http/1.1").await);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        let host = request.uri().authority().unwrap().to_string();
        request.headers_mut().insert("host", host.parse().unwrap());
        let path = request.uri().path_and_query().unwrap().to_string();
        *request.uri_mut() = path.parse().unwrap();
        whole(sender.send_request(request).await.unwrap()).await
    }

    async fn http2(&self, request: Request<Full<Bytes>>) -> Answer {
        let io = TokioIo::new(self.raw(b"h2").await);
        let executor = TokioExecutor::new();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(executor, io).await.unwrap();
        tokio::spawn(connection);
        whole(sender.send_request(request).await.unwrap()).await
    }

    async fn http3(&self, request: Request<()>, body: Bytes) -> Answer {
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(self.client_tls(b"h3"));
        let mut endpoint =
            quinn::Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto.unwrap())));
        let connection = endpoint.connect(self.address, "localhost").unwrap().await.unwrap();
        let (mut driver, mut sender) =
            h3::client::new(h3_quinn::Connection::new(connection)).await.unwrap();
        let driving = tokio::spawn(async move { poll_fn(|cx| driver.poll_close(cx)).await });
        let mut stream = sender.send_request(request).await.unwrap();
        // The server may answer, and stop reading, before all is sent.
        if stream.send_data(body).await.is_ok() {
            stream.finish().await.ok();
        }
        let (parts, ()) = stream.recv_response().await.unwrap().into_parts();
        let mut body = Vec::new();
        while let Some(mut data) = stream.recv_data().await.unwrap() {
            body.extend_from_slice(&data.copy_to_bytes(data.remaining()));
        }
        driving.abort();
        Answer { status: parts.status, headers: parts.headers, body: body.into() }
    }
}

async fn whole(response: Response<hyper::body::Incoming>) -> Answer {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: parts.status, headers: parts.headers, body }
}
