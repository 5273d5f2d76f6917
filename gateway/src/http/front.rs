//! What all requests pass, whichever protocol brought them.

use super::admin;
use crate::auth::{Identity, Tokens};
use bytes::Bytes;
use coffer_core::random::{self, OsRandom};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use s3s::Body;
use s3s::service::S3Service;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const ALT_SVC: HeaderName = HeaderName::from_static("alt-svc");

/// S3, health and administration behind one door.
pub struct Front {
    s3: S3Service,
    tokens: Arc<Tokens>,
    requests: Arc<Semaphore>,
    alt_svc: Option<HeaderValue>,
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Front").field("free", &self.requests.available_permits()).finish()
    }
}

impl Front {
    /// A front before `s3` that verifies `tokens`, serves at most `max_requests` requests at a
    /// time, and tells clients that HTTP/3 is on `port`.
    pub fn new(s3: S3Service, tokens: Arc<Tokens>, max_requests: usize, port: u16) -> Self {
        let alt_svc = HeaderValue::from_str(&format!("h3=\":{port}\"; ma=86400")).ok();
        Self { s3, tokens, requests: Arc::new(Semaphore::new(max_requests)), alt_svc }
    }

    /// Answers a request. Never fails: what goes wrong is an answer too.
    pub async fn answer(&self, mut request: Request<Body>) -> Response<Body> {
        let started = Instant::now();
        let id = request_id();
        let method = request.method().clone();
        // The query is left out of the log: presigned URLs carry their signature there.
        let path = request.uri().path().to_owned();
        let version = request.version();
        let (mut response, who) = match self.requests.clone().try_acquire_owned() {
            Ok(permit) => {
                let (response, who) = self.route(&mut request, &id).await;
                (response.map(|body| Guarded::wrap(body, permit)), who)
            }
            Err(_) => {
                let message = "Too many requests at a time. Please reduce your request rate.";
                let mut busy = failure(StatusCode::SERVICE_UNAVAILABLE, "SlowDown", message, &id);
                busy.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
                (busy, None)
            }
        };
        if let Ok(value) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        if let Some(alt_svc) = self.alt_svc.as_ref().filter(|_| version != http::Version::HTTP_3) {
            response.headers_mut().insert(ALT_SVC, alt_svc.clone());
        }
        tracing::info!(
            target: "coffer::access",
            request = id, %method, path, ?version,
            status = response.status().as_u16(),
            who = who.as_deref().unwrap_or("-"),
            ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        );
        response
    }

    async fn route(
        &self,
        request: &mut Request<Body>,
        id: &str,
    ) -> (Response<Body>, Option<String>) {
        if request.method() == Method::GET
            && matches!(request.uri().path(), "/health/live" | "/health/ready")
        {
            return (Response::new(Body::from("ok\n".to_owned())), None);
        }
        let who = match self.bearer(request) {
            Ok(identity) => identity.map(|i| i.name().to_owned()),
            Err((status, code, message)) => return (failure(status, code, message, id), None),
        };
        let who = who.or_else(|| signer(request));
        let request = std::mem::take(request);
        match self.s3.call(request).await {
            Ok(response) => (response, who),
            Err(error) => {
                let error: Box<dyn std::error::Error + Send + Sync> = error.into();
                tracing::error!(request = id, %error, "request failed");
                let message = "We encountered an internal error. Please try again.";
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                (failure(status, "InternalError", message, id), who)
            }
        }
    }

    /// Verifies a bearer token and puts its identity into the request; `s3s` then sees a request
    /// without signature.
    fn bearer(
        &self,
        request: &mut Request<Body>,
    ) -> Result<Option<Arc<Identity>>, (StatusCode, &'static str, &'static str)> {
        use crate::auth::token::TokenError;
        let Some(value) = request.headers().get(AUTHORIZATION) else { return Ok(None) };
        let text = value.to_str().unwrap_or_default();
        let Some((scheme, token)) = text.split_once(' ') else { return Ok(None) };
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Ok(None);
        }
        match self.tokens.verify(token.trim(), SystemTime::now()) {
            Ok(identity) => {
                request.headers_mut().remove(AUTHORIZATION);
                request.extensions_mut().insert(identity.clone());
                Ok(Some(identity))
            }
            Err(TokenError::Expired) => {
                Err((StatusCode::BAD_REQUEST, "ExpiredToken", "The provided token has expired."))
            }
            Err(TokenError::Invalid) => {
                let message = "The provided token is malformed or otherwise invalid.";
                Err((StatusCode::BAD_REQUEST, "InvalidToken", message))
            }
        }
    }
}

/// The access key that a request claims to be signed with. For the log; nothing is decided by it.
fn signer(request: &Request<Body>) -> Option<String> {
    let header = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let credential = header.split("Credential=").nth(1)?;
    let key = credential.split('/').next()?;
    Some(key.chars().take(32).filter(|c| c.is_ascii_alphanumeric()).collect())
}

/// A failure in S3's form.
pub(super) fn failure(
    status: StatusCode,
    code: &str,
    message: &str,
    request_id: &str,
) -> Response<Body> {
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>{message}</Message><RequestId>{request_id}</RequestId></Error>"
    );
    let mut response = Response::new(Body::from(xml));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

fn request_id() -> String {
    // Only a name for the log: a failing generator must not fail the request.
    let bytes: [u8; 8] = random::array(&OsRandom).unwrap_or_default();
    hex::encode_upper(bytes)
}

/// A body that counts as a request being served until its last byte is gone.
struct Guarded {
    body: Body,
    _permit: OwnedSemaphorePermit,
}

impl Guarded {
    fn wrap(body: Body, permit: OwnedSemaphorePermit) -> Body {
        if body.is_end_stream() {
            return body;
        }
        let hint = body.size_hint();
        if hint.upper() == Some(0) {
            return body;
        }
        Body::http_body_unsync(Self { body, _permit: permit })
    }
}

impl HttpBody for Guarded {
    type Data = Bytes;
    type Error = s3s::StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, s3s::StdError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

pub use admin::{Names, TokenRoute};
