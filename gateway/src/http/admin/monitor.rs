//! How the cluster is, and what has happened. For the cluster's administrators; any gateway answers,
//! and says which one it is.

use super::{administrator, answer};
use crate::auth::Identity;
use crate::catalog::raft::types::GatewayId;
use crate::monitor::Monitor;
use crate::monitor::events::Page;
use crate::monitor::metrics;
use crate::s3::errors::s3;
use http::{HeaderValue, Method};
use s3s::{Body, S3ErrorCode, S3Request, S3Response, S3Result};
use serde::Serialize;

/// The most events in one answer.
const MAX_EVENTS: usize = 1000;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum View {
    /// `/.coffer/v1/health`
    Health,
    /// `/.coffer/v1/events?since=ID`
    Events,
    /// `/.coffer/v1/metrics`
    Metrics,
}

#[derive(Debug, Serialize)]
struct Answer<'a> {
    gateway: GatewayId,
    gateway_name: &'a str,
    #[serde(flatten)]
    page: Page,
}

/// `GET` only.
pub(super) fn serve(
    monitor: &Monitor,
    caller: &Identity,
    view: View,
    request: &S3Request<Body>,
) -> S3Result<S3Response<Body>> {
    administrator(caller)?;
    if request.method != Method::GET {
        return Err(s3(S3ErrorCode::MethodNotAllowed, "This is shown by GET."));
    }
    match view {
        View::Health => {
            let early = || s3(S3ErrorCode::ServiceUnavailable, "The gateway has not looked yet.");
            answer(&monitor.report().ok_or_else(early)?)
        }
        View::Events => {
            let after = since(request.uri.query().unwrap_or_default())?;
            let (gateway, gateway_name) = monitor.gateway();
            let page = monitor.events().since(after, MAX_EVENTS);
            answer(&Answer { gateway, gateway_name, page })
        }
        View::Metrics => {
            let mut response = S3Response::new(Body::from(monitor.metrics()));
            let kind = HeaderValue::from_static(metrics::CONTENT_TYPE);
            response.headers.insert(http::header::CONTENT_TYPE, kind);
            Ok(response)
        }
    }
}

/// The number after which events are wanted; 0 if none is named.
fn since(query: &str) -> S3Result<u64> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let Some((_, number)) = pairs.find(|(name, _)| name == "since") else { return Ok(0) };
    let bad = |_| s3(S3ErrorCode::InvalidArgument, "since must be the number of an event.");
    number.parse().map_err(bad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_number_is_read_and_nonsense_refused(number: u64, noise: String) {
            prop_assert_eq!(since(&format!("x=1&since={number}")).unwrap(), number);
            prop_assert_eq!(since("").unwrap(), 0);
            let read = since(&format!("since={noise}"));
            prop_assert_eq!(read.is_ok(), form_urlencoded::parse(format!("since={noise}").as_bytes()).next().unwrap().1.parse::<u64>().is_ok());
        }
    }
}
