//! Why an operation failed, in kinds that can be counted.

use coffer_client::transport::TransportError;
use std::fmt;

/// A kind of failure.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// There was no connection, or it ended before the request was sent.
    Connect,
    /// The connection broke during the request.
    Broken,
    /// No byte moved for too long.
    Stalled,
    /// The server said no.
    Refused {
        /// HTTP status.
        status: u16,
        /// S3's error code, if there was one.
        code: String,
    },
    /// The content is not what was stored.
    Corrupt,
    /// The answer can't be understood.
    Answer,
    /// The request could not be made.
    Request,
}

impl Failure {
    /// Whether the same request may succeed a little later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Connect | Self::Broken | Self::Stalled => true,
            Self::Refused { status, .. } => *status == 429 || *status >= 500 && *status != 501,
            Self::Corrupt | Self::Answer | Self::Request => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("no connection"),
            Self::Broken => f.write_str("connection broke"),
            Self::Stalled => f.write_str("stalled"),
            Self::Refused { status, code } if code.is_empty() => status.fmt(f),
            Self::Refused { status, code } => write!(f, "{status} {code}"),
            Self::Corrupt => f.write_str("wrong content"),
            Self::Answer => f.write_str("unreadable answer"),
            Self::Request => f.write_str("request could not be made"),
        }
    }
}

impl From<&TransportError> for Failure {
    fn from(error: &TransportError) -> Self {
        match error {
            TransportError::Broken { .. } => Self::Broken,
            TransportError::Stalled { .. } => Self::Stalled,
            _ => Self::Connect,
        }
    }
}
