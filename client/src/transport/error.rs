//! What can go wrong between the client and the gateway before there is an HTTP answer.

use crate::endpoint::Endpoint;
use object_store::client::{HttpError, HttpErrorKind};
use std::path::PathBuf;
use std::time::Duration;

/// How a request travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// HTTP/3 over QUIC, a UDP protocol.
    Http3,
    /// HTTP/2 or HTTP/1.1 over TCP.
    Tcp,
}

impl std::fmt::Display for Carrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Http3 => "HTTP/3 (UDP)",
            Self::Tcp => "TCP",
        })
    }
}

/// A request that got no HTTP answer, or whose answer broke off.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransportError {
    /// The file of trusted authorities is unusable, or the platform has none.
    #[error("cannot load the trusted certificates from {place}: {reason}")]
    Roots {
        /// The file or store.
        place: String,
        /// Why.
        reason: String,
    },
    /// The host's name has no address.
    #[error("cannot resolve the host name {host}: {reason}")]
    Resolve {
        /// The name.
        host: String,
        /// Why.
        reason: String,
    },
    /// No connection came about.
    #[error("cannot connect to {endpoint} over {carrier}: {reason}")]
    Connect {
        /// Where to.
        endpoint: Endpoint,
        /// How.
        carrier: Carrier,
        /// Why not.
        reason: String,
    },
    /// No connection came about in time.
    #[error("{endpoint} did not answer over {carrier} within {limit:?}")]
    ConnectTimeout {
        /// Where to.
        endpoint: Endpoint,
        /// How.
        carrier: Carrier,
        /// The limit.
        limit: Duration,
    },
    /// The server's certificate does not lead to a trusted authority, or is for another name.
    #[error("the certificate of {endpoint} is not trusted: {reason}")]
    Untrusted {
        /// The server.
        endpoint: Endpoint,
        /// Why.
        reason: String,
        /// The authorities that were trusted; the platform's if absent.
        ca_file: Option<PathBuf>,
    },
    /// The connection ended before the request was sent: nothing happened.
    #[error("the connection to {endpoint} ended before the request was sent: {reason}")]
    NotSent {
        /// The server.
        endpoint: Endpoint,
        /// Why.
        reason: String,
    },
    /// The connection broke while the request was under way: it may or may not have taken effect.
    #[error("the connection to {endpoint} broke during the request: {reason}")]
    Broken {
        /// The server.
        endpoint: Endpoint,
        /// Why.
        reason: String,
    },
    /// No byte moved for too long.
    #[error("the request to {endpoint} made no progress for {limit:?}")]
    Stalled {
        /// The server.
        endpoint: Endpoint,
        /// The limit.
        limit: Duration,
    },
    /// The request was for another server than the client's own.
    #[error("this client talks to {endpoint} only, not to {other}")]
    ForeignOrigin {
        /// The client's server.
        endpoint: Endpoint,
        /// Where the request was to go.
        other: String,
    },
}

impl TransportError {
    /// Whether it is certain that the server did not see the request.
    pub fn never_sent(&self) -> bool {
        !matches!(self, Self::Broken { .. } | Self::Stalled { .. })
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Untrusted { ca_file: None, .. } => Some(
                "if the gateway has its own authority, name its certificate: `ca_file` in the \
                 profile, or COFFER_CA_FILE (the gateway keeps it as ca.pem in its data directory)"
                    .to_owned(),
            ),
            Self::Untrusted { ca_file: Some(file), .. } => Some(format!(
                "only {} is trusted; check that it is this gateway's ca.pem and that the endpoint \
                 is a name in its certificate",
                file.display()
            )),
            Self::Roots { .. } => Some("check `ca_file` in the profile".to_owned()),
            Self::Resolve { .. } => Some("check `endpoint` in the profile".to_owned()),
            Self::Connect { carrier: Carrier::Tcp, .. } | Self::ConnectTimeout { .. } => {
                Some("check that the gateway runs and that `endpoint` is right".to_owned())
            }
            Self::Connect { carrier: Carrier::Http3, .. } => Some(
                "check that UDP passes to the gateway's port, or set http3 = \"auto\"".to_owned(),
            ),
            Self::NotSent { .. }
            | Self::Broken { .. }
            | Self::Stalled { .. }
            | Self::ForeignOrigin { .. } => None,
        }
    }

    /// How `object_store`'s retries must see the error.
    fn kind(&self) -> HttpErrorKind {
        match self {
            // Retried always: the server has not seen the request.
            Self::Connect { .. } | Self::ConnectTimeout { .. } => HttpErrorKind::Connect,
            Self::NotSent { .. } => HttpErrorKind::Request,
            // Retried if the request may be repeated.
            Self::Broken { .. } => HttpErrorKind::Interrupted,
            Self::Stalled { .. } => HttpErrorKind::Timeout,
            // Trying again changes nothing.
            Self::Roots { .. }
            | Self::Resolve { .. }
            | Self::Untrusted { .. }
            | Self::ForeignOrigin { .. } => HttpErrorKind::Unknown,
        }
    }

    /// Whether sending the request again may help and can't do harm.
    pub(crate) fn may_retry(&self, idempotent: bool) -> bool {
        match self.kind() {
            HttpErrorKind::Connect | HttpErrorKind::Request => true,
            HttpErrorKind::Interrupted | HttpErrorKind::Timeout => idempotent,
            _ => false,
        }
    }
}

impl From<TransportError> for HttpError {
    fn from(error: TransportError) -> Self {
        Self::new(error.kind(), error)
    }
}
