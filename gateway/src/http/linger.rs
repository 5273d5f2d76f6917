//! What a client still sends when it has its answer.
//!
//! An answer that comes before the whole body, as errors do, ends the reading of it. On HTTP/1.1 the
//! connection must then be closed with bytes unread, which makes the kernel reset it, and the reset
//! may overtake the answer: clients that read only when they have sent everything see a broken
//! connection instead of what is wrong. On HTTP/2 the stream is reset, which some clients take for a
//! failure as well. Reading on for a while, into nothing, spares them that; the connection stays of
//! use, too.

use super::tasks::Tasks;
use bytes::Bytes;
use http::Request;
use http::header::EXPECT;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use s3s::Body;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The most bytes of a body that are read into nothing: clients send parts of 5 to 16 MiB.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// How long they may take, and how long the client may pause between them.
const MAX_TIME: Duration = Duration::from_secs(10);
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// How many bodies at a time are read that way.
const MAX_BODIES: usize = 256;

/// Reads on where a request's body was left.
#[derive(Debug, Clone)]
pub(super) struct Linger {
    tasks: Tasks,
    slots: Arc<Semaphore>,
}

impl Linger {
    pub(super) fn new(tasks: Tasks) -> Self {
        Self { tasks, slots: Arc::new(Semaphore::new(MAX_BODIES)) }
    }

    /// The request with a body that is read on when it is dropped before its end.
    pub(super) fn watch(&self, request: Request<Incoming>) -> Request<Body> {
        // Such a client asks whether to send: an answer that comes first means no.
        let asks = request.headers().contains_key(EXPECT);
        request.map(|body| {
            if body.is_end_stream() {
                return Body::from(body);
            }
            let linger = self.clone();
            Body::http_body_unsync(Watched { body: Some(body), wanted: !asks, linger })
        })
    }

    fn read_on(&self, body: Incoming) {
        let Ok(slot) = self.slots.clone().try_acquire_owned() else { return };
        let tasks = self.tasks.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                _ = tokio::time::timeout(MAX_TIME, into_nothing(body, slot)) => {}
                () = tasks.stopping() => {}
            }
        });
    }
}

async fn into_nothing(mut body: Incoming, _slot: OwnedSemaphorePermit) {
    let mut left = MAX_BYTES;
    while let Ok(Some(Ok(frame))) = tokio::time::timeout(MAX_PAUSE, body.frame()).await {
        let len = frame.data_ref().map_or(0, Bytes::len);
        let Some(rest) = left.checked_sub(len) else { return };
        left = rest;
    }
}

/// A body, and whether the client was asked for it.
struct Watched {
    body: Option<Incoming>,
    wanted: bool,
    linger: Linger,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.wanted = true;
        let Some(body) = self.body.as_mut() else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|b| self.wanted && !b.is_end_stream()) {
            self.linger.read_on(body);
        }
    }
}
