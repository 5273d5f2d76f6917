//! Transfers: every size arrives whole, failures leave nothing behind, memory stays bounded.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

#[path = "support/s3.rs"]
mod s3;

use bytes::Bytes;
use coffer_client::object_store::GetOptions;
use coffer_client::transfer::ByteRange;
use coffer_client::{
    Client, ClientOptions, Credentials, Error, ErrorKind, Http3, Profile, RetryPolicy, S3Url,
    Secret, Transfer, TransferOptions,
};
use futures::TryStreamExt;
use s3::FakeS3;
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const MIB: usize = 1024 * 1024;
const PART: usize = 8 * MIB;

fn client(server: &FakeS3) -> Client {
    let profile = Profile {
        name: "test".to_owned(),
        endpoint: server.endpoint().parse().unwrap(),
        others: Vec::new(),
        region: "us-east-1".to_owned(),
        credentials: Credentials::AccessKey {
            id: "AK".to_owned(),
            secret: Secret::new("SK"),
            session_token: None,
        },
        ca_file: None,
        http3: Http3::Auto,
    };
    let retry =
        RetryPolicy { retries: 2, first_pause: Duration::from_millis(1), ..RetryPolicy::default() };
    Client::with_options(profile, ClientOptions { retry, ..ClientOptions::default() }).unwrap()
}

fn transfer(server: &FakeS3) -> Transfer {
    let part = PART as u64;
    let options = TransferOptions { part_bytes: part, memory_bytes: 4 * part, copy_bytes: part };
    Transfer::new(client(server), options)
}

fn url(text: &str) -> S3Url {
    text.parse().unwrap()
}

/// Bytes without a short period, so that parts that change places show.
fn data(length: usize) -> Bytes {
    (0..length).map(|at| ((at * 2_654_435_761) >> 13) as u8).collect()
}

async fn bucket() -> (FakeS3, tempfile::TempDir) {
    let server = FakeS3::start().await;
    server.state().buckets.insert("data".to_owned());
    (server, tempfile::tempdir().unwrap())
}

#[tokio::test]
async fn files_of_every_size_go_up_and_come_back() {
    let (server, folder) = bucket().await;
    let transfer = transfer(&server);
    let (source, back) = (folder.path().join("a.tar"), folder.path().join("back/a.tar"));
    for length in [0, 1, PART - 1, PART, PART + 1, 3 * PART, 5 * PART + 17] {
        let data = data(length);
        std::fs::write(&source, &data).unwrap();
        let up = transfer.upload_file(&source, &url("s3://data/k"), None).await.unwrap();
        assert_eq!(up.bytes, length as u64);
        let stored = server.get("data", "k").unwrap();
        assert!(stored.data == data, "{length} bytes went up otherwise");
        assert_eq!(up.etag, Some(stored.etag));

        let down = transfer.download_file(&url("s3://data/k"), &back).await.unwrap();
        assert_eq!(down.bytes, length as u64);
        assert!(std::fs::read(&back).unwrap() == data, "{length} bytes came back otherwise");
    }
    assert!(server.state().uploads.is_empty());
    assert_eq!(names(&folder.path().join("back")), ["a.tar"], "no temporary file is left");
}

#[tokio::test]
async fn streams_of_unknown_length_go_up_and_come_down_in_order() {
    let (server, _folder) = bucket().await;
    let transfer = transfer(&server);
    for length in [0, 5, 3 * PART + 5] {
        let data = data(length);
        let up =
            transfer.upload_stream(&data[..], &url("s3://data/k"), "text/plain").await.unwrap();
        assert_eq!(up.bytes, length as u64);
        assert_eq!(server.get("data", "k").unwrap().content_type, "text/plain");

        let mut out = Vec::new();
        transfer.download_stream(&url("s3://data/k"), None, &mut out).await.unwrap();
        assert!(out == data);
    }
    let (whole, mut out) = (data(3 * PART + 5), Vec::new());
    let range = ByteRange::From(PART as u64 - 1, Some(2 * PART as u64));
    transfer.download_stream(&url("s3://data/k"), Some(range), &mut out).await.unwrap();
    assert!(out == whole[PART - 1..=2 * PART]);
}

