//! Certificates of a cluster's processes, and what they ask of each other's.

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is wrong with a certificate or key.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", .path.display())]
pub struct TlsError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub why: String,
}

/// One party's certificate, key, and the authority that all parties share.
#[derive(Debug)]
pub struct MutualTls {
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    path: PathBuf,
}

impl MutualTls {
    /// Loads `ca.pem`, `NAME.pem` and `NAME.key` from a directory.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(dir: &Path, name: &str) -> Result<Self, TlsError> {
        let at = |file: String| dir.join(file);
        let failed = |path: &Path, why: String| TlsError { path: path.to_owned(), why };
        let certificates = |path: &Path| -> Result<Vec<CertificateDer<'static>>, TlsError> {
            CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect)
                .map_err(|e| failed(path, e.to_string()))
        };
        let ca_path = at("ca.pem".into());
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&ca_path)? {
            roots.add(certificate).map_err(|e| failed(&ca_path, e.to_string()))?;
        }
        let path = at(format!("{name}.pem"));
        let key_path = at(format!("{name}.key"));
        let key = PrivateKeyDer::from_pem_file(&key_path)
            .map_err(|e| failed(&key_path, e.to_string()))?;
        Ok(Self { roots: Arc::new(roots), chain: certificates(&path)?, key, path })
    }

    /// The configuration of a server of the protocol `alpn`: clients must show a certificate of the
    /// authority that is good for clients.
    ///
    /// # Errors
    /// [`TlsError`] when certificate and key do not fit.
    pub fn server(&self, alpn: &[u8]) -> Result<Arc<ServerConfig>, TlsError> {
        let provider = provider();
        let clients =
            WebPkiClientVerifier::builder_with_provider(self.roots.clone(), provider.clone())
                .build()
                .map_err(|e| self.failed(e))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| self.failed(e))?
            .with_client_cert_verifier(clients)
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(|e| self.failed(e))?;
        config.alpn_protocols = vec![alpn.to_vec()];
        Ok(Arc::new(config))
    }

    /// The configuration of a client of the protocol `alpn`.
    ///
    /// # Errors
    /// [`TlsError`] when certificate and key do not fit.
    pub fn client(&self, alpn: &[u8]) -> Result<Arc<ClientConfig>, TlsError> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| self.failed(e))?
            .with_root_certificates(self.roots.clone())
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())
            .map_err(|e| self.failed(e))?;
        config.alpn_protocols = vec![alpn.to_vec()];
        Ok(Arc::new(config))
    }

    fn failed(&self, error: impl std::fmt::Display) -> TlsError {
        TlsError { path: self.path.clone(), why: error.to_string() }
    }
}

/// What encrypts. AES with 128 bits comes first: it takes a third less work than with 256, and what
/// crosses is sealed already or is meant for a disk that sees it.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![
        aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
        aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
        aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(provider)
}
