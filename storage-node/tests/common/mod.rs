//! What several test programs need.

use coffer_core::ids::NodeId;
use coffer_node::rpc::MutualTls;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use std::path::Path;

pub(crate) const NODE: NodeId = NodeId::from_bytes([1; 16]);

/// Certificates of one authority for a gateway and nodes.
pub(crate) struct Pki {
    dir: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap();
        std::fs::write(dir.path().join("ca.pem"), ca.pem()).unwrap();
        let issuer = Issuer::new(params, key);
        let pki = Self { dir, issuer };
        pki.issue("gateway", "gateway", ExtendedKeyUsagePurpose::ClientAuth);
        pki.issue("node", &format!("node-{NODE}"), ExtendedKeyUsagePurpose::ServerAuth);
        pki
    }

    fn issue(&self, file: &str, name: &str, usage: ExtendedKeyUsagePurpose) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.dir.path().join(format!("{file}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.dir.path().join(format!("{file}.key")), key.serialize_pem()).unwrap();
    }

    #[allow(dead_code, reason = "not all of them need it")]
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn tls(&self, name: &str) -> MutualTls {
        MutualTls::load(self.dir.path(), name).unwrap()
    }
}
