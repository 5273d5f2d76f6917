//! GET over HTTP/1.1, with or without TLS, from any server: a connection for each request.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_RANGE, HOST, LOCATION, RANGE, USER_AGENT};
use http::uri::PathAndQuery;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::error::chain;
use crate::transport::client_config;

const AGENT: &str = concat!("coffer/", env!("CARGO_PKG_VERSION"));
/// How many times a server may send us elsewhere.
const REDIRECTS: usize = 5;

/// Why a request got no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpProblem {
    /// No connection came about.
    #[error("can't connect: {0}")]
    Connect(String),
    /// The connection ended too early.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// Nothing came for too long.
    #[error("no byte came within {0:?}")]
    Stalled(Duration),
    /// An answer that says no.
    #[error("the server answers {0}")]
    Status(StatusCode),
    /// A redirection that leads nowhere.
    #[error("the server sends us on to `{0}`, which leads nowhere")]
    Redirect(String),
}

/// Asks for what `address` has from byte `from` on; follows redirections. `limit` is for each step
/// up to the head of the answer.
pub(super) async fn get(
    address: &Uri,
    from: u64,
    limit: Duration,
) -> Result<Response<Incoming>, HttpProblem> {
    let mut address = address.clone();
    for _ in 0..=REDIRECTS {
        let answer = tokio::time::timeout(limit, ask(&address, from)).await;
        let answer = answer.unwrap_or(Err(HttpProblem::Stalled(limit)))?;
        if !answer.status().is_redirection() {
            return Ok(answer);
        }
        let to = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or_default();
        address = resolve(&address, to).ok_or_else(|| HttpProblem::Redirect(to.to_owned()))?;
    }
    Err(HttpProblem::Redirect(address.to_string()))
}

/// Whether a partial answer is the part that was asked for.
pub(super) fn starts_at(answer: &Response<Incoming>, from: u64) -> bool {
    let range = answer.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {from}-")))
}

/// Where a redirection leads: another address, or another path at the same server.
fn resolve(base: &Uri, to: &str) -> Option<Uri> {
    let target: Uri = to.parse().ok()?;
    match target.scheme_str() {
        Some("http" | "https") => Some(target),
        Some(_) => None,
        None if target.authority().is_some() => None,
        None => {
            let path = target.path_and_query().cloned();
            let mut parts = base.clone().into_parts();
            // What starts with two slashes names a host.
            let of_host = |path: &PathAndQuery| !path.as_str().starts_with("//");
            parts.path_and_query =
                path.filter(|path| path.as_str().starts_with('/') && of_host(path));
            parts.path_and_query.is_some().then(|| Uri::from_parts(parts).ok()).flatten()
        }
    }
}

async fn ask(address: &Uri, from: u64) -> Result<Response<Incoming>, HttpProblem> {
    let failed = |error: &dyn std::fmt::Display| HttpProblem::Connect(error.to_string());
    let authority = address.authority().ok_or_else(|| failed(&"the address has no host"))?;
    let secure = address.scheme_str() == Some("https");
    let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let host = authority.host().trim_matches(['[', ']']);
    let request = Request::get(address.path_and_query().map_or("/", PathAndQuery::as_str))
        .header(HOST, authority.as_str())
        .header(USER_AGENT, AGENT);
    let request = if from > 0 { request.header(RANGE, format!("bytes={from}-")) } else { request };
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| failed(&error))?;
    let tcp = TcpStream::connect((host, port)).await.map_err(|error| failed(&error))?;
    if !secure {
        return exchange(tcp, request).await;
    }
    let mut config = client_config(None).map_err(|error| failed(&error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(&error))?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
    exchange(stream.map_err(|error| failed(&error))?, request).await
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Empty<Bytes>>,
) -> Result<Response<Incoming>, HttpProblem> {
    // The innermost message says what happened.
    let broken = |error: hyper::Error| {
        HttpProblem::Broken(chain(&error).last().map_or_else(String::new, ToString::to_string))
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // It ends with the answer's body; what goes wrong shows there.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirections_lead_to_addresses_and_paths() {
        let base: Uri = "https://host:8/a/b?c".parse().unwrap();
        let to = |text| resolve(&base, text).map(|uri| uri.to_string());
        assert_eq!(to("http://other/x"), Some("http://other/x".to_owned()));
        assert_eq!(to("/x/y?z"), Some("https://host:8/x/y?z".to_owned()));
        for nowhere in ["", "ftp://other/x", "//other/x", "x/y"] {
            assert_eq!(to(nowhere), None, "{nowhere}");
        }
    }
}
