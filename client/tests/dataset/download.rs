//! Downloads of public files from servers that cut off, redirect, refuse and have other files.

use bytes::Bytes;
use coffer_client::Digest;
use coffer_client::dataset::download::{DownloadError, PublicFile, download};
use futures::StreamExt;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;

const SIZE: usize = 300_000;

fn content() -> Bytes {
    (0..SIZE).map(|i| (i % 249) as u8).collect::<Vec<_>>().into()
}

fn file() -> PublicFile {
    PublicFile { name: "data.gz".to_owned(), bytes: SIZE as u64, blake3: Digest::of(&content()) }
}

/// A server on this machine; what it answers follows from the folder in the address.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { address: listener.local_addr().unwrap(), seen: Arc::default() };
        let accepting = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = accepting.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let answer = server.answer(&request);
                        async move { Ok::<_, Infallible>(answer) }
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        server
    }

    fn mirror(&self, folder: &str) -> String {
        format!("http://{}/{folder}/", self.address)
    }

    /// Ranges that were asked for.
    fn seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    fn answer(
        &self,
        request: &Request<Incoming>,
    ) -> Response<UnsyncBoxBody<Bytes, std::io::Error>> {
        let range = request.headers().get("range").map_or("", |range| range.to_str().unwrap());
        self.seen.lock().unwrap().push(range.to_owned());
        let from = range.strip_prefix("bytes=").and_then(|r| r.strip_suffix('-'));
        let from: usize = from.map_or(0, |from| from.parse().unwrap());
        let path = request.uri().path();
        let folder = path.trim_start_matches('/').split('/').next().unwrap();
        let (mut data, mut from) = (content(), from);
        match folder {
            "gone" => return status(StatusCode::NOT_FOUND),
            "away" => {
                let mut answer = status(StatusCode::FOUND);
                answer.headers_mut().insert("location", "/good/data.gz".parse().unwrap());
                return answer;
            }
            "round" => {
                let mut answer = status(StatusCode::FOUND);
                answer.headers_mut().insert("location", "/round/data.gz".parse().unwrap());
                return answer;
            }
            "other" => data = vec![1; SIZE].into(),
            "long" => data = vec![1; SIZE + 1].into(),
            "whole" => from = 0,
            _ => {}
        }
        let length = data.len() - from;
        let mut frames = vec![Ok(Frame::data(data.slice(from..)))];
        if folder == "cut" {
            // A third of the file at a time, and the connection breaks.
            let end = (from + SIZE / 3 + 1).min(SIZE);
            frames = vec![Ok(Frame::data(data.slice(from..end)))];
            if end < SIZE {
                frames.push(Err(std::io::Error::other("cut")));
            }
        }
        let paced = futures::stream::iter(frames).then(|frame| async {
            if frame.is_err() {
                // What came before goes out first.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            frame
        });
        let body = StreamBody::new(paced).boxed_unsync();
        let answer = Response::builder().header("content-length", length);
        let answer = if from > 0 {
            let range = format!("bytes {from}-{}/{}", data.len() - 1, data.len());
            answer.status(StatusCode::PARTIAL_CONTENT).header("content-range", range)
        } else {
            answer
        };
        answer.body(body).unwrap()
    }
}

fn status(status: StatusCode) -> Response<UnsyncBoxBody<Bytes, std::io::Error>> {
    let nothing = StreamBody::new(futures::stream::empty()).boxed_unsync();
    Response::builder().status(status).body(nothing).unwrap()
}

async fn get(server: &Server, folders: &[&str], dir: &Path) -> Result<bool, DownloadError> {
    let mirrors: Vec<String> = folders.iter().map(|folder| server.mirror(folder)).collect();
    download(&file(), &mirrors, dir, |_| ()).await
}

fn is_there(dir: &Path) -> bool {
    let left: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect();
    left == ["data.gz"] && std::fs::read(dir.join("data.gz")).unwrap() == content()
}

#[tokio::test]
async fn the_first_mirror_that_has_it_gives_it() {
    let server = Server::start().await;
    for folders in
        [&["good"][..], &["gone", "good"], &["other", "good"], &["long", "away"], &["round", "cut"]]
    {
        let dir = tempfile::tempdir().unwrap();
        assert!(get(&server, folders, dir.path()).await.unwrap(), "{folders:?}");
        assert!(is_there(dir.path()), "{folders:?}");
        server.seen();
        assert!(!get(&server, folders, dir.path()).await.unwrap(), "it's there");
        assert_eq!(server.seen().len(), 0);
    }
}

#[tokio::test]
async fn what_was_cut_off_is_gone_on_with() {
    let server = Server::start().await;
    let dir = tempfile::tempdir().unwrap();
    get(&server, &["cut"], dir.path()).await.unwrap();
    assert!(is_there(dir.path()));
    assert_eq!(server.seen().len(), 3, "each attempt gets a third");

    // By a later process, also where the server knows no ranges.
    for (folder, range) in [("good", "bytes=1000-"), ("whole", "bytes=1000-")] {
        std::fs::remove_file(dir.path().join("data.gz")).unwrap();
        std::fs::write(dir.path().join("data.gz.part"), &content()[..1000]).unwrap();
        get(&server, &[folder], dir.path()).await.unwrap();
        assert!(is_there(dir.path()), "{folder}");
        assert_eq!(server.seen(), [range], "{folder}");
    }
    // What an earlier process left is of another file: found out by its hash, and begun anew.
    std::fs::remove_file(dir.path().join("data.gz")).unwrap();
    std::fs::write(dir.path().join("data.gz.part"), [9; 1000]).unwrap();
    get(&server, &["good", "good"], dir.path()).await.unwrap();
    assert!(is_there(dir.path()));
}

#[tokio::test]
async fn when_no_mirror_has_it_each_is_named_with_what_went_wrong() {
    let server = Server::start().await;
    let dir = tempfile::tempdir().unwrap();
    let error = get(&server, &["gone", "other", "round"], dir.path()).await.unwrap_err();
    let error = error.to_string();
    for part in
        ["/gone/data.gz: the server answers 404", "/other/data.gz: it has another file", "/round/"]
    {
        assert!(error.contains(part), "{error}");
    }
    assert!(!dir.path().join("data.gz").exists());
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mirrors = [format!("http://{nobody}")];
    let error = download(&file(), &mirrors, dir.path(), |_| ()).await.unwrap_err().to_string();
    assert!(error.contains("can't connect"), "{error}");
    let address = download(&file(), &["ftp://x".to_owned()], dir.path(), |_| ()).await;
    assert!(matches!(address, Err(DownloadError::Address(_))));
}

#[tokio::test]
async fn two_processes_do_not_write_the_same_file() {
    let server = Server::start().await;
    let dir = tempfile::tempdir().unwrap();
    let part = std::fs::File::create(dir.path().join("data.gz.part")).unwrap();
    part.lock().unwrap();
    let busy = get(&server, &["good"], dir.path()).await;
    assert!(matches!(busy, Err(DownloadError::Busy(_))));
    drop(part);
    get(&server, &["good"], dir.path()).await.unwrap();
}
