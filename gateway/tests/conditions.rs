//! Conditional writes that race: exactly one wins, whatever kind of write it is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support {
    pub(crate) mod signed;
}

use coffer_client::Http3;
use coffer_gateway::run::{Embedded, EmbeddedOptions};
use futures::future::join_all;
use support::signed::{Answer, Extras, Signed};

/// Racers of each kind.
const RACERS: usize = 8;

/// How a write is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Put,
    /// The completion of a multipart upload.
    Complete,
    Copy,
    Delete,
}

struct Fixture {
    _dir: tempfile::TempDir,
    cluster: Embedded,
    s3: Signed,
}

impl Fixture {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cluster = Embedded::start(dir.path(), EmbeddedOptions::default()).await.unwrap();
        let s3 = Signed::new(&cluster.client_profile(), Http3::Never);
        assert_eq!(s3.must("PUT", "/data", Extras::default()).await.status, 200);
        Self { _dir: dir, cluster, s3 }
    }

    async fn put(&self, path: &str, body: &str, headers: &[(&'static str, String)]) -> Answer {
        let extras = Extras { headers: headers.to_vec(), body: body.into(), ..Extras::default() };
        self.s3.must("PUT", path, extras).await
    }

    async fn get(&self, path: &str) -> String {
        self.s3.must("GET", path, Extras::default()).await.text()
    }

    /// Prepares a write of `content` under a condition; awaited twice, it happens.
    async fn write<'a>(
        &'a self,
        kind: Kind,
        path: &'a str,
        content: String,
        condition: (&'static str, String),
    ) -> impl Future<Output = Answer> + use<'a> {
        let mut extras =
            Extras { headers: vec![condition], body: content.clone().into(), ..Extras::default() };
        let mut method = "PUT";
        let mut query = String::new();
        match kind {
            Kind::Put => {}
            Kind::Complete => {
                method = "POST";
                (query, extras.body) = self.s3.upload(path, content.into()).await.unwrap();
            }
            Kind::Copy => {
                let source = format!("/data/source-{content}");
                assert_eq!(self.put(&source, &content, &[]).await.status, 200);
                extras.headers.push(("x-amz-copy-source", source));
                extras.body.clear();
            }
            Kind::Delete => {
                method = "DELETE";
                extras.body.clear();
            }
        }
        async move { self.s3.must(method, path, Extras { query: &query, ..extras }).await }
    }

    /// Lets writes race; returns the content of each that won.
    async fn race(
        &self,
        path: &str,
        kinds: &[Kind],
        condition: (&'static str, String),
    ) -> Vec<(Kind, String)> {
        let racers = kinds.iter().flat_map(|kind| (0..RACERS).map(move |i| (*kind, i)));
        let mut writes = Vec::new();
        for (kind, i) in racers {
            let content = format!("{kind:?}-{i}");
            let write = self.write(kind, path, content.clone(), condition.clone()).await;
            writes.push(async move { (kind, content, write.await) });
        }
        let mut winners = Vec::new();
        for (kind, content, answer) in join_all(writes).await {
            match answer.status.as_u16() {
                200 | 204 => winners.push((kind, content)),
                412 => assert_eq!(answer.code(), "PreconditionFailed"),
                404 => assert_eq!(answer.code(), "NoSuchKey"),
                _ => panic!("{kind:?} {answer:?}"),
            }
        }
        winners
    }
}

const WRITES: [Kind; 3] = [Kind::Put, Kind::Complete, Kind::Copy];

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_create_an_object_exactly_one_succeeds() {
    let fixture = Fixture::start().await;
    let absent = || ("if-none-match", "*".to_owned());
    let alone = WRITES.map(|kind| vec![kind]);
    for (round, kinds) in alone.iter().map(Vec::as_slice).chain([&WRITES[..]]).enumerate() {
        let path = format!("/data/created-{round}");
        let winners = fixture.race(&path, kinds, absent()).await;
        assert_eq!(winners.len(), 1, "{kinds:?}: {winners:?}");
        assert_eq!(fixture.get(&path).await, winners[0].1, "{kinds:?}");
    }
    fixture.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_replace_a_state_exactly_one_succeeds() {
    let fixture = Fixture::start().await;
    let kinds = [Kind::Put, Kind::Complete, Kind::Copy, Kind::Delete];
    let alone = kinds.map(|kind| vec![kind]);
    for (round, kinds) in alone.iter().map(Vec::as_slice).chain([&kinds[..]]).enumerate() {
        let path = format!("/data/replaced-{round}");
        let etag = fixture.put(&path, "first", &[]).await.etag();
        let winners = fixture.race(&path, kinds, ("if-match", format!("\"{etag}\""))).await;
        let now = fixture.s3.must("GET", &path, Extras::default()).await;
        if now.code() == "NoSuchKey" {
            // One delete did it; those that found nothing any more say so too.
            assert!(winners.iter().all(|w| w.0 == Kind::Delete), "{kinds:?}: {winners:?}");
        } else {
            assert_eq!(winners.len(), 1, "{kinds:?}: {winners:?}");
            assert_eq!(now.text(), winners[0].1, "{kinds:?}");
        }
    }
    fixture.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counting_by_compare_and_swap_loses_nothing() {
    const EACH: usize = 5;
    let fixture = Fixture::start().await;
    fixture.put("/data/count", "0", &[]).await;
    let count = async || {
        for _ in 0..EACH {
            loop {
                let now = fixture.s3.must("GET", "/data/count", Extras::default()).await;
                let next = now.text().parse::<usize>().unwrap() + 1;
                let condition = ("if-match", format!("\"{}\"", now.etag()));
                if fixture.put("/data/count", &next.to_string(), &[condition]).await.status == 200 {
                    break;
                }
            }
        }
    };
    join_all((0..RACERS).map(|_| count())).await;
    assert_eq!(fixture.get("/data/count").await, (RACERS * EACH).to_string());
    fixture.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_that_can_not_hold_are_refused_and_nothing_is_written() {
    let fixture = Fixture::start().await;
    let table = [
        (vec![("if-match", "\"0123\""), ("if-none-match", "*")], 404, "NoSuchKey"),
        (vec![("if-match", "\"no end")], 400, "InvalidArgument"),
        (vec![("if-match", "*")], 404, "NoSuchKey"),
    ];
    fixture.put("/data/source", "source", &[]).await;
    for (headers, status, code) in table {
        for copy in [false, true] {
            let mut headers: Vec<(&str, String)> =
                headers.iter().map(|(n, v): &(&str, &str)| (*n, (*v).to_owned())).collect();
            if copy {
                headers.push(("x-amz-copy-source", "/data/source".to_owned()));
            }
            let body = if copy { "" } else { "body" };
            let answer = fixture.put("/data/target", body, &headers).await;
            let got = (answer.status.as_u16(), answer.code());
            assert_eq!(got, (status, code.to_owned()), "{headers:?}: {answer:?}");
            let target = fixture.s3.must("GET", "/data/target", Extras::default()).await;
            assert_eq!(target.code(), "NoSuchKey");
        }
    }
    fixture.cluster.stop().await;
}
