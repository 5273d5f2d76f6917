//! A cluster and the people who use it.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::signed::Signed;
use coffer_client::{Credentials, Http3, Secret};
use coffer_gateway::run::{Embedded, EmbeddedOptions};
use std::fmt::Write;

/// Those who may own buckets, and those who may do nothing by themselves.
const OWNERS: [&str; 2] = ["ann", "eve"];
const OTHERS: [&str; 1] = ["bob"];

pub(crate) struct People {
    pub(crate) root: Signed,
    pub(crate) ann: Signed,
    pub(crate) eve: Signed,
    pub(crate) bob: Signed,
    pub(crate) nobody: Signed,
    pub(crate) cluster: Embedded,
    _dir: tempfile::TempDir,
}

/// The secret key of someone.
pub(crate) fn secret_of(name: &str) -> String {
    format!("the-secret-of-{name}")
}

impl People {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let start = || Embedded::start(dir.path(), EmbeddedOptions::default());
        start().await.unwrap().stop().await;
        let path = dir.path().join("gateway/keys.toml");
        let path = if path.exists() { path } else { dir.path().join("keys.toml") };
        let mut keys = std::fs::read_to_string(&path).unwrap();
        let owned = r#"{ verbs = ["read", "list", "write", "delete", "admin"], owned = true }"#;
        for (name, grants) in
            OWNERS.iter().map(|n| (n, owned)).chain(OTHERS.iter().map(|n| (n, "")))
        {
            let secret = secret_of(name);
            write!(
                keys,
                "\n[[key]]\naccess_key = \"{name}\"\nsecret_key = \"{secret}\"\nname = \"{name}\"\n\
                 grants = [{grants}]\n"
            )
            .unwrap();
        }
        std::fs::write(&path, keys).unwrap();
        let cluster = start().await.unwrap();
        let root = Signed::new(&cluster.client_profile(), Http3::Never);
        let key = |name: &str| {
            let secret = Secret::new(secret_of(name));
            let id = name.to_owned();
            root.speaking_for(Credentials::AccessKey { id, secret, session_token: None })
        };
        Self {
            ann: key("ann"),
            eve: key("eve"),
            bob: key("bob"),
            nobody: root.speaking_for(Credentials::Anonymous),
            root,
            cluster,
            _dir: dir,
        }
    }

    pub(crate) async fn stop(self) {
        self.cluster.stop().await;
    }
}
