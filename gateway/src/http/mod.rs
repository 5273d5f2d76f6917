//! S3 on the network: HTTPS (HTTP/1.1 and 2) over TCP and HTTP/3 over QUIC, on one port number.
//!
//! | module | what |
//! |---|---|
//! | [`tls`] | certificates and protocols |
//! | [`front`] | what all requests pass: request ids, tokens, limits, the access log |
//! | [`admin`] | requests that are not S3: issuing tokens |
//! | [`tcp`] | HTTP/1.1 and 2 |
//! | [`h3`] | HTTP/3 |

pub mod admin;
pub mod front;
pub mod h3;
pub mod tcp;
pub mod tls;

use front::Front;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tls::ServerTls;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

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

/// A server that is running.
#[derive(Debug)]
pub struct Server {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// Serves `front` on both sockets.
    ///
    /// # Errors
    /// When a socket or the TLS configuration can't be used.
    pub fn start(sockets: Sockets, tls: &ServerTls, front: Arc<Front>) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let listener = tokio::net::TcpListener::from_std(sockets.tcp)?;
        let connections = tcp::Connections::new(front.clone(), tls, stop.clone(), tasks.clone());
        tasks.spawn(connections.accept(listener));
        let endpoint = h3::endpoint(sockets.udp, tls)?;
        tasks.spawn(h3::accept(endpoint, front, stop.clone(), tasks.clone()));
        Ok(Self { stop, tasks })
    }

    /// Takes no more requests, lets those at hand end, then closes.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        // Whoever has not ended by then is cut off when the tasks are dropped with the runtime.
        let _ = tokio::time::timeout(GRACE, self.tasks.wait()).await;
    }
}
