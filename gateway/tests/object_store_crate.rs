//! The `object_store` crate's own integration tests, over HTTP/2 and HTTP/3: its S3 client with
//! this project's connections under it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use coffer_client::{Client, Credentials, Http3, Profile, ProfileOptions};
use coffer_gateway::run::Embedded;
use http::StatusCode;
use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum, S3ConditionalPut, S3CopyIfNotExists};
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt, integration};

/// A cluster with clients of its own, one for each protocol.
struct Fixture {
    _dir: tempfile::TempDir,
    cluster: Embedded,
    clients: [Client; 2],
}

impl Fixture {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cluster = Embedded::start(dir.path(), Default::default()).await.unwrap();
        let config = Some(cluster.client_profile());
        let options = ProfileOptions { config, ..ProfileOptions::default() };
        let clients = [Http3::Never, Http3::Always].map(|http3| {
            let mut profile = Profile::load_with(&options, &|_| None).unwrap();
            profile.http3 = http3;
            Client::connect(profile).unwrap()
        });
        Self { _dir: dir, cluster, clients }
    }

    /// For each protocol, a store on a new bucket whose name begins with `name`, made as the crate
    /// makes them by default but for what `change` says.
    async fn stores(
        &self,
        name: &str,
        change: impl Fn(AmazonS3Builder) -> AmazonS3Builder,
    ) -> [AmazonS3; 2] {
        let [http2, http3] = &self.clients;
        let bucket = format!("{name}-h2");
        http2.create_bucket(&bucket).await.unwrap();
        let first = change(builder(http2, &bucket)).build().unwrap();
        let bucket = format!("{name}-h3");
        http3.create_bucket(&bucket).await.unwrap();
        [first, change(builder(http3, &bucket)).build().unwrap()]
    }
}

fn builder(client: &Client, bucket: &str) -> AmazonS3Builder {
    let profile = client.profile();
    let Credentials::AccessKey { id, secret, .. } = &profile.credentials else {
        panic!("the cluster's profile has no access key");
    };
    AmazonS3Builder::new()
        .with_endpoint(profile.endpoint.to_string())
        .with_region(&profile.region)
        .with_access_key_id(id)
        .with_secret_access_key(secret.expose())
        .with_bucket_name(bucket)
        .with_http_connector(client.transport().clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_and_listings() {
    let fixture = Fixture::start().await;
    for store in &fixture.stores("objects", |b| b).await {
        integration::put_get_delete_list(store).await;
        integration::list_with_offset_exclusivity(store).await;
        integration::get_opts(store).await;
        integration::list_uses_directories_correctly(store).await;
        integration::list_with_delimiter(store).await;
        integration::list_paginated(store, store).await;
        integration::rename_and_copy(store).await;
        integration::put_get_attributes(store).await;
    }
    fixture.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_by_parts() {
    let fixture = Fixture::start().await;
    for store in &fixture.stores("parts", |b| b).await {
        integration::stream_get(store).await;
        integration::multipart(store, store).await;
        integration::multipart_with_opts(store, store).await;
        integration::multipart_put_part_out_of_order(store, store).await;
        integration::multipart_race_condition(store, true).await;
        integration::multipart_out_of_order(store).await;
    }
    fixture.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conditional_writes_and_copies() {
    let fixture = Fixture::start().await;
    let conditional = |b: AmazonS3Builder| b.with_conditional_put(S3ConditionalPut::ETagMatch);
    for store in &fixture.stores("puts", conditional).await {
        integration::put_opts(store, true).await;
    }
    // The two ways to copy only once: parts whose completion is conditional, or one request.
    let by_parts = S3CopyIfNotExists::Multipart;
    let by_header = S3CopyIfNotExists::HeaderWithStatus(
        "if-none-match".into(),
        "*".into(),
        StatusCode::PRECONDITION_FAILED,
    );
    for (name, mode) in [("by-parts", by_parts), ("by-header", by_header)] {
        let stores = fixture.stores(name, |b| conditional(b).with_copy_if_not_exists(mode.clone()));
        for store in &stores.await {
            integration::copy_if_not_exists(store).await;
            integration::copy_rename_nonexistent_object(store).await;
        }
    }
    fixture.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_unsigned_and_with_checksums() {
    let fixture = Fixture::start().await;
    for store in &fixture.stores("unsigned", |b| b.with_unsigned_payload(true)).await {
        integration::put_get_delete_list(store).await;
    }
    for checksum in [Checksum::SHA256, Checksum::CRC64NVME] {
        let name = format!("{checksum:?}").to_lowercase();
        for store in &fixture.stores(&name, |b| b.with_checksum_algorithm(checksum)).await {
            integration::put_get_delete_list(store).await;
            integration::stream_get(store).await;
        }
    }
    fixture.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there() {
    let fixture = Fixture::start().await;
    let path = Path::from("nowhere");
    for store in &fixture.stores("empty", |b| b).await {
        let missing = integration::get_nonexistent_object(store, Some(path.clone())).await;
        assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
        store.delete(&path).await.unwrap();
    }
    for client in &fixture.clients {
        let store = builder(client, "nowhere").build().unwrap();
        let found = [
            store.get(&path).await.map(|_| ()),
            store.put(&path, "x".into()).await.map(|_| ()),
            store.delete(&path).await,
        ];
        for outcome in found {
            assert!(matches!(outcome, Err(Error::NotFound { .. })), "{outcome:?}");
        }
    }
    fixture.cluster.stop().await;
}
