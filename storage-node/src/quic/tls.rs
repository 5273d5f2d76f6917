//! Certificates of a cluster's processes, and what they ask of each other's.

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
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
    pub fn server(&self, alpn: &[u8]) -> Result<quinn::ServerConfig, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
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
        let crypto = QuicServerConfig::try_from(config).map_err(|e| self.failed(e))?;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(super::transport());
        Ok(config)
    }

    /// The configuration of a client of the protocol `alpn`.
    ///
    /// # Errors
    /// [`TlsError`] when certificate and key do not fit.
    pub fn client(&self, alpn: &[u8]) -> Result<quinn::ClientConfig, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| self.failed(e))?
            .with_root_certificates(self.roots.clone())
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())
            .map_err(|e| self.failed(e))?;
        config.alpn_protocols = vec![alpn.to_vec()];
        let crypto = QuicClientConfig::try_from(config).map_err(|e| self.failed(e))?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(super::transport());
        Ok(config)
    }

    fn failed(&self, error: impl std::fmt::Display) -> TlsError {
        TlsError { path: self.path.clone(), why: error.to_string() }
    }
}
