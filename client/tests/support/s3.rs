//! An S3 server in memory, small but exact where the client depends on it, that can be told to
//! fail. It speaks plain HTTP on this machine and checks no signatures.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::TcpListener;

/// How many keys a page of a listing has: few, so that tests see several pages.
const PAGE: usize = 3;

#[derive(Clone)]
pub(crate) struct Object {
    pub(crate) data: Bytes,
    pub(crate) etag: String,
    pub(crate) content_type: String,
}

pub(crate) struct Upload {
    content_type: String,
    parts: BTreeMap<u32, Bytes>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) buckets: BTreeSet<String>,
    pub(crate) objects: BTreeMap<(String, String), Object>,
    pub(crate) uploads: HashMap<String, Upload>,
    pub(crate) aborted: usize,
    pub(crate) requests: Vec<String>,
    /// Faults to answer with, for the next requests that start with the text ("PUT /b/k").
    pub(crate) faults: Vec<(String, u16, &'static str)>,
    /// Replaced after the first read of any object, as by another writer.
    pub(crate) replace_on_read: Option<Bytes>,
    count: u64,
}

#[derive(Clone)]
pub(crate) struct FakeS3 {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

type Answer = Response<Full<Bytes>>;

impl FakeS3 {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self { address, state: Arc::default() };
        let accepting = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = accepting.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| server.clone().serve(request));
                    let builder = Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        server
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn put(&self, bucket: &str, key: &str, data: impl Into<Bytes>) {
        let mut state = self.state();
        state.buckets.insert(bucket.to_owned());
        state.store(bucket, key, data.into(), "application/octet-stream");
    }

    pub(crate) fn get(&self, bucket: &str, key: &str) -> Option<Object> {
        self.state().objects.get(&(bucket.to_owned(), key.to_owned())).cloned()
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    async fn serve(self, request: Request<Incoming>) -> Result<Answer, Infallible> {
        let (parts, body) = request.into_parts();
        let Ok(body) = body.collect().await else {
            return Ok(error(StatusCode::BAD_REQUEST, "IncompleteBody"));
        };
        let mut state = self.state();
        Ok(state.answer(&parts.method, &parts.uri, &parts.headers, body.to_bytes()))
    }
}

impl State {
    fn store(&mut self, bucket: &str, key: &str, data: Bytes, content_type: &str) -> String {
        self.count += 1;
        let etag = format!("\"{}\"", self.count);
        let object = Object { data, etag: etag.clone(), content_type: content_type.to_owned() };
        self.objects.insert((bucket.to_owned(), key.to_owned()), object);
        etag
    }

    fn answer(&mut self, method: &Method, uri: &Uri, headers: &HeaderMap, body: Bytes) -> Answer {
        let line = format!("{method} {uri}");
        self.requests.push(line.clone());
        if let Some(at) = self.faults.iter().position(|(start, ..)| line.starts_with(start)) {
            let (_, status, code) = self.faults.remove(at);
            return error(StatusCode::from_u16(status).unwrap(), code);
        }
        let path = uri.path().trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let (bucket, key) = (bucket.to_owned(), decode(key));
        let query = query(uri);
        match (method.as_str(), key.is_empty()) {
            ("PUT", true) => {
                self.buckets.insert(bucket);
                ok("")
            }
            _ if !self.buckets.contains(&bucket) => error(StatusCode::NOT_FOUND, "NoSuchBucket"),
            ("HEAD", true) => ok(""),
            ("DELETE", true) if self.objects.keys().any(|(b, _)| *b == bucket) => {
                error(StatusCode::CONFLICT, "BucketNotEmpty")
            }
            ("DELETE", true) => {
                self.buckets.remove(&bucket);
                ok("")
            }
            ("GET", true) => self.list(&bucket, &query),
            ("POST", true) => self.delete_many(&bucket, &body),
            // What an administrative request is answered stands there like an object.
            ("POST", false) if bucket == ".coffer" => {
                self.read(&Method::GET, (bucket, key), headers)
            }
            ("POST", false) => self.post(&bucket, &key, &query, headers),
            ("PUT", false) => self.put(&bucket, &key, &query, headers, body),
            ("DELETE", false) => self.delete(bucket, key, &query),
            _ => self.read(method, (bucket, key), headers),
        }
    }

