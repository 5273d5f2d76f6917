//! The access log: one line for each request, written when its answer is sent or given up.
//!
//! Queries and headers are left out: a presigned URL carries its signature there.

use http::header::CONTENT_LENGTH;
use http::{Method, Request, Response, StatusCode, Version};
use s3s::Body;
use std::sync::Arc;
use std::time::Instant;

/// The `target` of access log lines, for filters.
pub const TARGET: &str = "coffer::access";

/// How the sending of an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Not yet, or the client went away.
    Open,
    /// All of it was sent.
    Whole,
    /// It could not be produced in full.
    Broken,
}

/// What is logged of a request. Logs itself when dropped.
#[derive(Debug)]
pub(super) struct Record {
    id: Arc<str>,
    method: Method,
    path: String,
    version: Version,
    started: Instant,
    who: Option<String>,
    status: StatusCode,
    /// Bytes of body that the answer promises, if it does.
    promised: Option<u64>,
    bytes: u64,
    end: End,
}

impl Record {
    pub(super) fn begin(id: Arc<str>, request: &Request<Body>) -> Self {
        Self {
            id,
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            version: request.version(),
            started: Instant::now(),
            who: None,
            status: StatusCode::default(),
            promised: None,
            bytes: 0,
            end: End::Open,
        }
    }

    /// Who was found to ask, and what is answered.
    pub(super) fn answered(&mut self, who: Option<String>, response: &Response<Body>) {
        self.who = who;
        self.status = response.status();
        self.promised = match self.method {
            Method::HEAD => Some(0),
            _ => response.headers().get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok()),
        };
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    pub(super) fn ended(&mut self) {
        self.end = End::Whole;
    }

    pub(super) fn broken(&mut self) {
        self.end = End::Broken;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        // Once all promised bytes are out, nobody asks a body whether it has ended.
        let whole = self.end == End::Whole || self.promised == Some(self.bytes);
        let outcome = match self.end {
            _ if whole => "whole",
            End::Broken => "broken",
            _ => "client-gone",
        };
        tracing::info!(
            target: TARGET,
            request = &*self.id,
            method = %self.method,
            path = self.path,
            version = ?self.version,
            status = self.status.as_u16(),
            bytes = self.bytes,
            ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            who = self.who.as_deref().unwrap_or("-"),
            outcome,
        );
    }
}
