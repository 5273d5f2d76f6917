//! An answer that comes line by line, as long as it takes.

use crate::error::{Error, find_in_chain};
use crate::transport::TransportError;
use bytes::BytesMut;
use http_body_util::BodyExt;
use object_store::client::HttpResponseBody;
use serde::de::DeserializeOwned;

/// The longest line that is taken, in bytes.
const LONGEST: usize = 1 << 20;

/// The lines of an answer, one JSON document each. Dropping it ends the request.
#[derive(Debug)]
pub(crate) struct Lines {
    request: String,
    body: HttpResponseBody,
    read: BytesMut,
    /// Bytes of `read` in which there is no end of a line.
    searched: usize,
}

impl Lines {
    pub(crate) fn new(request: String, body: HttpResponseBody) -> Self {
        Self { request, body, read: BytesMut::new(), searched: 0 }
    }

    /// The next line; `None` after the last one.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
        loop {
            let end = self.read[self.searched..].iter().position(|b| *b == b'\n');
            if let Some(end) = end {
                let line = self.read.split_to(self.searched + end + 1);
                self.searched = 0;
                return serde_json::from_slice(&line).map(Some).map_err(|e| self.nonsense(e));
            }
            self.searched = self.read.len();
            if self.searched > LONGEST {
                return Err(self.nonsense("a line has no end"));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.read.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => {
                    return Err(match find_in_chain::<TransportError>(&error) {
                        Some(transport) => transport.clone().into(),
                        None => self.nonsense(error),
                    });
                }
                None if self.read.is_empty() => return Ok(None),
                None => return Err(self.nonsense("it breaks off in the middle of a line")),
            }
        }
    }

    /// The error for an answer that can't be understood.
    pub(crate) fn nonsense(&self, reason: impl ToString) -> Error {
        Error::Answer { request: self.request.clone(), reason: reason.to_string() }
    }
}
