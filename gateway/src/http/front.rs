//! What all requests pass, whichever protocol brought them.

use super::body::{Arriving, Fault, Leaving};
use super::cors::CrossOrigin;
use super::failure::Failure;
use super::forms::Forms;
use super::health::Health;
use super::host::{Domains, HostBucket};
use super::log::Record;
use super::{document, framing, sanity, wording};
use crate::auth::identity::{Authenticated, Identity};
use crate::auth::signed::{self, Flaw};
use crate::auth::token::{TokenError, Tokens};
use coffer_core::random::{self, OsRandom};
use http::header::{AUTHORIZATION, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode, Version};
use s3s::Body;
use s3s::service::S3Service;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::Semaphore;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const ALT_SVC: HeaderName = HeaderName::from_static("alt-svc");

/// Bounds that hold over all protocols.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Requests that are served at the same time; more are answered `SlowDown`.
    pub requests: usize,
    /// How long a client may pause while it sends a body.
    pub body_idle: Duration,
    /// How long a client may take to send a request's head; on HTTP/1.1, idle time before included.
    pub headers: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let (body_idle, headers) = (Duration::from_secs(60), Duration::from_secs(30));
        Self { requests: 1024, body_idle, headers }
    }
}

/// S3, health and administration behind one door.
#[derive(Debug)]
pub struct Front {
    s3: S3Service,
    tokens: Arc<Tokens>,
    health: Health,
    cross_origin: CrossOrigin,
    forms: Forms,
    domains: Domains,
    requests: Arc<Semaphore>,
    body_idle: Duration,
    pub(super) header_timeout: Duration,
    alt_svc: Option<HeaderValue>,
}

const SLOW_DOWN: Failure = Failure(
    StatusCode::SERVICE_UNAVAILABLE,
    "SlowDown",
    "Too many requests at a time. Please reduce your request rate.",
);
const EXPIRED: Failure =
    Failure(StatusCode::BAD_REQUEST, "ExpiredToken", "The provided token has expired.");
const INVALID: Failure = Failure(
    StatusCode::BAD_REQUEST,
    "InvalidToken",
    "The provided token is malformed or otherwise invalid.",
);
const OLD_SIGNATURE: Failure = Failure(
    StatusCode::BAD_REQUEST,
    "InvalidRequest",
    "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
);
const LONG_LIFE: Failure = Failure(
    StatusCode::BAD_REQUEST,
    "AuthorizationQueryParametersError",
    "X-Amz-Expires must be a number of seconds from 1 to a week: 604800.",
);
const PARAMETERS: Failure = Failure(
    StatusCode::BAD_REQUEST,
    "AuthorizationQueryParametersError",
    "Query-string authentication requires X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, \
     X-Amz-Date, X-Amz-SignedHeaders and X-Amz-Expires, each once.",
);
const HEADER_NOT_SIGNED: Failure = Failure(
    StatusCode::FORBIDDEN,
    "AccessDenied",
    "There were headers present in the request which were not signed.",
);
const INTERNAL: Failure = Failure(
    StatusCode::INTERNAL_SERVER_ERROR,
    "InternalError",
    "We encountered an internal error. Please try again.",
);

impl Front {
    /// A front before `s3` that verifies `tokens`, answers browsers by the rules of
    /// `cross_origin`, takes `forms`, and tells clients that HTTP/3 is on `port`.
    pub fn new(
        s3: S3Service,
        tokens: Arc<Tokens>,
        health: Health,
        cross_origin: CrossOrigin,
        forms: Forms,
        limits: &Limits,
        port: u16,
    ) -> Self {
        Self {
            s3,
            tokens,
            health,
            cross_origin,
            forms,
            domains: Domains::default(),
            requests: Arc::new(Semaphore::new(limits.requests)),
            body_idle: limits.body_idle,
            header_timeout: limits.headers,
            alt_svc: HeaderValue::from_str(&format!("h3=\":{port}\"; ma=86400")).ok(),
        }
    }

    /// Has hosts under these domains name buckets.
    #[must_use]
    pub fn with_domains(self, domains: Domains) -> Self {
        Self { domains, ..self }
    }

    /// Answers a request. Never fails: what goes wrong is an answer too.
    pub async fn answer(&self, mut request: Request<Body>) -> Response<Body> {
        let id = request_id();
        self.domains.note(&mut request);
        let mut record = Record::begin(id.clone(), &request);
        let (version, method) = (request.version(), request.method().clone());
        let caller = Authenticated::default();
        // Whoever asks whether we are well must hear it also when we are busy.
        let (mut response, permit) = match self.health(&request).await {
            Some(response) => (response, None),
            None => match self.requests.clone().try_acquire_owned() {
                Ok(permit) => (self.for_browsers(request, &id, &caller).await, Some(permit)),
                Err(_) => (busy(&id), None),
            },
        };
        let headers = response.headers_mut();
        if let Ok(value) = HeaderValue::from_str(&id) {
            headers.insert(REQUEST_ID, value);
        }
        if let Some(alt_svc) = self.alt_svc.as_ref().filter(|_| version != Version::HTTP_3) {
            headers.insert(ALT_SVC, alt_svc.clone());
        }
        record.answered(caller.name(), &response);
        // Errors come with a body, which no protocol allows here.
        let body_allowed = method != Method::HEAD;
        response.map(|body| {
            let body = if body_allowed { body } else { Body::empty() };
            Leaving::watch(body, record, permit)
        })
    }

