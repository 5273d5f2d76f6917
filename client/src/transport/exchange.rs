//! One HTTP/3 request and its answer, both bodies streamed.

use super::error::TransportError;
use super::quic::Requests;
use super::stall::{Progress, StallLimit, WatchedBody, next_slice};
use bytes::{BufMut, Bytes, BytesMut};
use h3::client::RequestStream;
use h3::error::{Code, StreamError};
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
    let response = answer.map_err(|error| {
        let (endpoint, reason) = (endpoint.clone(), error.to_string());
        match error {
            // The server's word that it has not looked at the request (RFC 9114, 4.1.1).
            StreamError::RemoteTerminate { code: Code::H3_REQUEST_REJECTED, .. } => {
                TransportError::NotSent { endpoint, reason }
            }
            _ => TransportError::Broken { endpoint, reason },
        }
    })?;

    let length = response.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
    let body = ResponseBody {
        incoming,
        _requests: requests,
        remaining: if is_head { Some(0) } else { length },
        end: if is_head { End::Reached } else { End::Open },
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
        response = &mut receive => {
            let response = response?;
            if response.status().is_success() {
                // Only a refusal makes the rest of the body pointless.
                let _ = send.await;
            }
            Ok(response)
        }
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

/// Packets carry little more than a kilobyte each; they are handed on in blocks of about this
/// size, which costs a copy and saves the layers above a hundred times the work.
const BLOCK_BYTES: usize = 128 * 1024;

/// The answer's body as it arrives.
struct ResponseBody {
    incoming: RecvHalf,
    /// Keeps the connection open: h3 closes it with its last user.
    _requests: Requests,
    /// Bytes still to come, if the answer told its length.
    remaining: Option<u64>,
    end: End,
}

/// How far the body is.
enum End {
    Open,
    /// Broken off, to be told after the bytes before.
    Broken(BodyError),
    Reached,
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

impl ResponseBody {
    /// Takes what has arrived, up to a block, and notes how the body ended if it did. `Pending`
    /// only if nothing has arrived.
    fn poll_block(&mut self, cx: &mut Context<'_>) -> Poll<BytesMut> {
        let mut block = BytesMut::new();
        while matches!(self.end, End::Open) && block.len() < BLOCK_BYTES {
            match self.incoming.poll_recv_data(cx) {
                Poll::Pending if block.is_empty() => return Poll::Pending,
                Poll::Pending => break,
                Poll::Ready(Ok(Some(data))) => block.put(data),
                Poll::Ready(Ok(None)) => self.end = End::Reached,
                Poll::Ready(Err(error)) => self.end = End::Broken(BodyError::Stream(error)),
            }
        }
        Poll::Ready(block)
    }

    /// Holds the bytes received so far against the length that was promised.
    fn account(&mut self, length: usize) {
        let Some(remaining) = self.remaining else { return };
        let left = remaining.checked_sub(u64::try_from(length).unwrap_or(u64::MAX));
        self.remaining = Some(left.unwrap_or(0));
        match (left, &self.end) {
            (None, _) => self.end = End::Broken(BodyError::Long),
            (Some(1..), End::Reached) => {
                self.end = End::Broken(BodyError::Short(left.unwrap_or(0)));
            }
            _ => {}
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if matches!(self.end, End::Open) {
            let block = ready!(self.poll_block(cx));
            self.account(block.len());
            if !block.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(block.freeze()))));
            }
        }
        match std::mem::replace(&mut self.end, End::Reached) {
            End::Broken(error) => Poll::Ready(Some(Err(error))),
            End::Open | End::Reached => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.end, End::Reached)
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
