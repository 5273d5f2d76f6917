//! A request and its answer, as the server sees them.

use super::frame::{self, PREFIX, Prefix};
use super::{HeaderError, SIGN_OF_LIFE, Stream};
use bytes::Bytes;
use coffer_core::wire::{self, WireError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::pin::pin;
use std::task::Poll;

/// Bytes of a refused request that are read, and thrown away, so that its connection can be used
/// again; with more, it is closed.
const DRAINED: u32 = 64 << 20;
/// Bytes that are thrown away at a time.
const PIECE: u32 = 256 << 10;

/// A request or its answer could not be brought across.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The request has no header, or the answer can have none.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// Whoever has asked no longer waits.
    #[error("the caller is gone")]
    Gone,
}

impl From<WireError> for Broken {
    fn from(error: WireError) -> Self {
        Self::Header(error.into())
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub struct Exchange<'a> {
    stream: &'a mut Stream,
    header: u32,
    /// Bytes of payload that have not been read.
    payload: u32,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(stream: &'a mut Stream, prefix: [u8; PREFIX]) -> Self {
        let Prefix { header, payload } = Prefix::from_bytes(prefix);
        Self { stream, header, payload }
    }

    /// Bytes of the request's header, if they are within a limit: known before anything is allocated.
    ///
    /// # Errors
    /// [`WireError::TooLong`].
    pub fn header_len(&self, limit: u32) -> Result<u32, WireError> {
        wire::check_len(self.header, limit)
    }

    /// Reads the request's header, which must be read first.
    ///
    /// # Errors
    /// [`HeaderError`].
    pub async fn header<T: DeserializeOwned>(&mut self, limit: u32) -> Result<T, HeaderError> {
        let len = self.header_len(limit)?;
        frame::header(self.stream, len).await
    }

    /// Bytes of the request's payload.
    pub fn payload_len(&self) -> u32 {
        self.payload
    }

    /// Reads the request's payload.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn payload(&mut self) -> Result<Bytes, Broken> {
        let payload = self.stream.read(self.payload).await?;
        self.payload = 0;
        Ok(payload)
    }

    /// Does something that may take its time, and says meanwhile that it is being done.
    ///
    /// # Errors
    /// When the connection breaks. The work goes on until it is done all the same.
    pub async fn working<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Broken> {
        let mut work = pin!(work);
        loop {
            if let Ok(done) = tokio::time::timeout(SIGN_OF_LIFE, work.as_mut()).await {
                return Ok(done);
            }
            if let Err(error) = self.sign_of_life().await {
                work.await;
                return Err(error);
            }
        }
    }

    /// As [`Exchange::working`], but ends when the caller no longer waits. Only for requests without a
    /// payload, or whose payload has been read.
    ///
    /// # Errors
    /// [`Broken::Gone`]; when the connection breaks.
    pub async fn working_while_wanted<T>(
        &mut self,
        work: impl Future<Output = T>,
    ) -> Result<T, Broken> {
        let mut work = pin!(work);
        loop {
            let done = tokio::time::timeout(
                SIGN_OF_LIFE,
                std::future::poll_fn(|cx| {
                    if let Poll::Ready(done) = work.as_mut().poll(cx) {
                        return Poll::Ready(Some(done));
                    }
                    // Nothing more comes before an answer, but for the end.
                    self.stream.poll_read(cx, &mut [0]).map(|_| None)
                }),
            );
            match done.await {
                Ok(Some(done)) => return Ok(done),
                Ok(None) => return Err(Broken::Gone),
                Err(_) => self.sign_of_life().await?,
            }
        }
    }

    async fn sign_of_life(&mut self) -> Result<(), Broken> {
        let sign = Bytes::from_owner(Prefix::SIGN_OF_LIFE.to_bytes());
        Ok(self.stream.write(vec![sign]).await?)
    }

    /// Answers. What was not read of the request's payload is read now.
    ///
    /// # Errors
    /// When the header is over its limit, or the connection breaks.
    pub async fn answer<T: Serialize>(
        mut self,
        header: &T,
        payload: Bytes,
        limit: u32,
    ) -> Result<(), Broken> {
        let head = frame::encode(header, payload.len(), limit)?;
        self.stream.write(vec![head.into(), payload]).await?;
        if self.payload > DRAINED {
            return Err(Broken::Gone);
        }
        while self.payload > 0 {
            let piece = self.payload.min(PIECE);
            self.stream.read(piece).await?;
            self.payload -= piece;
        }
        Ok(())
    }
}
