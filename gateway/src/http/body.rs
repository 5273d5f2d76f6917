//! Bodies under watch: requests that stall are given up, answers are counted and logged.

use super::failure::Failure;
use super::log::Record;
use bytes::Bytes;
use http::StatusCode;
use http_body::{Body as HttpBody, Frame, SizeHint};
use s3s::{Body, StdError};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

const STALLED: Failure = Failure(
    StatusCode::BAD_REQUEST,
    "RequestTimeout",
    "The request body was not sent within the time allowed.",
);

/// What was found wrong with a request's body while it was read. The answer is then this, whatever
/// the reader makes of the error that it gets.
#[derive(Debug, Clone, Default)]
pub(super) struct Fault(Arc<OnceLock<Failure>>);

impl Fault {
    /// What was found first.
    pub(super) fn found(&self) -> Option<Failure> {
        self.0.get().copied()
    }

    /// Notes what was found, and gives the error that ends the body.
    pub(super) fn raise(&self, failure: Failure) -> StdError {
        let _ = self.0.set(failure);
        Faulty(failure.2).into()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Faulty(&'static str);

/// A request's body that fails when nothing comes for a while. Only waiting for the client counts,
/// not the time in which nobody reads.
pub(super) struct Arriving {
    body: Body,
    idle: Duration,
    timer: Pin<Box<Sleep>>,
    waiting: bool,
    fault: Fault,
}

impl Arriving {
    /// Watches `body`; `fault` tells when it was given up.
    pub(super) fn watch(body: Body, idle: Duration, fault: Fault) -> Body {
        if body.is_end_stream() {
            return body;
        }
        let timer = Box::pin(tokio::time::sleep(idle));
        Body::http_body_unsync(Self { body, idle, timer, waiting: false, fault })
    }
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.waiting = false;
            return Poll::Ready(frame);
        }
        if !this.waiting {
            this.timer.as_mut().reset(Instant::now() + this.idle);
            this.waiting = true;
        }
        ready!(this.timer.as_mut().poll(cx));
        this.body = Body::empty();
        Poll::Ready(Some(Err(this.fault.raise(STALLED))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body. It counts as a request being served until it is dropped, sent or not; then
/// the request is logged.
pub(super) struct Leaving {
    body: Body,
    record: Record,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Leaving {
    pub(super) fn watch(body: Body, record: Record, permit: Option<OwnedSemaphorePermit>) -> Body {
        Body::http_body_unsync(Self { body, record, _permit: permit })
    }
}

impl HttpBody for Leaving {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => self.record.sent(frame.data_ref().map_or(0, Bytes::len)),
            Some(Err(_)) => self.record.broken(),
            None => self.record.ended(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
