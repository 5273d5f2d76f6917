//! QUIC between the processes of a cluster: mutual TLS, a stream for each request, a header before
//! each payload.
//!
//! All certificates are of the cluster's own authority. A certificate names its holder, and clients
//! insist on the name that they mean: nobody can pose as another. Servers insist on certificates
//! that are good for clients (extended key usage `clientAuth`), which gateways have and nodes do not.
//!
//! * [`tls`]: certificates and what is asked of them
//! * [`link`]: a client's connection to one server, made when it is needed and again when it is lost
//! * [`listen`]: a server's side of connections and streams
//! * [`header`]: headers of requests and answers

pub mod header;
pub mod link;
pub mod listen;
pub mod tls;

pub use header::HeaderError;
pub use link::{Dialer, Link, Unreachable};
pub use listen::{Answer, Broken, Service, serve};
pub use tls::{MutualTls, TlsError};

use std::sync::Arc;
use std::time::Duration;

/// How long a peer may be silent before the connection is given up. Short: it decides how soon a
/// dead node is noticed.
const IDLE: Duration = Duration::from_secs(3);
/// How often a sign of life is sent.
const KEEP_ALIVE: Duration = Duration::from_millis(900);
/// Requests at a time on one connection.
const MAX_STREAMS: u32 = 256;
/// Flow control windows, in bytes: room for several shards in flight.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 32 << 20;
/// The largest UDP payload that path MTU discovery tries. Quinn hands the kernel ten packets at a
/// time, and what exceeds 64 KiB is dropped: with larger ones, as jumbo frames carry, whole batches are
/// lost, which discovery takes for a path that carries nothing over 1,200 bytes.
pub const MAX_MTU: u16 = 6500;

fn transport() -> Arc<quinn::TransportConfig> {
    let mut transport = quinn::TransportConfig::default();
    let mut discovery = quinn::MtuDiscoveryConfig::default();
    discovery.upper_bound(MAX_MTU);
    transport
        .max_idle_timeout(IDLE.try_into().ok())
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_concurrent_bidi_streams(MAX_STREAMS.into())
        .max_concurrent_uni_streams(0u32.into())
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(u64::from(CONNECTION_WINDOW))
        .mtu_discovery_config(Some(discovery));
    Arc::new(transport)
}

fn endpoint_config() -> quinn::EndpointConfig {
    let mut config = quinn::EndpointConfig::default();
    // The constant is within the bounds that quinn checks.
    let _ = config.max_udp_payload_size(MAX_MTU);
    config
}
