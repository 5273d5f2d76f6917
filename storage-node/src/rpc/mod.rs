//! Requests between the processes of a cluster: TCP with mutual TLS, one request at a time on a
//! connection, as many connections as there are requests at a time.
//!
//! ```text
//! client -> server   frame
//! server -> client   8 zero bytes, now and then while it works | frame
//!
//! frame = u32 LE header length | u32 LE payload length | header (postcard) | payload
//! ```
//!
//! The zeros are signs of life: a client that hears nothing for [`SILENCE`] takes the server for gone,
//! be it a machine without power or a process that stands still, which TCP alone would not tell. A
//! server that refuses a request answers before it has read all of it. A connection on which an
//! exchange has not ended as it should is closed, and so is one whose caller no longer waits: that is
//! how a server learns of it.
//!
//! All certificates are of the cluster's own authority. A certificate names its holder, and clients
//! insist on the name that they mean: nobody can pose as another. Servers insist on certificates
//! that are good for clients (extended key usage `clientAuth`), which gateways have and nodes do not.
//!
//! * [`tls`]: certificates and what is asked of them
//! * [`stream`]: a connection, and how its bytes are moved
//! * [`frame`]: what is said before headers and payloads
//! * [`link`]: a client's connections to one server, kept for the next requests
//! * [`call`]: a request and its answer, as the client sees them
//! * [`listen`]: a server's connections
//! * [`exchange`]: a request and its answer, as the server sees them

pub mod call;
pub mod exchange;
pub mod frame;
pub mod link;
pub mod listen;
pub mod stream;
pub mod tls;

pub use call::{CallError, Limits};
pub use exchange::{Broken, Exchange};
pub use frame::HeaderError;
pub use link::{Dialer, Link};
pub use listen::{Answer, Service, serve};
pub use stream::Stream;
pub use tls::{MutualTls, TlsError};

use std::time::Duration;

/// How long a server may be silent before a request is given up. Short: it decides how soon a dead
/// node is noticed.
pub const SILENCE: Duration = Duration::from_secs(3);
/// How often a server that works on a request says that it still does.
const SIGN_OF_LIFE: Duration = Duration::from_millis(900);
