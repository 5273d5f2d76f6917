//! Cutting a request body into chunks, knowing which one is the last.

use super::write::{BodyError, MAX_PART, WriteError};
use bytes::Bytes;
use coffer_core::layout::CHUNK_LEN;
use futures::{Stream, StreamExt};
use std::time::Duration;

/// A chunk of a body, full unless it is the last. The last may be empty, if the body is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BodyChunk {
    pub(super) data: Vec<u8>,
    pub(super) last: bool,
}

/// Collects the frames of a body into chunks.
pub(super) struct Chunker<S> {
    body: S,
    /// What came beyond the end of the chunk before.
    rest: Bytes,
    /// Bytes that are still to come, as far as the client said.
    expected: Option<u64>,
    announced: Option<u64>,
    /// Bytes that may still come.
    allowed: u64,
    idle: Duration,
    ended: bool,
}

impl<S: Stream<Item = Result<Bytes, BodyError>> + Unpin> Chunker<S> {
    pub(super) fn new(body: S, expected: Option<u64>, idle: Duration) -> Self {
        let allowed = expected.unwrap_or(MAX_PART);
        let (rest, announced) = (Bytes::new(), expected);
        Self { body, rest, expected, announced, allowed, idle, ended: false }
    }

    /// The most bytes that the next chunk can have.
    pub(super) fn next_len(&self) -> usize {
        let most = u64::from(CHUNK_LEN);
        usize::try_from(self.expected.unwrap_or(most).min(most)).unwrap_or(CHUNK_LEN as usize)
    }

    /// The next chunk; must not be called again after the last.
    pub(super) async fn next(&mut self) -> Result<BodyChunk, WriteError> {
        let full = CHUNK_LEN as usize;
        let mut data = Vec::with_capacity(self.next_len());
        loop {
            let take = self.rest.len().min(full - data.len());
            data.extend_from_slice(&self.rest.split_to(take));
            // A chunk is only known not to be the last when something follows it.
            if self.ended || !self.rest.is_empty() {
                let last = self.ended && self.rest.is_empty();
                self.expected = self.expected.map(|e| e.saturating_sub(data.len() as u64));
                return Ok(BodyChunk { data, last });
            }
            match tokio::time::timeout(self.idle, self.body.next()).await {
                Err(_) => return Err(WriteError::BodyStalled(self.idle)),
                Ok(Some(frame)) => self.take_in(frame.map_err(WriteError::Body)?)?,
                Ok(None) => self.ended = true,
            }
        }
    }

    /// A body that goes on beyond its end is given up there, not when it ends at last.
    fn take_in(&mut self, frame: Bytes) -> Result<(), WriteError> {
        let left = self.allowed.checked_sub(frame.len() as u64);
        self.allowed = left.ok_or(WriteError::BodyTooLong { announced: self.announced })?;
        self.rest = frame;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;
    use proptest::prelude::*;

    async fn chunks(frames: Vec<usize>) -> Vec<(usize, bool)> {
        let frames: Vec<_> = frames.into_iter().map(|n| Ok(Bytes::from(vec![1; n]))).collect();
        let mut chunker = Chunker::new(stream::iter(frames), None, Duration::from_secs(5));
        let mut out = Vec::new();
        loop {
            let chunk = chunker.next().await.unwrap();
            out.push((chunk.data.len(), chunk.last));
            if chunk.last {
                return out;
            }
        }
    }

    #[tokio::test]
    async fn edges() {
        let full = CHUNK_LEN as usize;
        assert_eq!(chunks(vec![]).await, [(0, true)]);
        assert_eq!(chunks(vec![0, 1, 0]).await, [(1, true)]);
        assert_eq!(chunks(vec![full]).await, [(full, true)]);
        assert_eq!(chunks(vec![full, 1]).await, [(full, false), (1, true)]);
        assert_eq!(chunks(vec![2 * full + 1]).await, [(full, false), (full, false), (1, true)]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn all_chunks_but_the_last_are_full(frames in proptest::collection::vec(0usize..3_000_000, 0..8)) {
            let total: usize = frames.iter().sum();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let got = runtime.block_on(chunks(frames));
            prop_assert_eq!(got.iter().map(|(n, _)| n).sum::<usize>(), total);
            let (last, others) = got.split_last().unwrap();
            prop_assert!(last.1 && (last.0 > 0 || total == 0));
            prop_assert!(others.iter().all(|(n, end)| *n == CHUNK_LEN as usize && !end));
        }
    }

    #[tokio::test]
    async fn a_body_that_goes_on_and_on_is_given_up() {
        let endless = stream::repeat_with(|| Ok(Bytes::from_static(&[1; 1000])));
        let mut chunker = Chunker::new(endless, Some(5500), Duration::from_secs(5));
        let error = chunker.next().await.unwrap_err();
        assert!(matches!(error, WriteError::BodyTooLong { announced: Some(5500) }), "{error}");
    }

    #[tokio::test]
    async fn a_body_that_stalls_is_given_up() {
        let mut chunker = Chunker::new(stream::pending(), None, Duration::from_millis(10));
        assert!(matches!(chunker.next().await, Err(WriteError::BodyStalled(_))));
    }
}
