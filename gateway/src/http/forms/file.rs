//! The file of a form, as a body that streams.

use super::bad;
use super::fields::{Source, find};
use crate::http::failure::Failure;
use bytes::Bytes;
use futures::stream;
use http_body::Frame;
use http_body_util::StreamBody;
use s3s::Body;
use std::sync::{Arc, OnceLock};

const TOO_LARGE: Failure =
    bad("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size.");
const TOO_SMALL: Failure =
    bad("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size.");
const CUT_OFF: Failure =
    bad("IncompleteBody", "The form ended before the boundary after its file.");

/// How many bytes the file may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) least: u64,
    pub(super) most: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { least: 0, most: u64::MAX }
    }
}

/// What was found to be wrong with a file while it was streamed; the first finding stands.
#[derive(Debug, Clone, Default)]
pub(super) struct Verdict(Arc<OnceLock<Failure>>);

impl Verdict {
    pub(super) fn get(&self) -> Option<Failure> {
        self.0.get().copied()
    }

    /// Remembers why, for the answer, and breaks the stream, so that nothing is stored.
    fn fail<T>(&self, why: Failure) -> Result<T, s3s::StdError> {
        let _ = self.0.set(why);
        Err(why.2.into())
    }
}

/// The file of a form: what is left of the body, up to the next boundary.
pub(super) struct FormFile {
    source: Source,
    between: Vec<u8>,
}

/// A file in the middle of its way.
struct Stream {
    file: FormFile,
    bounds: Bounds,
    verdict: Verdict,
    sent: u64,
    ended: bool,
}

impl FormFile {
    pub(super) fn new(source: Source, between: Vec<u8>) -> Self {
        Self { source, between }
    }

    /// The file as a body that fails when the form is cut off or the file is out of bounds.
    pub(super) fn into_body(self, bounds: Bounds, verdict: Verdict) -> Body {
        let state = Stream { file: self, bounds, verdict, sent: 0, ended: false };
        let frames = stream::try_unfold(state, |mut state| async move {
            let bytes = state.next().await?;
            Ok::<_, s3s::StdError>(bytes.map(|bytes| (Frame::data(bytes), state)))
        });
        Body::http_body_unsync(StreamBody::new(Box::pin(frames)))
    }
}

impl Stream {
    async fn next(&mut self) -> Result<Option<Bytes>, s3s::StdError> {
        while !self.ended {
            let FormFile { source, between } = &mut self.file;
            let bytes = match find(&source.buffer, between, 0) {
                Some(at) => {
                    self.ended = true;
                    source.buffer.split_to(at)
                }
                // The end of what has come may be the beginning of a boundary.
                None => source.buffer.split_to(source.buffer.len().saturating_sub(between.len())),
            };
            self.sent += bytes.len() as u64;
            if self.sent > self.bounds.most {
                return self.verdict.fail(TOO_LARGE);
            }
            if self.ended && self.sent < self.bounds.least {
                return self.verdict.fail(TOO_SMALL);
            }
            if !bytes.is_empty() {
                return Ok(Some(bytes.freeze()));
            }
            if !self.ended && !source.more().await? {
                return self.verdict.fail(CUT_OFF);
            }
        }
        Ok(None)
    }
}
