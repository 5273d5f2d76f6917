//! One HTTP/3 request and its answer, both bodies streamed.

use super::error::TransportError;
use super::quic::Requests;
use super::stall::{Progress, StallLimit, WatchedBody, next_slice};
use bytes::{Buf, Bytes};
use h3::client::RequestStream;
use h3::error::{Code, StreamError};
use h3::quic;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING};
use http::{Method, Request};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use object_store::client::{HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

type SendHalf = RequestStream<h3_quinn::SendStream<Bytes>, Bytes>;
type RecvHalf = RequestStream<h3_quinn::RecvStream, Bytes>;

/// Sends `request` and waits for the head of the answer; the answer's body then streams.
///
/// # Errors
/// [`TransportError::NotSent`] if the connection could not take the request at all; otherwise it
/// is unknown whether the request took effect.
pub(super) async fn send(
    mut requests: Requests,
    request: HttpRequest,
    stall: &StallLimit,
) -> Result<HttpResponse, TransportError> {
    let endpoint = &stall.endpoint;
    let (head, body) = split(request);
    let is_head = head.method() == Method::HEAD;
    let progress = Progress::default();

    let opened = stall.watch(&progress, requests.send_request(head)).await?;
    let stream = opened.map_err(|error| TransportError::NotSent {
        endpoint: endpoint.clone(),
        reason: error.to_string(),
    })?;
    let (outgoing, mut incoming) = stream.split();

    let answer = stall.watch(&progress, answer(outgoing, &mut incoming, body, &progress)).await?;
    let response = answer.map_err(|error| TransportError::Broken {
        endpoint: endpoint.clone(),
        reason: error.to_string(),
    })?;

    let length = response.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
    let body = ResponseBody {
        incoming,
        _requests: requests,
        ended: is_head,
        remaining: if is_head { Some(0) } else { length },
    };
    Ok(response.map(|()| HttpResponseBody::new(WatchedBody::new(body, stall.clone()))))
}

/// Separates head and body, and fits the head to HTTP/3: no header that belongs to a connection,
/// and the body's length, which HTTP/1.1 libraries leave to the transport.
fn split(request: HttpRequest) -> (Request<()>, HttpRequestBody) {
    let (mut parts, body) = request.into_parts();
    for name in [HOST, CONNECTION, TRANSFER_ENCODING] {
        parts.headers.remove(name);
    }
    let length = body.content_length();
    if length > 0 || matches!(parts.method, Method::PUT | Method::POST) {
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    (Request::from_parts(parts, ()), body)
}

/// Sends the body while it waits for the answer: a server may answer (and refuse) early.
async fn answer(
    outgoing: SendHalf,
    incoming: &mut RecvHalf,
    body: HttpRequestBody,
    progress: &Progress,
) -> Result<http::Response<()>, StreamError> {
    let mut receive = pin!(incoming.recv_response());
    let mut send = pin!(send_body(Outgoing { stream: outgoing, finished: false }, body, progress));
    tokio::select! {
        // If sending failed, the answer (or the connection's end) tells why.
        _ = &mut send => receive.await,
        response = &mut receive => response,
    }
}

/// The sending half. Dropped before its end, it is reset: left to itself, QUIC would end the
/// stream in good order and a torn body would pass for a whole one.
struct Outgoing {
    stream: SendHalf,
    finished: bool,
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if !self.finished {
            self.stream.stop_stream(Code::H3_REQUEST_CANCELLED);
        }
    }
}

async fn send_body(
    mut outgoing: Outgoing,
    mut body: HttpRequestBody,
    progress: &Progress,
) -> Result<(), StreamError> {
    // The body's own error type has no failing values: it is memory.
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(mut data) = frame.into_data() else { continue };
        while let Some(slice) = next_slice(&mut data) {
            outgoing.stream.send_data(slice).await?;
            progress.advance();
        }
    }
    outgoing.stream.finish().await?;
    outgoing.finished = true;
    Ok(())
}

/// The answer's body as it arrives.
struct ResponseBody {
    incoming: RecvHalf,
    /// Keeps the connection open: h3 closes it with its last user.
    _requests: Requests,
    /// Bytes still to come, if the answer told its length.
    remaining: Option<u64>,
    ended: bool,
}

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
enum BodyError {
    #[error("{0}")]
    Stream(StreamError),
    #[error("the body ended {0} bytes early")]
    Short(u64),
    #[error("the body is longer than its Content-Length")]
    Long,
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let received = ready!(poll_data(&mut self.incoming, cx));
        self.ended = !matches!(received, Ok(Some(_)));
        let data = match received {
            Err(error) => return Poll::Ready(Some(Err(BodyError::Stream(error)))),
            Ok(None) => {
                let missing = self.remaining.unwrap_or(0);
                let short = (missing > 0).then_some(Err(BodyError::Short(missing)));
                return Poll::Ready(short);
            }
            Ok(Some(data)) => data,
        };
        if let Some(remaining) = self.remaining {
            let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
            match remaining.checked_sub(length) {
                Some(left) => self.remaining = Some(left),
                None => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(BodyError::Long)));
                }
            }
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn poll_data<S: quic::RecvStream>(
    incoming: &mut RequestStream<S, Bytes>,
    cx: &mut Context<'_>,
) -> Poll<Result<Option<Bytes>, StreamError>> {
    let received = ready!(incoming.poll_recv_data(cx));
    Poll::Ready(received.map(|data| data.map(|mut data| data.copy_to_bytes(data.remaining()))))
}