#[tokio::test]
async fn a_passing_fault_is_retried_and_a_lasting_one_aborts_the_upload() {
    let (server, folder) = bucket().await;
    let transfer = transfer(&server);
    let source = folder.path().join("a");
    let data = data(3 * PART);
    std::fs::write(&source, &data).unwrap();

    let part_2 = || "PUT /data/k?partNumber=2".to_owned();
    server.state().faults = vec![(part_2(), 503, "SlowDown")];
    transfer.upload_file(&source, &url("s3://data/k"), None).await.unwrap();
    assert!(server.get("data", "k").unwrap().data == data);

    server.state().faults = vec![(part_2(), 403, "AccessDenied")];
    let error = transfer.upload_file(&source, &url("s3://data/k2"), None).await;
    assert!(error.is_ok(), "the fault is for k, not for k2");
    let error = transfer.upload_file(&source, &url("s3://data/k"), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AccessDenied);
    let state = server.state();
    assert_eq!((state.aborted, state.uploads.len()), (1, 0));
}

#[tokio::test]
async fn cancelling_aborts_an_upload_whose_input_stands_still() {
    let (server, _folder) = bucket().await;
    let cancel = CancellationToken::new();
    let transfer = transfer(&server).with_cancellation(cancel.clone());
    let (mut writer, reader) = tokio::io::duplex(MIB);
    let upload = tokio::spawn(async move {
        transfer.upload_stream(reader, &url("s3://data/k"), "text/plain").await
    });
    tokio::io::AsyncWriteExt::write_all(&mut writer, &data(PART + 1)).await.unwrap();
    while server.state().uploads.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    cancel.cancel();
    assert!(matches!(upload.await.unwrap(), Err(Error::Cancelled)));
    let state = server.state();
    assert_eq!((state.aborted, state.uploads.len()), (1, 0));
    assert!(state.objects.is_empty());
}

#[tokio::test]
async fn an_object_replaced_meanwhile_is_noticed_and_the_file_left_as_it_was() {
    let (server, folder) = bucket().await;
    let file = folder.path().join("a");
    std::fs::write(&file, "before").unwrap();
    server.put("data", "k", data(4 * PART));
    server.state().replace_on_read = Some(data(4 * PART + 1));
    let error = transfer(&server).download_file(&url("s3://data/k"), &file).await.unwrap_err();
    assert!(matches!(error, Error::ObjectChanged(_)), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), b"before");
    assert_eq!(names(folder.path()), ["a"], "no temporary file is left");
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_read_is_not_uploaded() {
    let (server, folder) = bucket().await;
    let source = folder.path().join("a");
    std::fs::write(&source, data(3 * PART)).unwrap();
    // The first part is read, then the file is cut short before the others are.
    server.state().faults = vec![("POST /data/k?uploads".to_owned(), 503, "SlowDown")];
    let (path, watched) = (source.clone(), server.clone());
    let shorten = tokio::spawn(async move {
        while watched.state().requests.is_empty() {
            tokio::task::yield_now().await;
        }
        std::fs::write(path, "short").unwrap();
    });
    let error =
        transfer(&server).upload_file(&source, &url("s3://data/k"), None).await.unwrap_err();
    shorten.await.unwrap();
    assert!(matches!(error, Error::SourceChanged(_)), "{error}");
    let state = server.state();
    assert!(state.objects.is_empty() && state.uploads.is_empty());
}

#[tokio::test]
async fn listings_show_every_key_over_all_pages() {
    let (server, _folder) = bucket().await;
    let keys = ["a", "a//b", "b c/d+é", "b c/e", "f%20", "g&h", "i/", "j/k/l"];
    for key in keys {
        server.put("data", key, "x");
    }
    let client = client(&server);
    let listed: Vec<_> = client.list_objects(&url("s3://data")).try_collect().await.unwrap();
    let listed: Vec<_> = listed.into_iter().map(|object| object.key).collect();
    assert_eq!(listed, keys);

    let all: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
    assert!(client.delete_many("data", &all).await.unwrap().is_empty());
    assert!(server.state().objects.is_empty(), "keys that are no paths are deleted, too");
}

