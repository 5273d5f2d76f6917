//! Requests that mean harm, or that something on their way has mangled: each gets the error that
//! S3 has for it, nothing is stored, and the server goes on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support"]
mod support {
    pub(crate) mod processes;
    pub(crate) mod raw;
    pub(crate) mod signed;
    pub(crate) mod sigv4;
    pub(crate) mod wire;
}

mod documents;
mod framing;
mod heads;
mod memory;
mod names;
mod numbers;
mod signatures;
mod slow;

use coffer_client::Http3;
use coffer_gateway::run::{Embedded, EmbeddedOptions};
use support::raw::{Raw, Reply};
use support::signed::{Between, Extras, Signed};
use support::sigv4::{Head, Signer};

/// A cluster with one bucket, in which one object is.
struct World {
    _dir: tempfile::TempDir,
    cluster: Embedded,
    raw: Raw,
    signer: Signer,
    s3: Signed,
}

impl World {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cluster = Embedded::start(dir.path(), EmbeddedOptions::default()).await.unwrap();
        let s3 = Signed::new(&cluster.client_profile(), Http3::Never);
        assert_eq!(s3.must("PUT", "/data", Extras::default()).await.status, 200);
        let body = b"hello".to_vec();
        s3.must("PUT", "/data/o", Extras { body, ..Extras::default() }).await;
        let raw = Raw::new(cluster.address(), &cluster.ca_file());
        let signer = Signer::new(s3.client().profile());
        Self { _dir: dir, cluster, raw, signer, s3 }
    }

    /// Sends a signed request that gets one answer.
    async fn ask(&self, head: &Head, body: &[u8]) -> Reply {
        self.raw.ask(&self.signer.request(head, body)).await
    }

    /// As [`World::ask`], and compares status and error code.
    async fn expect(&self, what: &str, head: &Head, body: &[u8], status: u16, code: &str) {
        let reply = self.ask(head, body).await;
        let got = (reply.status, reply.code());
        assert_eq!(got, (status, code.to_owned()), "{what}: {}", reply.text());
    }

    /// The keys that are there.
    async fn keys(&self) -> Vec<String> {
        let list = Extras { query: "list-type=2&encoding-type=url", ..Extras::default() };
        let text = self.s3.must("GET", "/data", list).await.text();
        text.split("<Contents>").skip(1).map(|c| c.between("<Key>", "</Key>").to_owned()).collect()
    }

    /// After everything: only the object is there, as it was.
    async fn stop(self) {
        assert_eq!(self.keys().await, ["o"]);
        assert_eq!(self.s3.must("GET", "/data/o", Extras::default()).await.body, b"hello");
        self.cluster.stop().await;
    }
}