    async fn health(&self, request: &Request<Body>) -> Option<Response<Body>> {
        let asks = matches!(*request.method(), Method::GET | Method::HEAD);
        // Under a bucket's host these are keys.
        if !asks || request.extensions().get::<HostBucket>().is_some() {
            return None;
        }
        let problem = match request.uri().path() {
            "/health/live" => None,
            "/health/ready" => self.health.problem().await,
            _ => return None,
        };
        let mut response = Response::default();
        if problem.is_some() {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        *response.body_mut() = Body::from(format!("{}\n", problem.unwrap_or("ok")));
        Some(response)
    }

    /// Answers preflights, and lets pages read what they may.
    async fn for_browsers(
        &self,
        request: Request<Body>,
        id: &str,
        caller: &Authenticated,
    ) -> Response<Body> {
        if *request.method() == Method::OPTIONS {
            let mut response = Response::default();
            match self.cross_origin.preflight(&request).await {
                Ok(headers) => *response.headers_mut() = headers,
                Err(failure) => response = failure.response(id),
            }
            return response;
        }
        let headers = self.cross_origin.actual(&request).await;
        let mut response = self.serve(request, id, caller).await;
        response.headers_mut().extend(headers);
        response
    }

    async fn serve(
        &self,
        request: Request<Body>,
        id: &str,
        caller: &Authenticated,
    ) -> Response<Body> {
        if has_old_signature(&request) {
            return OLD_SIGNATURE.response(id);
        }
        if let Some(failure) = sanity::problem(&request) {
            return failure.response(id);
        }
        match signed::flaw(&request) {
            None => {}
            Some(Flaw::HeaderNotSigned) => return HEADER_NOT_SIGNED.response(id),
            Some(Flaw::Expires) => return LONG_LIFE.response(id),
            Some(Flaw::Parameters) => return PARAMETERS.response(id),
        }
        let fault = Fault::default();
        let request = request.map(|b| Arriving::watch(b, self.body_idle, fault.clone()));
        let guarded = framing::guard(request, &fault).and_then(|r| document::guard(r, &fault));
        let mut request = match guarded {
            Ok(request) => request,
            Err(failure) => return failure.response(id),
        };
        match self.bearer(&mut request) {
            Ok(None) => {}
            Ok(Some(identity)) => caller.set(identity),
            Err(failure) => return failure.response(id),
        }
        request.extensions_mut().insert(caller.clone());
        let attributes = wording::asks_attributes(&request);
        let (request, form) = match Forms::boundary(&request) {
            None => (request, None),
            Some(boundary) => match self.forms.translate(request, &boundary).await {
                Ok((request, form)) => (request, Some(form)),
                Err(failure) => return fault.found().unwrap_or(failure).response(id),
            },
        };
        let outcome = self.s3.call(request).await;
        if let Some(failure) = fault.found() {
            return failure.response(id);
        }
        match outcome {
            Ok(response) => {
                let response = wording::name_request(response, id);
                match form {
                    Some(form) => form.answer(response, id),
                    None if attributes => wording::unquote_etag(response),
                    None => response,
                }
            }
            Err(error) => {
                let error: s3s::StdError = error.into();
                tracing::error!(request = id, %error, "request failed");
                INTERNAL.response(id)
            }
        }
    }

    /// Verifies a bearer token and puts its identity into the request; `s3s` then sees a request
    /// without signature.
    fn bearer(&self, request: &mut Request<Body>) -> Result<Option<Arc<Identity>>, Failure> {
        let Some(value) = request.headers().get(AUTHORIZATION) else { return Ok(None) };
        let text = value.to_str().unwrap_or_default();
        let Some((scheme, token)) = text.split_once(' ') else { return Ok(None) };
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Ok(None);
        }
        let identity =
            self.tokens.verify(token.trim(), SystemTime::now()).map_err(|error| match error {
                TokenError::Expired => EXPIRED,
                TokenError::Invalid => INVALID,
            })?;
        request.headers_mut().remove(AUTHORIZATION);
        request.extensions_mut().insert(identity.clone());
        Ok(Some(identity))
    }
}

/// Whether a request is signed with version 2, which `s3s` would accept: its signatures cover
/// neither host nor body and hold forever, so that whoever sees one may repeat the request.
fn has_old_signature(request: &Request<Body>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    let header = request.headers().get(AUTHORIZATION);
    header.is_some_and(|v| v.as_bytes().starts_with(b"AWS "))
        || form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "Signature")
}

fn busy(request_id: &str) -> Response<Body> {
    let mut response = SLOW_DOWN.response(request_id);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn request_id() -> Arc<str> {
    // Only a name for the log: a failing generator must not fail the request.
    let bytes: [u8; 8] = random::array(&OsRandom).unwrap_or_default();
    hex::encode_upper(bytes).into()
}