    fn list(&self, bucket: &str, query: &HashMap<String, String>) -> Answer {
        let prefix = query.get("prefix").map_or("", String::as_str);
        let after = query.get("continuation-token").map_or_else(String::new, |token| decode(token));
        let mut entries = BTreeMap::new();
        for ((_, key), object) in self.objects.iter().filter(|((b, _), _)| b == bucket) {
            let Some(rest) = key.strip_prefix(prefix) else { continue };
            match rest.find('/').filter(|_| query.contains_key("delimiter")) {
                Some(slash) => entries.insert(format!("{prefix}{}", &rest[..=slash]), None),
                None => entries.insert(key.clone(), Some(object)),
            };
        }
        let mut xml = "<ListBucketResult><EncodingType>url</EncodingType>".to_owned();
        let mut left = entries.into_iter().filter(|(key, _)| *key > after).peekable();
        let mut last = String::new();
        for (key, object) in left.by_ref().take(PAGE) {
            let shown = encode(&key);
            match object {
                None => {
                    write!(xml, "<CommonPrefixes><Prefix>{shown}</Prefix></CommonPrefixes>")
                        .unwrap();
                }
                Some(object) => write!(
                    xml,
                    "<Contents><Key>{shown}</Key><Size>{}</Size><ETag>{}</ETag></Contents>",
                    object.data.len(),
                    object.etag
                )
                .unwrap(),
            }
            last = key;
        }
        if left.peek().is_some() {
            write!(xml, "<NextContinuationToken>{}</NextContinuationToken>", encode(&last))
                .unwrap();
        }
        ok(xml + "</ListBucketResult>")
    }

    fn delete_many(&mut self, bucket: &str, body: &[u8]) -> Answer {
        let text = std::str::from_utf8(body).unwrap();
        for piece in text.split("<Key>").skip(1) {
            let key = piece.split("</Key>").next().unwrap().replace("&amp;", "&");
            self.objects.remove(&(bucket.to_owned(), key));
        }
        ok("<DeleteResult/>")
    }

    fn post(
        &mut self,
        bucket: &str,
        key: &str,
        query: &HashMap<String, String>,
        headers: &HeaderMap,
    ) -> Answer {
        if query.contains_key("uploads") {
            self.count += 1;
            let id = self.count.to_string();
            let content_type = content_type(headers).to_owned();
            self.uploads.insert(id.clone(), Upload { content_type, parts: BTreeMap::new() });
            return ok(format!(
                "<InitiateMultipartUploadResult><UploadId>{id}</UploadId>\
                 </InitiateMultipartUploadResult>"
            ));
        }
        let Some(upload) = query.get("uploadId").and_then(|id| self.uploads.remove(id)) else {
            return error(StatusCode::NOT_FOUND, "NoSuchUpload");
        };
        let data = upload.parts.into_values().collect::<Vec<_>>().concat();
        let etag = self.store(bucket, key, data.into(), &upload.content_type);
        ok(format!(
            "<CompleteMultipartUploadResult><ETag>{etag}</ETag></CompleteMultipartUploadResult>"
        ))
    }

