//! HTTP/2 and 1.1 over TLS, or HTTP/1.1 in the clear.

use super::{Behaviour, MIB, Seen};
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

type Body = BoxBody<Bytes, Infallible>;

pub(crate) async fn serve(listener: TcpListener, tls: Arc<rustls::ServerConfig>, seen: Arc<Seen>) {
    let acceptor = tokio_rustls::TlsAcceptor::from(tls);
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
        tokio::spawn(async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                connection(stream, seen).await;
            }
        });
    }
}

pub(crate) async fn serve_plain(listener: TcpListener, seen: Arc<Seen>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(connection(stream, Arc::clone(&seen)));
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, seen: Arc<Seen>) {
    let service = service_fn(move |request| answer(request, Arc::clone(&seen)));
    let builder = Builder::new(TokioExecutor::new());
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: Request<Incoming>, seen: Arc<Seen>) -> Result<Response<Body>, Infallible> {
    seen.tcp_requests.fetch_add(1, Ordering::SeqCst);
    let behaviour = Behaviour::of(request.uri().path());
    let body = match behaviour {
        Behaviour::Hang => std::future::pending().await,
        Behaviour::Refuse => {
            let mut response = Response::new(text("refused"));
            *response.status_mut() = StatusCode::FORBIDDEN;
            return Ok(response);
        }
        Behaviour::Count => {
            let mut body = request.into_body();
            let mut length = 0;
            while let Some(Ok(frame)) = body.frame().await {
                length += frame.data_ref().map_or(0, Bytes::len);
            }
            text(&length.to_string())
        }
        Behaviour::Send(mib) => {
            let pieces = stream::iter(0..mib * 16).map(move |_| {
                let piece = Bytes::from(vec![7; MIB / 16]);
                seen.offered.fetch_add(piece.len() as u64, Ordering::SeqCst);
                Ok(Frame::data(piece))
            });
            BodyExt::boxed(StreamBody::new(pieces))
        }
        Behaviour::Stall | Behaviour::Short => {
            let first = stream::iter([Ok(Frame::data(Bytes::from_static(b"x")))]);
            BodyExt::boxed(StreamBody::new(first.chain(stream::pending())))
        }
    };
    Ok(Response::new(body))
}

fn text(text: &str) -> Body {
    let frame = Frame::data(Bytes::from(text.to_owned()));
    BodyExt::boxed(StreamBody::new(stream::iter([Ok(frame)])))
}
