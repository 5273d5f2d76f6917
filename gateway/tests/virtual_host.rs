//! Buckets named by the host: over real TLS, by HTTP/1.1 and HTTP/2, signed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/signed.rs"]
mod signed;

use bytes::Bytes;
use coffer_client::object_store::aws::{AwsAuthorizer, AwsCredential};
use coffer_client::object_store::client::HttpRequest;
use coffer_client::{Credentials, Http3};
use coffer_gateway::run::{Embedded, EmbeddedOptions};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use signed::{Extras, Signed};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

struct Place {
    cluster: Embedded,
    signed: Signed,
    _dir: tempfile::TempDir,
}

impl Place {
    /// A cluster under the domain `s3.test`, with buckets `data` and `logs`.
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = "listen = \"127.0.0.1:0\"\ndomains = [\"s3.test\"]\n";
        std::fs::write(dir.path().join("gateway.toml"), config).unwrap();
        let cluster = Embedded::start(dir.path(), EmbeddedOptions::default()).await.unwrap();
        let signed = Signed::new(&cluster.client_profile(), Http3::Never);
        for bucket in ["/data", "/logs"] {
            assert_eq!(signed.must("PUT", bucket, Extras::default()).await.status, 200);
        }
        Self { cluster, signed, _dir: dir }
    }

    /// Sends a request to a host that resolves to us.
    async fn send(
        &self,
        alpn: &str,
        sign: bool,
        (method, host, path): (&str, &str, &str),
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> (StatusCode, HeaderMap, String) {
        let port = self.cluster.address().port();
        let mut request = Request::builder()
            .method(method)
            .uri(format!("https://{host}:{port}{path}"))
            .header("content-length", body.len());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request: HttpRequest = request.body(body.to_vec().into()).unwrap();
        let profile = self.signed.client().profile();
        if let (true, Credentials::AccessKey { id, secret, .. }) = (sign, &profile.credentials) {
            let secret_key = secret.expose().to_owned();
            let credential = AwsCredential { key_id: id.clone(), secret_key, token: None };
            let signer = AwsAuthorizer::new(&credential, "s3", &profile.region);
            signer.try_authorize(&mut request, None).unwrap();
        }
        let mut request = request.map(|_| Full::new(Bytes::copy_from_slice(body)));

        let mut roots = rustls::RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(self.cluster.ca_file()).unwrap();
        roots.add(ca).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let tcp = TcpStream::connect(self.cluster.address()).await.unwrap();
        // The certificate must name the host.
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let io = TlsConnector::from(Arc::new(tls)).connect(name, tcp).await.unwrap();
        let io = TokioIo::new(io);
        let response = if alpn == "h2" {
            let executor = TokioExecutor::new();
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(executor, io).await.unwrap();
            tokio::spawn(connection);
            request.headers_mut().remove("host");
            sender.send_request(request).await.unwrap()
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            request.headers_mut().insert("host", format!("{host}:{port}").parse().unwrap());
            *request.uri_mut() = path.parse().unwrap();
            sender.send_request(request).await.unwrap()
        };
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (parts.status, parts.headers, String::from_utf8_lossy(&body).into_owned())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_name_buckets_and_paths_name_keys() {
    let place = Place::start().await;
    for alpn in ["http/1.1", "h2"] {
        let send = |what, body| place.send(alpn, true, what, &[], body);
        // A key that is a bucket's name, and keys that are routes elsewhere.
        for key in ["/a/b", "/logs", "/health/live", "/.coffer/v1/tokens"] {
            let (status, _, text) = send(("PUT", "data.s3.test", key), key.as_bytes()).await;
            assert_eq!(status, 200, "{alpn} {key}: {text}");
            let (_, _, text) = send(("GET", "data.s3.test", key), b"").await;
            assert_eq!(text, key, "{alpn}");
            let path = format!("/data{key}");
            let what = ("GET", "s3.test", &*path);
            let (_, _, text) = place.send(alpn, true, what, &[], b"").await;
            assert_eq!(text, key, "path style under the domain itself, {alpn}");
            let same = place.signed.must("GET", &path, Extras::default()).await;
            assert_eq!(same.text(), key, "path style under an address, {alpn}");
        }
        let (_, _, text) = send(("GET", "data.s3.test", "/?list-type=2"), b"").await;
        assert!(text.contains("<Key>.coffer/v1/tokens</Key>"), "{alpn}: {text}");
        let (_, _, text) = send(("GET", "s3.test", "/"), b"").await;
        assert!(text.contains("<Name>data</Name>") && text.contains("<Name>logs"), "{text}");
        let (status, _, text) = send(("GET", "none.s3.test", "/a/b"), b"").await;
        assert!(status == 404 && text.contains("NoSuchBucket"), "{alpn}: {text}");
        let (status, ..) = send(("GET", "s3.test", "/health/live"), b"").await;
        assert_eq!(status, 200, "{alpn}");
    }
    place.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_s_rights_and_rules_are_those_of_its_host() {
    let place = Place::start().await;
    let policy = r#"{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::data/*"}}"#;
    let cors = "<CORSConfiguration><CORSRule><AllowedOrigin>https://page</AllowedOrigin>\
        <AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>";
    for (query, body) in [("policy", policy), ("cors", cors)] {
        let extras = Extras { query, body: body.as_bytes().to_vec(), ..Extras::default() };
        assert!(place.signed.must("PUT", "/data", extras).await.status.is_success(), "{query}");
    }
    for path in ["/data/k", "/logs/data/k", "/logs/k"] {
        assert_eq!(place.signed.must("PUT", path, Extras::default()).await.status, 200);
    }
    for alpn in ["http/1.1", "h2"] {
        let send = |what, headers| place.send(alpn, false, what, headers, b"");
        // What is public in one bucket is not where another's host is asked for the same path.
        for (host, path, expected) in [
            ("data.s3.test", "/k", 200),
            ("s3.test", "/data/k", 200),
            ("logs.s3.test", "/k", 403),
            ("logs.s3.test", "/data/k", 403),
        ] {
            let (status, _, text) = send(("GET", host, path), &[]).await;
            assert_eq!(status, expected, "{alpn} {host}{path}: {text}");
        }
        let from = [("origin", "https://page")];
        for (host, path, allowed) in
            [("data.s3.test", "/k", true), ("logs.s3.test", "/data/k", false)]
        {
            let (_, headers, _) = send(("GET", host, path), &from).await;
            let told = headers.contains_key("access-control-allow-origin");
            assert_eq!(told, allowed, "{alpn} {host}{path}");
        }
    }
    place.cluster.stop().await;
}
