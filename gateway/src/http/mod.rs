//! S3 on the network: HTTPS (HTTP/1.1 and 2) over TCP and HTTP/3 over QUIC, on one port number.
//!
//! | module | what |
//! |---|---|
//! | [`tls`] | certificates and protocols |
//! | [`front`] | what all requests pass: request ids, tokens, limits |
//! | [`log`] | the access log |
//! | [`health`] | whether requests have a chance |
//! | [`admin`] | requests that are not S3: tokens, quotas |
//! | [`host`] | buckets that are named by the host |
//! | [`cors`] | which web pages may read the answers |
//! | [`connection`] | what is known of where a request comes from |
//! | [`forms`] | uploads from browsers' forms |
//! | `failure` | answers that are made without S3 |
//! | `sanity` | requests that two readers could understand differently are refused |
//! | `framing` | aws-chunked bodies are framed well, in small chunks |
//! | `document` | bodies that are read into memory are short, and what was promised |
//! | `body` | bodies that stall are given up, answers are counted |
//! | `linger` | what a client still sends when it has its answer is read for a while |
//! | `wording` | what the protocol library words otherwise than S3 |
//! | `tcp` | HTTP/1.1 and 2 |
//! | `h3` | HTTP/3 |
//! | `tasks` | stopping in order |

pub mod admin;
mod body;
pub mod connection;
pub mod cors;
pub(crate) mod document;
pub(crate) mod failure;
pub mod forms;
mod framing;
pub mod front;
mod h3;
pub mod health;
pub mod host;
mod linger;
pub mod log;
mod sanity;
mod tasks;
mod tcp;
pub mod tls;
mod wording;

pub use h3::{MAX_MTU, endpoint as quic_endpoint};

use front::Front;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tasks::Tasks;
use tls::ServerTls;

/// How often a free port number is looked for that is free for TCP and UDP.
const PORT_ATTEMPTS: usize = 16;
/// How long requests may take to end when the server stops.
const GRACE: Duration = Duration::from_secs(10);

/// The sockets of a server: bound, not yet serving.
#[derive(Debug)]
pub struct Sockets {
    tcp: std::net::TcpListener,
    udp: UdpSocket,
    address: SocketAddr,
}

impl Sockets {
    /// Binds TCP and UDP on the same port number; port 0 takes any that is free for both.
    ///
    /// # Errors
    /// When the address can't be bound.
    pub fn bind(listen: SocketAddr) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        for _ in 0..PORT_ATTEMPTS {
            let tcp = std::net::TcpListener::bind(listen)?;
            tcp.set_nonblocking(true)?;
            let address = tcp.local_addr()?;
            match UdpSocket::bind(address) {
                Ok(udp) => return Ok(Self { tcp, udp, address }),
                Err(error) if listen.port() == 0 => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// The address that is bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A server that is running. Dropped without [`Server::stop`], it goes on until the runtime ends.
#[derive(Debug)]
pub struct Server {
    tasks: Tasks,
}

impl Server {
    /// Serves `front` on both sockets. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// When a socket or the TLS configuration can't be used.
    pub fn start(sockets: Sockets, tls: &ServerTls, front: Arc<Front>) -> io::Result<Self> {
        let tasks = Tasks::default();
        let listener = tokio::net::TcpListener::from_std(sockets.tcp)?;
        let endpoint = h3::endpoint(sockets.udp, tls)?;
        let connections = tcp::Connections::new(front.clone(), tls, tasks.clone());
        tasks.spawn(connections.accept(listener));
        tasks.spawn(h3::accept(endpoint, front, tasks.clone()));
        Ok(Self { tasks })
    }

    /// Takes no more requests, lets those at hand end for a while, cuts off the rest, and closes.
    pub async fn stop(self) {
        self.tasks.finish(GRACE).await;
    }
}
