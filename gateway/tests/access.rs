//! Whoever may not do something is told so in S3's words, and learns nothing else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use coffer_client::object_store::client::{HttpRequest, HttpRequestBody};
use coffer_client::{
    Client, ClientOptions, Credentials, Error, Http3, Profile, ProfileOptions, RetryPolicy, S3Code,
    S3Url, Secret, TokenRequest, Verb,
};
use coffer_gateway::run::{Embedded, EmbeddedOptions};
use std::time::Duration;

struct Fixture {
    _dir: tempfile::TempDir,
    cluster: Embedded,
}

impl Fixture {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cluster = Embedded::start(dir.path(), EmbeddedOptions::default()).await.unwrap();
        Self { _dir: dir, cluster }
    }

    fn profile(&self) -> Profile {
        let config = Some(self.cluster.client_profile());
        let options = ProfileOptions { config, ..ProfileOptions::default() };
        Profile::load_with(&options, &|_| None).unwrap()
    }

    fn root(&self) -> Client {
        self.with(|_| {})
    }

    fn with(&self, change: impl FnOnce(&mut Profile)) -> Client {
        let mut profile = self.profile();
        change(&mut profile);
        let retry = RetryPolicy::none();
        Client::with_options(profile, ClientOptions { retry, ..ClientOptions::default() }).unwrap()
    }

    fn bearer(&self, token: &str) -> Client {
        self.with(|p| p.credentials = Credentials::Token(Secret::new(token)))
    }

    async fn token(&self, verbs: &[Verb], ttl: u64) -> String {
        let request = TokenRequest {
            name: "test".into(),
            bucket: Some("data".into()),
            prefix: Some("mnist/".into()),
            verbs: verbs.to_vec(),
            ttl: Duration::from_secs(ttl),
        };
        self.root().create_token(&request).await.unwrap().token.expose().to_owned()
    }
}

fn code<T: std::fmt::Debug>(outcome: Result<T, Error>) -> S3Code {
    match outcome {
        Err(Error::S3(error)) => error.code,
        other => panic!("{other:?}"),
    }
}

async fn put(client: &Client, bucket: &str, key: &str) -> Result<(), String> {
    use coffer_client::object_store::{ObjectStoreExt, path::Path};
    let store = client.bucket(bucket).map_err(|e| e.to_string())?;
    store.put(&Path::from(key), "x".into()).await.map(|_| ()).map_err(|e| e.to_string())
}

