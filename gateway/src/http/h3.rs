//! HTTP/3 over QUIC.

use super::connection::Connection;
use super::front::Front;
use super::tasks::Tasks;
use super::tls::ServerTls;
use bytes::{Buf, Bytes};
use futures::stream::{self, StreamExt};
use h3::error::{Code, StreamError};
use h3::server::{RequestResolver, RequestStream};
use h3_quinn::{RecvStream, SendStream};
use http::Response;
use http::header::CONTENT_LENGTH;
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, StreamBody};
use quinn::crypto::rustls::QuicServerConfig;
use s3s::Body;
use socket2::SockRef;
use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::TaskTracker;

/// How long a peer may be silent before its connection is closed.
const IDLE: Duration = Duration::from_secs(30);
/// Connections at a time; more are refused. From a quarter on, clients must prove their address.
const MAX_CONNECTIONS: usize = 4096;
const VALIDATE_FROM: usize = MAX_CONNECTIONS / 4;
/// How long a client may leave what it is sent in our buffers.
const WRITE_STALL: Duration = Duration::from_secs(60);
/// How long a connection stays open after its last answer when the server stops.
const LINGER: Duration = Duration::from_millis(300);
/// Requests at a time on one connection.
const MAX_STREAMS: u32 = 256;
/// The most bytes of a request's headers.
const MAX_HEADERS: u64 = 32 * 1024;
/// Flow control windows, in bytes.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// What the kernel is to keep of packets that come while nobody can take them, in bytes: what does not
/// fit is lost, and slows connections down.
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;
/// The largest UDP payload that path MTU discovery tries. Quinn hands the kernel ten packets at a
/// time, and what exceeds 64 KiB is dropped: with larger ones, as jumbo frames carry, whole batches are
/// lost, which discovery takes for a path that carries nothing over 1,200 bytes.
pub const MAX_MTU: u16 = 6500;

/// A QUIC endpoint on a bound socket, as HTTP/3 is served on. Must be called within a Tokio runtime.
///
/// # Errors
/// When the socket or the TLS configuration can't be used.
pub fn endpoint(socket: UdpSocket, tls: &ServerTls) -> io::Result<quinn::Endpoint> {
    let crypto = QuicServerConfig::try_from(tls.quic()).map_err(io::Error::other)?;
    let buffers = SockRef::from(&socket);
    // The kernel gives what it is set to give at most.
    let _ = buffers.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = buffers.set_send_buffer_size(SOCKET_BUFFER);
    if let Ok(bytes) = buffers.recv_buffer_size()
        && bytes < SOCKET_BUFFER
    {
        tracing::warn!(
            bytes,
            "HTTP/3 will lose packets, and be slow: the kernel keeps few of them; raise \
             net.core.rmem_max and net.core.wmem_max to {SOCKET_BUFFER}"
        );
    }
    let mut transport = quinn::TransportConfig::default();
    transport
        .max_idle_timeout(Some(IDLE.try_into().map_err(io::Error::other)?))
        .max_concurrent_bidi_streams(MAX_STREAMS.into())
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(u64::from(CONNECTION_WINDOW));
    let mut discovery = quinn::MtuDiscoveryConfig::default();
    discovery.upper_bound(MAX_MTU);
    transport.mtu_discovery_config(Some(discovery));
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    let mut shared = quinn::EndpointConfig::default();
    shared.max_udp_payload_size(MAX_MTU).map_err(io::Error::other)?;
    quinn::Endpoint::new(shared, Some(config), socket, Arc::new(quinn::TokioRuntime))
}

pub(super) async fn accept(endpoint: quinn::Endpoint, front: Arc<Front>, tasks: Tasks) {
    loop {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming,
            () = tasks.stopping() => None,
        };
        let Some(incoming) = incoming else { break };
        let open = endpoint.open_connections();
        if open >= MAX_CONNECTIONS {
            incoming.refuse();
        } else if open >= VALIDATE_FROM && !incoming.remote_address_validated() {
            // Makes the client prove its address first, so that forged ones cost us nothing.
            let _ = incoming.retry();
        } else {
            let (front, inner) = (front.clone(), tasks.clone());
            tasks.spawn(async move {
                if let Err(error) = serve(incoming, front, inner).await {
                    tracing::debug!(%error, "HTTP/3 connection ended");
                }
            });
        }
    }
    // Connections that are open go on until they have ended; new ones are refused.
    endpoint.set_server_config(None);
    endpoint.wait_idle().await;
}

