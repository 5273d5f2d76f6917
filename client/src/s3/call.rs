//! One S3 request of our own: address, signature, retries, and the answer's errors.

use super::error::{S3Code, S3Error};
use super::lines::Lines;
use crate::client::Client;
use crate::error::Error;
use crate::transport::TransportError;
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use object_store::client::{HttpRequest, HttpResponse};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// S3 leaves only the unreserved characters of RFC 3986 as they are.
const QUERY: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// In paths the slash stays as well.
const PATH: AsciiSet = QUERY.remove(b'/');
/// Answers of our own requests are documents; longer ones are not meant for us.
const ANSWER_LIMIT: usize = 16 * 1024 * 1024;

/// A request to be sent, as often as it takes.
#[derive(Debug)]
pub(crate) struct Call {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    headers: HeaderMap,
    body: Bytes,
    idempotent: bool,
}

/// A request's answer in full.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    request: String,
}

impl Call {
    /// A request to `/{bucket}/{key}`; either may be empty.
    pub(crate) fn new(method: Method, bucket: &str, key: &str) -> Self {
        let mut path = format!("/{bucket}");
        if !key.is_empty() {
            path.push('/');
            path.extend(utf8_percent_encode(key, &PATH));
        }
        // Everything S3 has but POST may be repeated without harm.
        let idempotent = method != Method::POST;
        let (query, headers) = (Vec::new(), HeaderMap::new());
        Self { method, path, query, headers, body: Bytes::new(), idempotent }
    }

    pub(crate) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// Adds a header whose value holds only visible ASCII.
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Result<Self, Error> {
        let value = HeaderValue::from_str(value).map_err(|e| Error::Request(e.to_string()))?;
        self.headers.insert(HeaderName::from_static(name), value);
        Ok(self)
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Declares a POST harmless to repeat.
    pub(crate) fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    fn request(&self, client: &Client) -> Result<HttpRequest, Error> {
        let invalid = |error: &dyn std::fmt::Display| Error::Request(error.to_string());
        let profile = client.profile();
        let mut uri = format!("{}{}", profile.endpoint, self.path);
        for (position, (name, value)) in self.query.iter().enumerate() {
            uri.push(if position == 0 { '?' } else { '&' });
            uri.push_str(name);
            uri.push('=');
            uri.extend(utf8_percent_encode(value, &QUERY));
        }
        let mut request = http::Request::builder()
            .method(&self.method)
            .uri(uri)
            .body(self.body.clone().into())
            .map_err(|error| invalid(&error))?;
        *request.headers_mut() = self.headers.clone();
        profile.credentials.authorize(&mut request, &profile.region, true)?;
        Ok(request)
    }

    /// Sends the request, again where that may help and can't do harm.
    pub(crate) async fn send(self, client: &Client) -> Result<Answer, Error> {
        let mut pauses = client.options().retry.pauses();
        loop {
            let result = self.attempt(client).await;
            let retry = match &result {
                Err(Error::Transport(error)) => error.may_retry(self.idempotent),
                Err(Error::S3(error)) => {
                    error.status >= 500 && error.code != S3Code::NotImplemented
                        || error.status == 429
                }
                _ => false,
            };
            match (retry, pauses.next()) {
                (true, Some(pause)) => tokio::time::sleep(pause).await,
                _ => return result,
            }
        }
    }

    /// Sends the request once. Its answer is read line by line, as it comes.
    pub(crate) async fn open(self, client: &Client) -> Result<Lines, Error> {
        let response = client.transport().send(self.request(client)?).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        if !status.is_success() {
            return Err(refusal(status, &headers, &self.read(response).await?).into());
        }
        Ok(Lines::new(format!("{} {}", self.method, self.path), response.into_body()))
    }

    async fn attempt(&self, client: &Client) -> Result<Answer, Error> {
        let response = client.transport().send(self.request(client)?).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = self.read(response).await?;
        if !status.is_success() {
            return Err(refusal(status, &headers, &body).into());
        }
        Ok(Answer { status, headers, body, request: format!("{} {}", self.method, self.path) })
    }

    async fn read(&self, response: HttpResponse) -> Result<Bytes, Error> {
        match http_body_util::Limited::new(response.into_body(), ANSWER_LIMIT).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) => match crate::error::find_in_chain::<TransportError>(&*error) {
                Some(transport) => Err(transport.clone().into()),
                None => Err(Error::Answer {
                    request: format!("{} {}", self.method, self.path),
                    reason: error.to_string(),
                }),
            },
        }
    }
}

fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> S3Error {
    let id = headers.get("x-amz-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    S3Error::from_answer(status.as_u16(), &String::from_utf8_lossy(body), id)
}

impl Answer {
    /// The body as text.
    pub(crate) fn text(&self) -> Result<&str, Error> {
        std::str::from_utf8(&self.body).map_err(|error| self.nonsense(error))
    }

    /// The body as an XML document. S3 can put an error into an answer that began with success.
    pub(crate) fn xml<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        let text = self.text()?;
        // Past the declaration, if there is one.
        let root = text.split_once("?>").map_or(text, |(_, root)| root).trim_start();
        if root.starts_with("<Error")
            && let Some(error) = S3Error::find_in_text(500, root)
        {
            return Err(error.into());
        }
        quick_xml::de::from_str(text).map_err(|error| self.nonsense(error))
    }

    /// A header's value, if it is there and readable.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The error for an answer that can't be understood.
    pub(crate) fn nonsense(&self, reason: impl ToString) -> Error {
        Error::Answer { request: self.request.clone(), reason: reason.to_string() }
    }
}
