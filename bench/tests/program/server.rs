//! A small S3 server in memory, over plain HTTP/1.1, that misbehaves on demand.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

/// What it does wrong.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// Each so many reads of an object are answered with 503.
    pub(crate) refuses_each: Option<u64>,
    /// Each so many have one byte flipped.
    pub(crate) flips_each: Option<u64>,
    /// Each so many lack their last byte, and say so.
    pub(crate) cuts_each: Option<u64>,
}

pub(crate) struct Server {
    pub(crate) endpoint: String,
    state: Arc<State>,
}

struct State {
    faults: Faults,
    objects: Mutex<BTreeMap<String, Bytes>>,
    reads: AtomicU64,
}

impl Server {
    pub(crate) async fn start(faults: Faults) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State { faults, objects: Mutex::default(), reads: AtomicU64::new(0) });
        let served = Arc::clone(&state);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let state = Arc::clone(&served);
                let service = service_fn(move |request| answer(Arc::clone(&state), request));
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        Self { endpoint, state }
    }

    /// The names of all objects.
    pub(crate) fn names(&self) -> Vec<String> {
        self.state.objects.lock().unwrap().keys().cloned().collect()
    }
}

type Answer = Response<Full<Bytes>>;

fn told(status: u16, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    answer
}

fn refused(status: u16, code: &str) -> Answer {
    told(status, format!("<Error><Code>{code}</Code><Message>x</Message></Error>"))
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let (head, body) = request.into_parts();
    assert!(head.headers[http::header::AUTHORIZATION].to_str().unwrap().starts_with("AWS4-HMAC"));
    let body = body.collect().await.unwrap().to_bytes();
    let (_, name) = head.uri.path()[1..].split_once('/').unwrap_or_default();
    let mut objects = state.objects.lock().unwrap();
    Ok(match head.method {
        Method::HEAD if name.is_empty() => told(200, ""),
        Method::PUT => {
            objects.insert(name.to_owned(), body);
            told(200, "")
        }
        Method::DELETE => {
            objects.remove(name);
            told(204, "")
        }
        Method::GET if name.is_empty() => {
            let query = head.uri.query().unwrap_or_default().replace("%2F", "/");
            let given = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name));
            let (prefix, after) = (given("prefix=").unwrap(), given("start-after="));
            let mut page = String::from("<ListBucketResult><IsTruncated>false</IsTruncated>");
            for (key, bytes) in objects.iter().filter(|(key, _)| {
                key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after)
            }) {
                let size = bytes.len();
                write!(page, "<Contents><Key>{key}</Key><Size>{size}</Size></Contents>").unwrap();
            }
            told(200, page + "</ListBucketResult>")
        }
        _ => read(&state, objects.get(name)),
    })
}

fn read(state: &State, object: Option<&Bytes>) -> Answer {
    let number = state.reads.fetch_add(1, Ordering::Relaxed) + 1;
    let due = |each: Option<u64>| each.is_some_and(|each| number.is_multiple_of(each));
    let Some(object) = object else { return refused(404, "NoSuchKey") };
    let mut bytes = object.to_vec();
    if due(state.faults.refuses_each) {
        return refused(503, "SlowDown");
    }
    if due(state.faults.flips_each) {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    }
    if due(state.faults.cuts_each) {
        bytes.pop();
    }
    told(200, bytes)
}