async fn serve(
    incoming: quinn::Incoming,
    front: Arc<Front>,
    tasks: Tasks,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let connection = incoming.await?;
    // QUIC has no older TLS.
    let origin = Connection { peer: connection.remote_address().ip(), tls: "1.3" };
    let connection = h3_quinn::Connection::new(connection);
    let mut connection =
        h3::server::builder().max_field_section_size(MAX_HEADERS).build(connection).await?;
    let requests = TaskTracker::new();
    loop {
        let resolver = tokio::select! {
            resolver = connection.accept() => resolver?,
            () = tasks.stopping() => break,
        };
        let Some(resolver) = resolver else { return Ok(()) };
        let front = front.clone();
        tasks.spawn(requests.track_future(async move {
            if let Err(error) = answer(resolver, &front, origin).await {
                tracing::debug!(%error, "HTTP/3 request ended");
            }
        }));
    }
    connection.shutdown(0).await?;
    requests.close();
    let ended = async {
        requests.wait().await;
        // What was sent last is still on its way, and closing would discard it.
        tokio::time::sleep(LINGER).await;
    };
    tokio::select! {
        () = ended => {}
        // Turns away late requests, and notices when the client closes.
        () = async { while let Ok(Some(_)) = connection.accept().await {} } => {}
    }
    Ok(())
}

async fn answer(
    resolver: RequestResolver<h3_quinn::Connection, Bytes>,
    front: &Front,
    origin: Connection,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let arrival = async {
        let (request, stream) = resolver.resolve_request().await?;
        let (send, mut receive) = stream.split();
        // HTTP/3 marks an empty body by ending the stream, not by a header: a request that tells no
        // length, as a GET, is read up to its first byte, so that an empty body is known for one.
        let first = match request.headers().contains_key(CONTENT_LENGTH) {
            true => Some(Bytes::new()),
            false => next_data(&mut receive).await?,
        };
        let body = first.map_or_else(Body::empty, |first| request_body(first, receive));
        Ok::<_, StreamError>((request.map(|()| body), send))
    };
    let (mut request, mut send) = tokio::time::timeout(front.header_timeout, arrival).await??;
    request.extensions_mut().insert(origin);
    let response = front.answer(request).await;
    send_response(&mut send, response).await
}

async fn next_data(
    receive: &mut RequestStream<RecvStream, Bytes>,
) -> Result<Option<Bytes>, StreamError> {
    let data = receive.recv_data().await?;
    Ok(data.map(|mut data| data.copy_to_bytes(data.remaining())))
}

/// The request's body from `first` on: read only as fast as it is consumed, so that flow control
/// holds the client back. Dropping it tells the client that the rest is not wanted: quinn sends
/// STOP_SENDING. (h3-quinn 0.0.10 could send it with a better code, but panics when it is asked to
/// while a read is under way, which cannot be seen from outside.)
fn request_body(first: Bytes, receive: RequestStream<RecvStream, Bytes>) -> Body {
    let first = stream::iter((!first.is_empty()).then(|| Ok(Frame::data(first))));
    let rest = stream::try_unfold(receive, |mut receive| async move {
        let data = next_data(&mut receive).await?;
        Ok::<_, StreamError>(data.map(|bytes| (Frame::data(bytes), receive)))
    });
    Body::http_body_unsync(StreamBody::new(Box::pin(first.chain(rest))))
}

async fn send_response(
    send: &mut RequestStream<SendStream<Bytes>, Bytes>,
    response: Response<Body>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (mut parts, mut body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        parts.headers.entry(CONTENT_LENGTH).or_insert(length.into());
    }
    send.send_response(Response::from_parts(parts, ())).await?;
    while let Some(frame) = body.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => tokio::time::timeout(WRITE_STALL, send.send_data(data)).await??,
            Ok(Err(_trailers)) => {}
            Err(_) => {
                // The head promised more than there is: the client must not take it for whole.
                send.stop_stream(Code::H3_INTERNAL_ERROR);
                return Ok(());
            }
        }
    }
    send.finish().await?;
    Ok(())
}
