//! TLS for clients: the gateway's certificate, for HTTP/1.1, 2 and 3.

use crate::setup::files::{self, FileError};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite as suites};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;

/// The TLS configurations of a server.
#[derive(Debug, Clone)]
pub struct ServerTls {
    tcp: Arc<ServerConfig>,
    quic: Arc<ServerConfig>,
}

impl ServerTls {
    /// From a certificate and its key, both PEM files.
    ///
    /// # Errors
    /// [`FileError`] when a file can't be read, is exposed, or is not what it should be.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, FileError> {
        let text = files::read(certificate)?;
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(text.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|e| FileError::invalid(certificate, e.to_string()))?;
        let secret = files::read_secret(key)?;
        let private = PrivateKeyDer::from_pem_slice(secret.as_bytes())
            .map_err(|e| FileError::invalid(key, e.to_string()))?;
        let config = |protocols: &[&[u8]]| -> Result<Arc<ServerConfig>, FileError> {
            let mut config = ServerConfig::builder_with_provider(provider())
                .with_safe_default_protocol_versions()
                .map_err(|e| FileError::invalid(certificate, e.to_string()))?
                .with_no_client_auth()
                .with_single_cert(chain.clone(), private.clone_key())
                .map_err(|e| FileError::invalid(certificate, e.to_string()))?;
            config.ignore_client_order = true;
            config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
            Ok(Arc::new(config))
        };
        Ok(Self { tcp: config(&[b"h2", b"http/1.1"])?, quic: config(&[b"h3"])? })
    }

    pub(super) fn tcp(&self) -> Arc<ServerConfig> {
        self.tcp.clone()
    }

    pub(super) fn quic(&self) -> Arc<ServerConfig> {
        self.quic.clone()
    }
}

/// What encrypts, in the order of what is taken if the client can: AES with 128 bits before 256, which
/// takes a third more work and guards no better what crosses the wire once. What is stored has 256.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![
        suites::TLS13_AES_128_GCM_SHA256,
        suites::TLS13_AES_256_GCM_SHA384,
        suites::TLS13_CHACHA20_POLY1305_SHA256,
        suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        suites::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        suites::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        suites::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        suites::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        suites::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(provider)
}
