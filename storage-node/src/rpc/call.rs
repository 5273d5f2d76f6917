//! A request and its answer, as the client sees them.

use super::frame::{self, PREFIX, Prefix};
use super::stream::{Outgoing, silent};
use super::{HeaderError, SILENCE, Stream};
use bytes::Bytes;
use coffer_core::wire;
use serde::de::DeserializeOwned;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// The most that an answer may have.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of its header.
    pub header: u32,
    /// Bytes of its payload.
    pub payload: u32,
}

/// A request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It was not sent in full: it can't have had an effect.
    #[error("{0}")]
    NotSent(String),
    /// It was sent: it may have had one.
    #[error("{0}")]
    NoAnswer(String),
    /// No answer in time.
    #[error("not within {} ms", .within.as_millis())]
    Late {
        /// How long was waited.
        within: Duration,
        /// Whether it was sent in full.
        sent: bool,
    },
}

/// How an exchange has failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The connection ended before anything of an answer came, as one does that the server has closed
    /// while nobody used it.
    #[error("the connection was closed: {0}")]
    Closed(io::Error),
    /// The connection broke, or nothing came.
    #[error("{0}")]
    Broken(io::Error),
    /// What came is no answer.
    #[error("it answers out of turn: {0}")]
    NoAnswer(String),
}

impl From<HeaderError> for Failure {
    fn from(error: HeaderError) -> Self {
        match error {
            HeaderError::Read(error) => Self::Broken(error),
            HeaderError::Wire(error) => Self::NoAnswer(error.to_string()),
        }
    }
}

/// One exchange on a connection. `sent` is set when the request has left in full.
///
/// Returns the answer, and whether the connection may be used again.
pub(super) async fn exchange<T: DeserializeOwned>(
    stream: &mut Stream,
    request: Vec<Bytes>,
    limits: Limits,
    sent: &mut bool,
) -> Result<(T, Bytes, bool), Failure> {
    let mut outgoing = Outgoing::new(request);
    let prefix = answered(stream, &mut outgoing, sent).await?;
    let header = wire::check_len(prefix.header, limits.header)
        .map_err(|error| Failure::NoAnswer(error.to_string()))?;
    if prefix.payload > limits.payload {
        return Err(Failure::NoAnswer(format!("it announces {} bytes", prefix.payload)));
    }
    let header = frame::header(stream, header).await?;
    let payload = stream.read(prefix.payload).await.map_err(Failure::Broken)?;
    Ok((header, payload, outgoing.has_left()))
}

/// Writes a request until an answer begins: a server that refuses does not wait for the rest.
async fn answered(
    stream: &mut Stream,
    outgoing: &mut Outgoing,
    sent: &mut bool,
) -> Result<Prefix, Failure> {
    let mut answer = Incoming::default();
    // Moved only when it has run out: that is seldom, and what it measures moves all the time.
    let mut patience = pin!(tokio::time::sleep(SILENCE));
    let mut last = Instant::now();
    std::future::poll_fn(|cx| {
        // A server may have answered although it no longer reads, so that writing fails.
        let mut unwritten = None;
        while !outgoing.has_left() {
            match stream.poll_write(cx, outgoing) {
                Poll::Ready(Ok(all)) => {
                    *sent |= all;
                    last = Instant::now();
                }
                Poll::Ready(Err(error)) => {
                    unwritten = Some(error);
                    break;
                }
                Poll::Pending => break,
            }
        }
        match answer.poll(stream, cx, &mut last) {
            Poll::Ready(Ok(prefix)) => return Poll::Ready(Ok(prefix)),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(answer.failure(error))),
            Poll::Pending => {}
        }
        if let Some(error) = unwritten {
            return Poll::Ready(Err(answer.failure(error)));
        }
        while patience.as_mut().poll(cx).is_ready() {
            if last.elapsed() >= SILENCE {
                return Poll::Ready(Err(Failure::Broken(silent())));
            }
            patience.as_mut().reset(last + SILENCE);
        }
        Poll::Pending
    })
    .await
}

/// The beginning of an answer, as far as it has come.
#[derive(Debug, Default)]
struct Incoming {
    prefix: [u8; PREFIX],
    filled: usize,
    /// Whether anything has come at all.
    heard: bool,
}

impl Incoming {
    /// The first prefix that is no mere sign of life.
    fn poll(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
        last: &mut Instant,
    ) -> Poll<io::Result<Prefix>> {
        loop {
            let rest = self.prefix.get_mut(self.filled..).unwrap_or_default();
            match stream.poll_read(cx, rest) {
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                Poll::Ready(Ok(read)) => self.filled += read,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
            self.heard = true;
            *last = Instant::now();
            if self.filled == PREFIX {
                self.filled = 0;
                let prefix = Prefix::from_bytes(self.prefix);
                if prefix != Prefix::SIGN_OF_LIFE {
                    return Poll::Ready(Ok(prefix));
                }
            }
        }
    }

    fn failure(&self, error: io::Error) -> Failure {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        let closed = matches!(
            error.kind(),
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
        );
        if closed && !self.heard { Failure::Closed(error) } else { Failure::Broken(error) }
    }
}
