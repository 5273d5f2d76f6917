//! The cluster's certificate authority: one for the nodes, the gateways, and the clients' trust.

use super::files::{self, FileError};
use coffer_core::ids::NodeId;
use coffer_node::service::node_name;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use std::path::Path;
use time::{Duration, OffsetDateTime};

/// How long certificates of nodes and gateways are valid.
const LEAF_DAYS: i64 = 825;

/// An authority whose key is at hand.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, in PEM.
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: zeroize::Zeroizing<String>,
}

impl Authority {
    /// Loads the authority from `ca.pem` and `ca.key` in `dir`, or makes it. The key is only needed
    /// to issue certificates and may be kept elsewhere in between.
    ///
    /// # Errors
    /// [`FileError`]; also when there is a certificate without its key, since a new authority would
    /// not be trusted by those who trust the old one.
    pub fn load_or_create(dir: &Path) -> Result<Self, FileError> {
        let (pem_path, key_path) = (dir.join("ca.pem"), dir.join("ca.key"));
        let broken = |e: rcgen::Error| FileError::invalid(&key_path, e.to_string());
        if !key_path.exists() {
            if pem_path.exists() {
                let why = "it is missing, but a certificate is to be issued; bring it back";
                return Err(FileError::invalid(&key_path, why));
            }
            let key = KeyPair::generate().map_err(broken)?;
            files::write_secret(&key_path, key.serialize_pem().as_bytes())?;
        }
        let key = KeyPair::from_pem(&files::read_secret(&key_path)?).map_err(broken)?;
        if !pem_path.exists() {
            let certificate = authority_params().self_signed(&key).map_err(broken)?;
            files::write(&pem_path, certificate.pem().as_bytes())?;
        }
        let pem = files::read(&pem_path)?;
        let issuer = Issuer::from_ca_cert_pem(&pem, key)
            .map_err(|e| FileError::invalid(&pem_path, e.to_string()))?;
        Ok(Self { issuer, pem })
    }

    /// The authority's certificate, for everyone to trust.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for a storage node's shard service. It does not make its holder a client:
    /// whoever breaks into one node gets no say over the others.
    ///
    /// # Errors
    /// When the certificate library fails.
    pub fn node(&self, node: NodeId) -> Result<Issued, rcgen::Error> {
        let usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(vec![node_name(node)], &format!("coffer node {node}"), usages)
    }

    /// A certificate for a gateway: for its clients, by the host names given, and towards nodes.
    ///
    /// # Errors
    /// When a host name is not one, or the certificate library fails.
    pub fn gateway(&self, hosts: &[String]) -> Result<Issued, rcgen::Error> {
        let usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(hosts.to_vec(), "coffer gateway", usages)
    }

    fn issue(
        &self,
        names: Vec<String>,
        common_name: &str,
        usages: Vec<ExtendedKeyUsagePurpose>,
    ) -> Result<Issued, rcgen::Error> {
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages;
        params.use_authority_key_identifier_extension = true;
        let now = OffsetDateTime::now_utc();
        // Clocks of machines that just joined may lag a little.
        params.not_before = now - Duration::days(1);
        params.not_after = now + Duration::days(LEAF_DAYS);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued {
            certificate: certificate.pem(),
            key: zeroize::Zeroizing::new(key.serialize_pem()),
        })
    }
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "coffer cluster CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2045, 1, 1);
    params
}