fn url(text: &str) -> S3Url {
    text.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_tokens_get_the_right_codes_over_every_protocol() {
    let fixture = Fixture::new().await;
    let root = fixture.root();
    root.create_bucket("data").await.unwrap();
    root.create_bucket("other").await.unwrap();
    put(&root, "data", "mnist/0.tar").await.unwrap();
    put(&root, "data", "secret").await.unwrap();
    put(&root, "other", "mnist/0.tar").await.unwrap();

    let good = fixture.token(&[Verb::Read, Verb::List], 600).await;
    let expired = fixture.token(&[Verb::Read], 1).await;
    let mut forged = good.clone();
    let at = forged.len() / 2;
    let other = if &forged[at..=at] == "A" { "B" } else { "A" };
    forged.replace_range(at..=at, other);
    tokio::time::sleep(Duration::from_millis(2100)).await;

    for http3 in [Http3::Always, Http3::Never] {
        let as_key = |id: &str, secret: &str| {
            let secret = Secret::new(secret);
            let credentials = Credentials::AccessKey { id: id.into(), secret, session_token: None };
            fixture.with(|p| {
                p.credentials = credentials;
                p.http3 = http3;
            })
        };
        let key = fixture.cluster.root_key();
        let wrong_secret = as_key(&key.access_key, "wrong-secret");
        assert_eq!(code(wrong_secret.list_buckets().await), S3Code::SignatureDoesNotMatch);
        let unknown = as_key("NOBODY", "wrong-secret");
        assert_eq!(code(unknown.list_buckets().await), S3Code::InvalidAccessKeyId);
        let anonymous = fixture.with(|p| {
            p.credentials = Credentials::Anonymous;
            p.http3 = http3;
        });
        assert_eq!(code(anonymous.list_buckets().await), S3Code::AccessDenied);

        let bearer = |token: &str| {
            let token = Secret::new(token);
            fixture.with(|p| {
                p.credentials = Credentials::Token(token);
                p.http3 = http3;
            })
        };
        assert_eq!(code(bearer(&expired).list_buckets().await), S3Code::ExpiredToken);
        assert_eq!(code(bearer(&forged).list_buckets().await), S3Code::InvalidToken);
        assert_eq!(code(bearer("nonsense").list_buckets().await), S3Code::InvalidToken);

        let narrow = bearer(&good);
        assert!(narrow.head(&url("s3://data/mnist/0.tar")).await.is_ok());
        assert!(narrow.head(&url("s3://data/secret")).await.is_err());
        assert!(narrow.head(&url("s3://other/mnist/0.tar")).await.is_err());
        let seen = narrow.list_buckets().await.unwrap();
        assert_eq!(seen.iter().map(|b| b.name.as_str()).collect::<Vec<_>>(), ["data"]);
        assert_eq!(code(narrow.create_bucket("mine").await), S3Code::AccessDenied);
        assert_eq!(code(narrow.delete(&url("s3://data/mnist/0.tar")).await), S3Code::AccessDenied);
        let denied = put(&narrow, "data", "mnist/1.tar").await.unwrap_err();
        assert!(denied.contains("403") || denied.contains("AccessDenied"), "{denied}");
        // Copying needs the right to read the source as well as to write the target.
        let writer = bearer(&fixture.token(&[Verb::Write, Verb::Read], 600).await);
        let stolen = writer.copy(&url("s3://data/secret"), &url("s3://data/mnist/stolen")).await;
        assert_eq!(code(stolen), S3Code::AccessDenied);
        let copied = writer.copy(&url("s3://data/mnist/0.tar"), &url("s3://data/mnist/copy")).await;
        assert!(copied.is_ok());
        // Nobody hands on what they do not have: tokens can't make tokens.
        let request = TokenRequest {
            name: "greedy".into(),
            bucket: None,
            prefix: None,
            verbs: vec![Verb::Read],
            ttl: Duration::from_secs(60),
        };
        assert_eq!(code(writer.create_token(&request).await), S3Code::AccessDenied);
    }
    fixture.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_get_a_clear_answer_and_nothing_is_leaked() {
    let fixture = Fixture::new().await;
    fixture.root().create_bucket("data").await.unwrap();
    let endpoint = fixture.cluster.endpoint().to_owned();
    let secret = fixture.cluster.root_key().secret_key.as_str().to_owned();
    let id = fixture.cluster.root_key().access_key.clone();
    let signed = format!(
        "AWS4-HMAC-SHA256 Credential={id}/20200101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00"
    );
    let long_key = "k".repeat(1025);
    type Raw<'a> = (&'a str, String, Vec<(&'a str, String)>);
    let requests: Vec<Raw<'_>> = vec![
        ("GET", "/".into(), vec![("authorization", "AWS4-HMAC-SHA256 nonsense".into())]),
        ("GET", "/".into(), vec![("authorization", "Bearer".into())]),
        ("GET", "/".into(), vec![("authorization", "Bearer ".into())]),
        ("GET", "/".into(), vec![("authorization", signed)]),
        ("GET", "/data/x".into(), vec![("authorization", "Basic eDp5".into())]),
        ("PUT", format!("/data/{long_key}"), vec![]),
        ("GET", "/Not_A_Bucket/x".into(), vec![]),
        ("GET", "/data/%ff%fe".into(), vec![]),
        ("GET", "/data/a%00b".into(), vec![]),
        ("GET", "/data/../../etc/passwd".into(), vec![]),
        ("POST", "/.coffer/v1/tokens".into(), vec![]),
        ("GET", "/.coffer/v1/nothing".into(), vec![]),
        ("PATCH", "/data/x".into(), vec![]),
        ("GET", "/data?policy".into(), vec![]),
        ("PUT", "/data/x".into(), vec![("x-amz-content-sha256", "nonsense".into())]),
        ("GET", "/data?list-type=2&continuation-token=%21%21".into(), vec![]),
    ];
    for http3 in [Http3::Always, Http3::Never] {
        let client = fixture.with(|p| p.http3 = http3);
        for (method, path, headers) in &requests {
            let mut request =
                http::Request::builder().method(*method).uri(format!("{endpoint}{path}"));
            for (name, value) in headers {
                request = request.header(*name, value);
            }
            let request: HttpRequest = request.body(HttpRequestBody::empty()).unwrap();
            let response = client.transport().send(request).await.unwrap();
            let status = response.status();
            assert!(
                status.is_client_error() || status.as_u16() == 501,
                "{method} {path}: {status}"
            );
            let id = response.headers().get("x-amz-request-id").cloned();
            assert!(id.is_some(), "{method} {path} has no request id");
            let body = response.into_body().bytes().await.unwrap();
            let body = String::from_utf8_lossy(&body);
            assert!(body.contains("<Code>"), "{method} {path}: {body}");
            for leak in [secret.as_str(), "src/", "panicked", "StringToSign", "master"] {
                assert!(!body.contains(leak), "{method} {path} leaks {leak}: {body}");
            }
        }
    }
    let live = http::Request::get(format!("{endpoint}/health/live"));
    let live: HttpRequest = live.body(HttpRequestBody::empty()).unwrap();
    assert_eq!(fixture.root().transport().send(live).await.unwrap().status(), 200);
    let token = fixture.token(&[Verb::Read], 60).await;
    assert!(fixture.bearer(&token).head(&url("s3://data/mnist/none")).await.is_err());
    fixture.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_in_one_process_keeps_its_data_over_restarts() {
    use coffer_client::object_store::{ObjectStoreExt, path::Path};
    let dir = tempfile::tempdir().unwrap();
    let body = vec![42u8; 5_000_000];
    for round in 0..3 {
        let cluster = Embedded::start(dir.path(), EmbeddedOptions::default()).await.unwrap();
        let config = Some(cluster.client_profile());
        let options = ProfileOptions { config, ..ProfileOptions::default() };
        let client = Client::connect(Profile::load_with(&options, &|_| None).unwrap()).unwrap();
        if round == 0 {
            client.create_bucket("data").await.unwrap();
        }
        let store = client.bucket("data").unwrap();
        for earlier in 0..round {
            let got = store.get(&Path::from(format!("o{earlier}"))).await.unwrap();
            assert!(got.bytes().await.unwrap() == body, "round {round}, object {earlier}");
        }
        store.put(&Path::from(format!("o{round}")), body.clone().into()).await.unwrap();
        client.close().await;
        cluster.stop().await;
    }
}
