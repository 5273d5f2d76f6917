//! Whom to trust, and the TLS settings that follow.

use super::error::TransportError;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::path::Path;
use std::sync::Arc;

/// A TLS configuration that trusts the authorities in `ca_file` and no others, or the platform's
/// where no file is given. Application protocols are left for the caller to set.
///
/// # Errors
/// If no authority can be loaded.
pub fn client_config(ca_file: Option<&Path>) -> Result<ClientConfig, TransportError> {
    let roots = match ca_file {
        Some(path) => roots_from(path),
        None => platform_roots(),
    }?;
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_root_certificates(roots).with_no_client_auth())
        .map_err(|error| roots_error("the cryptography library", error))
}

fn roots_from(path: &Path) -> Result<RootCertStore, TransportError> {
    let place = path.display();
    let mut roots = RootCertStore::empty();
    for certificate in
        CertificateDer::pem_file_iter(path).map_err(|error| roots_error(place, error))?
    {
        let certificate = certificate.map_err(|error| roots_error(path.display(), error))?;
        roots.add(certificate).map_err(|error| roots_error(path.display(), error))?;
    }
    if roots.is_empty() {
        return Err(roots_error(path.display(), "it holds no PEM certificate"));
    }
    Ok(roots)
}

fn platform_roots() -> Result<RootCertStore, TransportError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Platforms carry certificates that rustls refuses; the others still serve.
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        let reason = found.errors.first().map_or("none found".to_owned(), ToString::to_string);
        return Err(roots_error("the platform's store", reason));
    }
    Ok(roots)
}

fn roots_error(place: impl ToString, reason: impl ToString) -> TransportError {
    TransportError::Roots { place: place.to_string(), reason: reason.to_string() }
}