#[tokio::test]
async fn copies_keep_the_type_and_cross_buckets() {
    let (server, folder) = bucket().await;
    server.state().buckets.insert("other".to_owned());
    let source = folder.path().join("é + %.json");
    std::fs::write(&source, "{}").unwrap();
    let transfer = transfer(&server);
    let (from, to) = (url("s3://data/x/é + %.json"), url("s3://other/y"));
    transfer.upload_file(&source, &from, None).await.unwrap();
    transfer.copy(&from, &to).await.unwrap();
    let copy = server.get("other", "y").unwrap();
    assert_eq!((&copy.data[..], copy.content_type.as_str()), (&b"{}"[..], "application/json"));
    let error = transfer.copy(&url("s3://data/absent"), &to).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn large_objects_are_copied_in_parts_of_one_state() {
    let (server, _folder) = bucket().await;
    let (transfer, whole) = (transfer(&server), data(3 * PART + 5));
    server.put("data", "k", whole.clone());
    let done = transfer.copy(&url("s3://data/k"), &url("s3://data/copy")).await.unwrap();
    let copy = server.get("data", "copy").unwrap();
    assert!(copy.data == whole);
    assert_eq!(
        (copy.content_type.as_str(), done.etag),
        ("application/octet-stream", Some(copy.etag))
    );

    server.state().faults =
        vec![("PUT /data/copy?partNumber=3".to_owned(), 412, "PreconditionFailed")];
    let result = transfer.copy(&url("s3://data/k"), &url("s3://data/copy")).await;
    assert!(matches!(result, Err(Error::ObjectChanged(_))), "{result:?}");
    let state = server.state();
    assert_eq!((state.aborted, state.uploads.len()), (1, 0));
}

#[tokio::test]
async fn errors_tell_code_message_and_request() {
    let (server, _folder) = bucket().await;
    let client = client(&server);
    server.state().faults = vec![("GET /data?".to_owned(), 403, "AccessDenied")];
    let error = client.list_objects(&url("s3://data")).try_next_error().await;
    assert_eq!(error.to_string(), "AccessDenied: as told (request r-1)");
    assert_eq!(error.kind(), ErrorKind::AccessDenied);

    // The same through object_store.
    let store = client.bucket("data").unwrap();
    server.state().faults = vec![("GET /data/k".to_owned(), 403, "ExpiredToken")];
    let error = store.get_opts(&"k".into(), GetOptions::default()).await;
    let error = Error::from(error.unwrap_err());
    assert_eq!(error.to_string(), "ExpiredToken: as told (request r-1)");
    assert!(error.hint().unwrap().contains("coffer token create"));

    let gone = FakeS3::start().await;
    let unreachable = Profile {
        // A port that was free a moment ago and that nobody listens on.
        endpoint: format!("http://{}", free_address()).parse().unwrap(),
        others: Vec::new(),
        ..self::client(&gone).profile().clone()
    };
    let options = ClientOptions { retry: RetryPolicy::none(), ..ClientOptions::default() };
    let client = Client::with_options(unreachable, options).unwrap();
    let ours = client.list_buckets().await.unwrap_err();
    let head = GetOptions { head: true, ..GetOptions::default() };
    let store = client.bucket("data").unwrap();
    let theirs = Error::from(store.get_opts(&"k".into(), head).await.unwrap_err());
    for error in [ours, theirs] {
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.hint().unwrap().contains("gateway runs"), "{error}");
    }
}

fn free_address() -> std::net::SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

trait NextError {
    async fn try_next_error(self) -> Error;
}

impl<T, S: futures::Stream<Item = Result<T, Error>>> NextError for S {
    async fn try_next_error(self) -> Error {
        let mut stream = std::pin::pin!(self);
        loop {
            match stream.try_next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended without an error"),
                Err(error) => return error,
            }
        }
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
