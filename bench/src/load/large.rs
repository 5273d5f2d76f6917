//! Operations of several requests: uploads in parts, and bursts.

use super::work::Work;
use crate::data::Content;
use crate::measure::{Done, Failure, Moved, Operation, Part};
use crate::s3::{Ask, Exchange, Reader, tag};
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http::Method;
use std::fmt::Write;
use std::time::Instant;

/// Making contents of at least this length is left to threads that may block.
const LARGE: u64 = 256 * 1024;

impl Work {
    /// A step of a larger operation, timed by itself.
    async fn step(
        &self,
        operation: Operation,
        key: &str,
        query: &[(&str, &str)],
        body: Bytes,
    ) -> (Part, String) {
        let begun = Instant::now();
        let stores = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let Ok(request) = self.target.request(Ask { query, body, ..Ask::new(Method::PUT, key) })
        else {
            let (took, result) = (begun.elapsed(), Err(Failure::Request));
            return (Part { operation, took, result, retried: vec![] }, String::new());
        };
        let exchange = Exchange::run(&self.target, request, Reader::Document, self.retries).await;
        let mut etag = String::new();
        let result = exchange.result.map(|answer| {
            let header = answer.headers.get(http::header::ETAG).and_then(|tag| tag.to_str().ok());
            header.unwrap_or_default().clone_into(&mut etag);
            Moved { bytes: stores, first_byte: None }
        });
        let (took, retried) = (begun.elapsed(), exchange.retried);
        (Part { operation, took, result, retried }, etag)
    }

    pub(super) async fn upload(&self, key: &str, bodies: Vec<Bytes>, parallel: usize) -> Done {
        let mut parts = Vec::new();
        let result = self.upload_parts(key, bodies, parallel, &mut parts).await;
        Done { operation: Operation::Multipart, result, retried: vec![], parts }
    }

    async fn upload_parts(
        &self,
        key: &str,
        bodies: Vec<Bytes>,
        parallel: usize,
        parts: &mut Vec<Part>,
    ) -> Result<Moved, Failure> {
        let begin = self.post(key, &[("uploads", "")], Bytes::new()).await?;
        let id = tag(&begin, "UploadId").ok_or(Failure::Answer)?.to_owned();
        let id = &id;
        let sent: Vec<(Part, String)> = stream::iter(bodies.into_iter().enumerate())
            .map(|(at, body)| async move {
                let number = (at + 1).to_string();
                let query = [("partNumber", &*number), ("uploadId", id)];
                self.step(Operation::Part, key, &query, body).await
            })
            .buffered(parallel.max(1))
            .collect()
            .await;
        let mut document = String::from("<CompleteMultipartUpload>");
        let (mut bytes, mut failed) = (0, None);
        for (at, (part, etag)) in sent.into_iter().enumerate() {
            let _ = write!(
                document,
                "<Part><PartNumber>{}</PartNumber><ETag>{etag}</ETag></Part>",
                at + 1
            );
            match &part.result {
                Ok(moved) => bytes += moved.bytes,
                Err(failure) => failed = Some(failure.clone()),
            }
            parts.push(part);
        }
        document.push_str("</CompleteMultipartUpload>");
        if let Some(failure) = failed {
            let query = [("uploadId", id.as_str())];
            let abort = Ask { query: &query, ..Ask::new(Method::DELETE, key) };
            let abort = self.target.request(abort);
            if let Ok(abort) = abort {
                Exchange::run(&self.target, abort, Reader::Document, self.retries).await;
            }
            return Err(failure);
        }
        self.post(key, &[("uploadId", id)], document.into()).await?;
        Ok(Moved { bytes, first_byte: None })
    }

    async fn post(
        &self,
        key: &str,
        query: &[(&str, &str)],
        body: Bytes,
    ) -> Result<String, Failure> {
        let request = self.target.request(Ask { query, body, ..Ask::new(Method::POST, key) });
        let request = request.map_err(|_| Failure::Request)?;
        let exchange = Exchange::run(&self.target, request, Reader::Document, self.retries).await;
        Ok(exchange.result?.document)
    }

    /// Stores `count` fresh objects, and is done when the last is acknowledged.
    pub(super) async fn burst(&self, first: u64, count: u64, parallel: usize) -> Done {
        let parts: Vec<Part> = stream::iter(first..first + count)
            .map(|number| async move {
                let body = made(self.fresh.content(number)).await;
                self.step(Operation::Put, &self.fresh.key(number), &[], body).await.0
            })
            .buffer_unordered(parallel.max(1))
            .collect()
            .await;
        // The burst is durable if all of it is.
        let bytes: Result<u64, &Failure> =
            parts.iter().map(|part| Ok(part.result.as_ref()?.bytes)).sum();
        let result = bytes.map(|bytes| Moved { bytes, first_byte: None });
        Done {
            operation: Operation::Burst,
            result: result.map_err(Clone::clone),
            retried: vec![],
            parts,
        }
    }
}

/// A content in memory.
pub(super) async fn made(content: Content) -> Bytes {
    let len = content.len();
    if len < LARGE {
        return content.bytes(0, len);
    }
    // It fails only when the runtime ends.
    tokio::task::spawn_blocking(move || content.bytes(0, len)).await.unwrap_or_default()
}
