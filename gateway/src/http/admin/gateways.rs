//! The cluster's gateways: listing, adding and removing them.

use super::{administrator, answer, done, read_json};
use crate::auth::Identity;
use crate::catalog::CatalogHandle;
use crate::catalog::raft::members::{Member, MemberChange};
use crate::catalog::raft::types::{GatewayId, Peer};
use crate::s3::errors::{custom, s3, to_s3};
use coffer_core::catalog::CatalogError;
use http::{Method, StatusCode, Uri};
use s3s::{Body, S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a change is waited for; it goes on after that.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest name, address or URL, in bytes.
const MAX_TEXT: usize = 256;

/// A gateway that is to be added.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    name: String,
    peer: String,
    endpoint: String,
}

#[derive(Debug, Serialize)]
struct Gateways {
    gateways: Vec<Gateway>,
}

/// A gateway and how far it is.
#[derive(Debug, Serialize)]
struct Gateway {
    id: GatewayId,
    name: String,
    peer: String,
    endpoint: String,
    role: &'static str,
    /// Whether it answers this gateway.
    reachable: bool,
    term: Option<u64>,
    /// The last entry of the log that it has applied.
    applied: Option<u64>,
    /// Entries of the log that it lacks.
    lag: Option<u64>,
}

/// `GET`: all gateways.
pub(super) async fn list(
    catalog: &CatalogHandle,
    caller: &Identity,
    request: &S3Request<Body>,
) -> S3Result<S3Response<Body>> {
    administrator(caller)?;
    if request.method != Method::GET {
        return Err(s3(S3ErrorCode::MethodNotAllowed, "Gateways are listed by GET."));
    }
    let members = catalog.members().await;
    let gateways = members.into_iter().map(|member| describe(catalog, member));
    answer(&Gateways { gateways: futures::future::join_all(gateways).await })
}

async fn describe(catalog: &CatalogHandle, member: Member) -> Gateway {
    let Member { id, peer, role, lag, .. } = member;
    let status = catalog.status(id, &peer).await;
    Gateway {
        id,
        role: role.name(),
        reachable: status.is_ok(),
        term: status.as_ref().ok().map(|status| status.term),
        applied: status.ok().and_then(|status| status.applied),
        lag,
        name: peer.name,
        peer: peer.address,
        endpoint: peer.endpoint,
    }
}

/// `PUT` adds the gateway `id`, or says where it has moved; `DELETE` removes it.
pub(super) async fn change(
    catalog: &CatalogHandle,
    caller: &Identity,
    id: &str,
    request: S3Request<Body>,
) -> S3Result<S3Response<Body>> {
    administrator(caller)?;
    let id = id.parse().ok().filter(|id| *id > 0).map(GatewayId);
    let id = id.ok_or_else(|| invalid("Gateways are numbered from 1."))?;
    let is_member = catalog.members().await.iter().any(|member| member.id == id);
    let wanted = match request.method {
        Method::PUT => {
            let peer = read_json::<Wanted>(request.input).await?.checked()?;
            // Adding one that does not answer would only wait.
            catalog.status(id, &peer).await.map_err(|error| {
                let message = format!("{error}. Is it running, made from a gateway of this cluster, and is its id {id}?");
                s3(S3ErrorCode::ServiceUnavailable, message)
            })?;
            if is_member { MemberChange::Move(id, peer) } else { MemberChange::Add(id, peer) }
        }
        Method::DELETE if is_member => MemberChange::Remove(id),
        Method::DELETE => {
            let message = format!("There is no gateway {id}.");
            return Err(custom("NoSuchGateway", StatusCode::NOT_FOUND, &message));
        }
        _ => {
            let message = "A gateway is added by PUT and removed by DELETE.";
            return Err(s3(S3ErrorCode::MethodNotAllowed, message));
        }
    };
    tracing::info!(?wanted, by = caller.name(), "gateways change");
    // On its own, so that it goes on when the caller does not wait.
    let changing = tokio::spawn({
        let catalog = catalog.clone();
        async move { catalog.change_members(wanted).await }
    });
    match tokio::time::timeout(PATIENCE, changing).await {
        Ok(Ok(Ok(()))) => Ok(done(StatusCode::NO_CONTENT)),
        Ok(Ok(Err(error))) => Err(failed(error)),
        Ok(Err(_)) => Err(s3(S3ErrorCode::InternalError, "The change broke off.")),
        Err(_) => Ok(done(StatusCode::ACCEPTED)),
    }
}

/// What only an administrator sees may say more than S3's clients are told.
fn failed(error: CatalogError) -> S3Error {
    match error {
        CatalogError::Unavailable(why) | CatalogError::Stopped(why) => s3(
            S3ErrorCode::ServiceUnavailable,
            format!("It was not done, or not known to be: {why}."),
        ),
        other => to_s3(other),
    }
}

fn invalid(message: impl Into<String>) -> S3Error {
    s3(S3ErrorCode::InvalidArgument, message)
}

impl Wanted {
    fn checked(self) -> S3Result<Peer> {
        let Self { name, peer, endpoint } = self;
        let plain = |text: &str| {
            !text.is_empty() && text.len() <= MAX_TEXT && text.bytes().all(|b| b.is_ascii_graphic())
        };
        let port = peer.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if !plain(&name) {
            return Err(invalid("name must be printable ASCII without spaces."));
        }
        if !plain(&peer) || port.is_none_or(|port| port == 0) {
            return Err(invalid("peer must be HOST:PORT."));
        }
        let url = endpoint.parse::<Uri>().ok().filter(|url| url.host().is_some());
        if !plain(&endpoint) || url.is_none_or(|url| url.scheme_str() != Some("https")) {
            return Err(invalid("endpoint must be https://HOST:PORT."));
        }
        Ok(Peer { name, address: peer, endpoint })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wanted(name: &str, peer: &str, endpoint: &str) -> bool {
        let [name, peer, endpoint] = [name, peer, endpoint].map(str::to_owned);
        Wanted { name, peer, endpoint }.checked().is_ok()
    }

    #[test]
    fn a_gateway_has_a_name_and_two_addresses() {
        assert!(wanted("gateway-4", "10.0.0.4:9200", "https://10.0.0.4:9000"));
        assert!(wanted("g", "[::1]:1", "https://store.example"));
        for (name, peer, endpoint) in [
            ("", "h:1", "https://h"),
            ("a b", "h:1", "https://h"),
            ("g", "h", "https://h"),
            ("g", "h:0", "https://h"),
            ("g", "h:70000", "https://h"),
            ("g", "h:1", "http://h"),
            ("g", "h:1", "h:9000"),
        ] {
            assert!(!wanted(name, peer, endpoint), "{name} {peer} {endpoint}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_texts_never_panic(name: String, peer: String, endpoint: String) {
            wanted(&name, &peer, &endpoint);
        }
    }
}
