//! Timeouts that measure standstill, not duration: a large body may take as long as it needs while
//! it moves.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use object_store::client::{HttpError, HttpRequestBody};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

use super::error::TransportError;
use crate::endpoint::Endpoint;

/// Bodies are handed on in slices of this size, so that a large buffer on a slow line still shows
/// progress.
const SLICE_BYTES: usize = 128 * 1024;

/// Counts how far a request body has come.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress(Arc<AtomicU64>);

impl Progress {
    pub(super) fn advance(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A limit on standstill towards one server.
#[derive(Debug, Clone)]
pub(super) struct StallLimit {
    pub(super) endpoint: Endpoint,
    pub(super) limit: Duration,
}

impl StallLimit {
    fn error(&self) -> TransportError {
        TransportError::Stalled { endpoint: self.endpoint.clone(), limit: self.limit }
    }

    /// Runs `future` until it is done, or until `progress` has stood still for the limit.
    pub(super) async fn watch<F: Future>(
        &self,
        progress: &Progress,
        future: F,
    ) -> Result<F::Output, TransportError> {
        let mut future = pin!(future);
        loop {
            let before = progress.count();
            match tokio::time::timeout(self.limit, future.as_mut()).await {
                Ok(output) => return Ok(output),
                Err(_) if progress.count() != before => {}
                Err(_) => return Err(self.error()),
            }
        }
    }
}

/// Splits the next slice off `rest`; `None` when nothing is left.
pub(super) fn next_slice(rest: &mut Bytes) -> Option<Bytes> {
    (!rest.is_empty()).then(|| rest.split_to(rest.len().min(SLICE_BYTES)))
}

/// A request body in slices that reports its progress.
#[derive(Debug)]
pub(super) struct PacedBody {
    body: HttpRequestBody,
    rest: Bytes,
    progress: Progress,
}

impl PacedBody {
    pub(super) fn new(body: HttpRequestBody, progress: Progress) -> Self {
        Self { body, rest: Bytes::new(), progress }
    }
}

impl Body for PacedBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        self.progress.advance();
        loop {
            if let Some(slice) = next_slice(&mut self.rest) {
                return Poll::Ready(Some(Ok(Frame::data(slice))));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.rest = data;
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        let body = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower().saturating_add(rest));
        if let Some(upper) = body.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

/// A response body that fails when its next frame lets us wait longer than the limit.
///
/// Only waiting counts: a consumer that pauses does not run the clock.
#[derive(Debug)]
pub(super) struct WatchedBody<B> {
    body: B,
    limit: StallLimit,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<B> WatchedBody<B> {
    pub(super) fn new(body: B, limit: StallLimit) -> Self {
        Self { body, limit, waiting: None }
    }
}

impl<B> Body for WatchedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.waiting = None;
            let broken = |error: B::Error| {
                let endpoint = this.limit.endpoint.clone();
                HttpError::from(TransportError::Broken { endpoint, reason: error.to_string() })
            };
            return Poll::Ready(frame.map(|frame| frame.map_err(broken)));
        }
        let limit = this.limit.limit;
        let waiting = this
            .waiting
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + limit)));
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Some(Err(this.limit.error().into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn limit() -> StallLimit {
        let endpoint = "https://store.example".parse().unwrap();
        StallLimit { endpoint, limit: Duration::from_millis(200) }
    }

    #[tokio::test]
    async fn progress_extends_the_wait_and_standstill_ends_it() {
        let progress = Progress::default();
        let slow = async {
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                progress.advance();
            }
            "done"
        };
        assert_eq!(limit().watch(&progress, slow).await.unwrap(), "done");
        let error = limit().watch(&progress, std::future::pending::<()>()).await.unwrap_err();
        assert!(matches!(error, TransportError::Stalled { .. }));
    }

    #[tokio::test]
    async fn a_large_buffer_goes_out_in_slices() {
        let data = Bytes::from(vec![7; SLICE_BYTES * 2 + 1]);
        let mut body = PacedBody::new(data.clone().into(), Progress::default());
        let whole = u64::try_from(data.len()).unwrap();
        assert_eq!(body.size_hint().exact(), Some(whole));
        let mut sizes = Vec::new();
        while let Some(frame) = body.frame().await {
            sizes.push(frame.unwrap().into_data().unwrap().len());
        }
        assert_eq!(sizes, [SLICE_BYTES, SLICE_BYTES, 1]);
        assert!(body.is_end_stream());
    }

    /// Gives one frame after `delay`, again and again.
    struct Drip(Duration, Option<Pin<Box<Sleep>>>);

    impl Body for Drip {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
            let delay = self.0;
            let sleep = self.1.get_or_insert_with(|| Box::pin(tokio::time::sleep(delay)));
            ready!(sleep.as_mut().poll(cx));
            self.1 = None;
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
        }
    }

    #[tokio::test]
    async fn a_slow_consumer_is_no_stall_but_a_slow_server_is() {
        let mut body = WatchedBody::new(Drip(Duration::from_millis(20), None), limit());
        for _ in 0..3 {
            assert!(body.frame().await.unwrap().is_ok());
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        let mut body = WatchedBody::new(Drip(Duration::from_secs(3600), None), limit());
        assert!(body.frame().await.unwrap().is_err());
    }
}
