//! HTTP/3.

use super::tls::Identity;
use super::{Behaviour, MIB, Seen};
use bytes::{Buf, Bytes};
use h3::server::RequestStream;
use h3_quinn::BidiStream;
use http::{Response, StatusCode};
use quinn::crypto::rustls::QuicServerConfig;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::Ordering;

type Stream = RequestStream<BidiStream<Bytes>, Bytes>;

pub(crate) fn serve(socket: UdpSocket, tls: &Identity, seen: &Arc<Seen>) -> quinn::Endpoint {
    let config = (*tls.server_config(&["h3"])).clone();
    let crypto = QuicServerConfig::try_from(config).unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let runtime = Arc::new(quinn::TokioRuntime);
    let defaults = quinn::EndpointConfig::default();
    let endpoint = quinn::Endpoint::new(defaults, Some(config), socket, runtime).unwrap();
    tokio::spawn(accept(endpoint.clone(), Arc::clone(seen)));
    endpoint
}

async fn accept(endpoint: quinn::Endpoint, seen: Arc<Seen>) {
    while let Some(incoming) = endpoint.accept().await {
        let seen = Arc::clone(&seen);
        tokio::spawn(async move {
            let Ok(quic) = incoming.await else { return };
            seen.h3_connections.fetch_add(1, Ordering::SeqCst);
            let quic = h3_quinn::Connection::new(quic);
            let mut connection = h3::server::Connection::new(quic).await.unwrap();
            while let Ok(Some(resolver)) = connection.accept().await {
                let seen = Arc::clone(&seen);
                tokio::spawn(async move {
                    if let Ok((request, stream)) = resolver.resolve_request().await {
                        seen.h3_requests.fetch_add(1, Ordering::SeqCst);
                        // A client that leaves early is part of the tests.
                        let _ = answer(request.uri().path(), stream, &seen).await;
                    }
                });
            }
        });
    }
}

async fn answer(path: &str, mut stream: Stream, seen: &Seen) -> Result<(), h3::error::StreamError> {
    let head = |status: StatusCode, length: usize| {
        Response::builder().status(status).header("content-length", length).body(()).unwrap()
    };
    match Behaviour::of(path) {
        Behaviour::Hang => std::future::pending().await,
        Behaviour::Refuse => {
            stream.send_response(head(StatusCode::FORBIDDEN, 7)).await?;
            stream.send_data(Bytes::from_static(b"refused")).await?;
        }
        Behaviour::Count => {
            let mut length = 0;
            while let Some(data) = stream.recv_data().await? {
                length += data.remaining();
            }
            let text = length.to_string();
            stream.send_response(head(StatusCode::OK, text.len())).await?;
            stream.send_data(text.into()).await?;
        }
        Behaviour::Send(mib) => {
            stream.send_response(head(StatusCode::OK, mib * MIB)).await?;
            for _ in 0..mib * 16 {
                stream.send_data(Bytes::from(vec![7; MIB / 16])).await?;
                seen.offered.fetch_add(MIB as u64 / 16, Ordering::SeqCst);
            }
        }
        Behaviour::Stall => {
            stream.send_response(head(StatusCode::OK, 2)).await?;
            stream.send_data(Bytes::from_static(b"x")).await?;
            std::future::pending::<()>().await;
        }
        Behaviour::Short => {
            stream.send_response(head(StatusCode::OK, 10)).await?;
            stream.send_data(Bytes::from_static(b"short")).await?;
        }
    }
    stream.finish().await
}
