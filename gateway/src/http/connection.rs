//! What is known of the connection that brought a request; put into the request's extensions.

use std::net::IpAddr;

/// A connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// The address of the other end.
    pub peer: IpAddr,
    /// The version of TLS, as policies write it: `1.2` or `1.3`.
    pub tls: &'static str,
}
