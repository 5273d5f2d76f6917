//! HTTP/3 over QUIC.

use super::front::Front;
use super::tls::ServerTls;
use bytes::{Buf, Bytes};
use futures::stream::{self, StreamExt};
use h3::server::{RequestResolver, RequestStream};
use h3_quinn::{RecvStream, SendStream};
use http::Response;
use http::header::CONTENT_LENGTH;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use quinn::crypto::rustls::QuicServerConfig;
use s3s::Body;
use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a peer may be silent before its connection is closed.
const IDLE: Duration = Duration::from_secs(30);
/// Requests at a time on one connection.
const MAX_STREAMS: u32 = 256;
/// The most bytes of a request's headers.
const MAX_HEADERS: u64 = 32 * 1024;
/// Flow control windows, in bytes.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// The largest UDP payload that path MTU discovery tries: a jumbo frame's.
const MAX_MTU: u16 = 8952;

/// A QUIC endpoint on a bound socket.
pub(super) fn endpoint(socket: UdpSocket, tls: &ServerTls) -> io::Result<quinn::Endpoint> {
    let crypto = QuicServerConfig::try_from(tls.quic()).map_err(io::Error::other)?;
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

pub(super) async fn accept(
    endpoint: quinn::Endpoint,
    front: Arc<Front>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    loop {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming,
            () = stop.cancelled() => None,
        };
        let Some(incoming) = incoming else { break };
        let (front, stop, inner) = (front.clone(), stop.clone(), tasks.clone());
        tasks.spawn(async move {
            if let Err(error) = serve(incoming, front, stop, inner).await {
                tracing::debug!(%error, "HTTP/3 connection ended");
            }
        });
    }
    // Streams that have begun go on; new connections are refused.
    endpoint.set_server_config(None);
    endpoint.wait_idle().await;
}

async fn serve(
    incoming: quinn::Incoming,
    front: Arc<Front>,
    stop: CancellationToken,
    tasks: TaskTracker,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let connection = h3_quinn::Connection::new(incoming.await?);
    let mut connection =
        h3::server::builder().max_field_section_size(MAX_HEADERS).build(connection).await?;
    loop {
        let resolver = tokio::select! {
            resolver = connection.accept() => resolver?,
            () = stop.cancelled() => {
                connection.shutdown(0).await?;
                // Until the peer closes: requests at hand use the connection.
                while connection.accept().await?.is_some() {}
                None
            }
        };
        let Some(resolver) = resolver else { return Ok(()) };
        let front = front.clone();
        tasks.spawn(async move {
            if let Err(error) = answer(resolver, &front).await {
                tracing::debug!(%error, "HTTP/3 request ended");
            }
        });
    }
}

async fn answer(
    resolver: RequestResolver<h3_quinn::Connection, Bytes>,
    front: &Front,
) -> Result<(), h3::error::StreamError> {
    let (request, stream) = resolver.resolve_request().await?;
    let (mut send, mut receive) = stream.split();
    // HTTP/3 marks an empty body by ending the stream, not by a header: a request that tells no
    // length, as a GET, is read up to its first byte, so that an empty body is known for one.
    let first = match request.headers().contains_key(CONTENT_LENGTH) {
        true => Some(Bytes::new()),
        false => next_data(&mut receive).await?,
    };
    let body = first.map_or_else(Body::empty, |first| request_body(first, receive));
    let response = front.answer(request.map(|()| body)).await;
    send_response(&mut send, response).await
}

async fn next_data(
    receive: &mut RequestStream<RecvStream, Bytes>,
) -> Result<Option<Bytes>, h3::error::StreamError> {
    let data = receive.recv_data().await?;
    Ok(data.map(|mut data| data.copy_to_bytes(data.remaining())))
}

/// The request's body from `first` on: read only as fast as it is consumed, so that flow control
/// holds the client back.
fn request_body(first: Bytes, receive: RequestStream<RecvStream, Bytes>) -> Body {
    let first = stream::iter((!first.is_empty()).then(|| Ok(Frame::data(first))));
    let rest = stream::try_unfold(receive, |mut receive| async move {
        let data = next_data(&mut receive).await?;
        Ok::<_, h3::error::StreamError>(data.map(|bytes| (Frame::data(bytes), receive)))
    });
    Body::http_body_unsync(StreamBody::new(Box::pin(first.chain(rest))))
}

async fn send_response(
    send: &mut RequestStream<SendStream<Bytes>, Bytes>,
    response: Response<Body>,
) -> Result<(), h3::error::StreamError> {
    let (head, mut body) = response.into_parts();
    send.send_response(Response::from_parts(head, ())).await?;
    while let Some(frame) = body.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => send.send_data(data).await?,
            Ok(Err(_trailers)) => {}
            Err(_) => {
                // The head promised more than there is: the client must not take it for whole.
                send.stop_stream(h3::error::Code::H3_INTERNAL_ERROR);
                return Ok(());
            }
        }
    }
    send.finish().await
}