    fn put(
        &mut self,
        bucket: &str,
        key: &str,
        query: &HashMap<String, String>,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Answer {
        let source = headers.get("x-amz-copy-source").map(|source| {
            let source = decode(source.to_str().unwrap().trim_start_matches('/'));
            let (from, key) = source.split_once('/').unwrap();
            self.objects.get(&(from.to_owned(), key.to_owned())).cloned()
        });
        if let Some(None) = source {
            return error(StatusCode::NOT_FOUND, "NoSuchKey");
        }
        let source = source.flatten();
        if let (Some(number), Some(id)) = (query.get("partNumber"), query.get("uploadId")) {
            let body = source.as_ref().map_or(body, |source| {
                let range = headers["x-amz-copy-source-range"].to_str().unwrap();
                let (start, end) = range.trim_start_matches("bytes=").split_once('-').unwrap();
                source.data.slice(start.parse::<usize>().unwrap()..=end.parse().unwrap())
            });
            let Some(upload) = self.uploads.get_mut(id) else {
                return error(StatusCode::NOT_FOUND, "NoSuchUpload");
            };
            upload.parts.insert(number.parse().unwrap(), body);
            let etag = format!("\"part-{number}\"");
            return with_etag(&etag, copied(&etag));
        }
        if let Some(source) = source {
            let etag = self.store(bucket, key, source.data, &source.content_type);
            return ok(copied(&etag));
        }
        let etag = self.store(bucket, key, body, content_type(headers));
        with_etag(&etag, String::new())
    }

    fn delete(&mut self, bucket: String, key: String, query: &HashMap<String, String>) -> Answer {
        match query.get("uploadId") {
            Some(id) => {
                self.aborted += usize::from(self.uploads.remove(id).is_some());
            }
            None => drop(self.objects.remove(&(bucket, key))),
        }
        ok("")
    }

    fn read(&mut self, method: &Method, name: (String, String), headers: &HeaderMap) -> Answer {
        let Some(object) = self.objects.get(&name).cloned() else {
            return error(StatusCode::NOT_FOUND, "NoSuchKey");
        };
        if headers.get("if-match").is_some_and(|wanted| *wanted != *object.etag) {
            return error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
        }
        let size = object.data.len();
        let range = headers.get("range").map(|range| {
            let (start, end) =
                range.to_str().unwrap().trim_start_matches("bytes=").split_once('-').unwrap();
            let end = end.parse().map_or(size, |end: usize| size.min(end + 1));
            start.parse::<usize>().unwrap()..end
        });
        if *method == Method::GET
            && let Some(data) = self.replace_on_read.take()
        {
            self.store(&name.0, &name.1, data, "");
        }
        let response = Response::builder()
            .header("etag", object.etag)
            .header("content-type", object.content_type)
            .header("last-modified", "Tue, 24 Nov 2026 08:22:43 GMT");
        let (status, response, data) = match range {
            Some(range) => {
                let shown = format!("bytes {}-{}/{size}", range.start, range.end - 1);
                let response = response.header("content-range", shown);
                (StatusCode::PARTIAL_CONTENT, response, object.data.slice(range))
            }
            None => (StatusCode::OK, response.header("content-length", size), object.data),
        };
        response.status(status).body(Full::new(data)).unwrap()
    }
}

fn ok(body: impl Into<Bytes>) -> Answer {
    Response::new(Full::new(body.into()))
}

fn copied(etag: &str) -> String {
    format!("<CopyResult><ETag>{etag}</ETag></CopyResult>")
}

fn with_etag(etag: &str, body: String) -> Answer {
    Response::builder().header("etag", etag).body(Full::new(body.into())).unwrap()
}

fn error(status: StatusCode, code: &str) -> Answer {
    let xml = format!(
        "<Error><Code>{code}</Code><Message>as told</Message><RequestId>r-1</RequestId></Error>"
    );
    Response::builder().status(status).body(Full::new(xml.into())).unwrap()
}

fn content_type(headers: &HeaderMap) -> &str {
    headers.get("content-type").map_or("", |value| value.to_str().unwrap())
}

fn query(uri: &Uri) -> HashMap<String, String> {
    let pairs = uri.query().unwrap_or("").split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name.to_owned(), decode(value))
        })
        .collect()
}

fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned()
}

fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
