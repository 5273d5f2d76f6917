//! Cross-origin requests: preflights are answered here, by the rules of the bucket that they name;
//! other answers get the headers that let a page read them.

use super::failure::Failure;
use super::host::bucket_of;
use crate::catalog::CatalogHandle;
use coffer_core::bucket::cors::{CorsAnswer, CorsMethod};
use coffer_core::catalog::{CatalogError, Scope};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderName, HeaderValue, ORIGIN,
    VARY,
};
use http::{HeaderMap, Request, StatusCode};

const NO_ORIGIN: Failure = Failure(
    StatusCode::BAD_REQUEST,
    "BadRequest",
    "Insufficient information. Origin and Access-Control-Request-Method headers are needed.",
);
const FORBIDDEN: Failure = Failure(
    StatusCode::FORBIDDEN,
    "AccessForbidden",
    "CORSResponse: This CORS request is not allowed. No rule of the bucket matches its origin, \
     method and headers.",
);
const UNAVAILABLE: Failure = Failure(
    StatusCode::SERVICE_UNAVAILABLE,
    "ServiceUnavailable",
    "The bucket's CORS rules can't be read at the moment. Please try again.",
);

/// What a page may be told depends on these.
const DEPENDS_ON: HeaderValue = HeaderValue::from_static(
    "Origin, Access-Control-Request-Headers, Access-Control-Request-Method",
);

/// Answers by the rules in a catalog.
#[derive(Debug, Clone)]
pub struct CrossOrigin {
    catalog: CatalogHandle,
}

impl CrossOrigin {
    /// By the rules in this catalog.
    pub fn new(catalog: CatalogHandle) -> Self {
        Self { catalog }
    }

    /// The headers that answer a preflight. Buckets without rules, and names without a bucket, are
    /// answered alike.
    pub(super) async fn preflight<B>(&self, request: &Request<B>) -> Result<HeaderMap, Failure> {
        let origin = text(request, &ORIGIN).ok_or(NO_ORIGIN)?;
        let method = text(request, &ACCESS_CONTROL_REQUEST_METHOD).ok_or(NO_ORIGIN)?;
        let method: CorsMethod = method.parse().map_err(|_| FORBIDDEN)?;
        let headers = text(request, &ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
        let headers: Vec<&str> =
            headers.split(',').map(str::trim).filter(|h| !h.is_empty()).collect();
        let answer = self.ask(request, |rules| rules.preflight(origin, method, &headers)).await;
        answer.map_err(|_| UNAVAILABLE)?.as_ref().map(show).ok_or(FORBIDDEN)
    }

    /// The headers that go with the answer to a request itself: none if no rule fits. A browser
    /// that names another method means that one.
    pub(super) async fn actual<B>(&self, request: &Request<B>) -> HeaderMap {
        let Some(origin) = text(request, &ORIGIN) else { return HeaderMap::new() };
        let method = text(request, &ACCESS_CONTROL_REQUEST_METHOD);
        let method = method.unwrap_or(request.method().as_str()).parse::<CorsMethod>();
        let Ok(method) = method else { return HeaderMap::new() };
        // A catalog that can't be read fails the request itself.
        let answer = self.ask(request, |rules| rules.actual(origin, method)).await.ok().flatten();
        answer.as_ref().map(show).unwrap_or_default()
    }

    async fn ask<B>(
        &self,
        request: &Request<B>,
        question: impl Fn(&coffer_core::bucket::Cors) -> Option<CorsAnswer>,
    ) -> Result<Option<CorsAnswer>, CatalogError> {
        let Some(bucket) = bucket_of(request) else { return Ok(None) };
        match self.catalog.read(Scope::Bucket(&bucket), |c| c.bucket(&bucket)).await {
            Ok(record) => Ok(record.settings.cors.as_ref().and_then(question)),
            Err(CatalogError::NoSuchBucket) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn text<'a, B>(request: &'a Request<B>, name: &HeaderName) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok().filter(|v| !v.is_empty())
}

fn show(answer: &CorsAnswer) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let max_age = answer.max_age_s.map(|s| s.to_string());
    let credentials = answer.allow_credentials.then_some("true");
    for (name, value) in [
        (ACCESS_CONTROL_ALLOW_ORIGIN, Some(answer.allow_origin.as_str())),
        (ACCESS_CONTROL_ALLOW_METHODS, Some(answer.allow_methods.as_str())),
        (ACCESS_CONTROL_ALLOW_HEADERS, answer.allow_headers.as_deref()),
        (ACCESS_CONTROL_EXPOSE_HEADERS, answer.expose_headers.as_deref()),
        (ACCESS_CONTROL_MAX_AGE, max_age.as_deref()),
        (ACCESS_CONTROL_ALLOW_CREDENTIALS, credentials),
    ] {
        if let Some(value) = value.and_then(|v| HeaderValue::from_str(v).ok()) {
            headers.insert(name, value);
        }
    }
    headers.insert(VARY, DEPENDS_ON);
    headers
}
