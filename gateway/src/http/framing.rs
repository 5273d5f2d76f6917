//! aws-chunked bodies: chunks with their length, and maybe a signature, before each.
//!
//! `s3s` takes the framing off. It holds a chunk in memory until all of it is there, whatever length
//! the client gives it, reads lengths loosely, and takes a body for complete whose last chunk never
//! came. So the framing passes here first: unsigned chunks are cut into as many as there are pieces
//! of them, signed ones (whose signature covers the whole) may only be so long, and a body must end
//! as it should.

use super::body::Fault;
use super::failure::Failure;
use bytes::{Buf, Bytes};
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use s3s::{Body, StdError};
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The most bytes of a signed chunk: SDKs sign 64 KiB to 1 MiB at a time.
const MAX_SIGNED: u64 = 4 * 1024 * 1024;
/// The most bytes of the line before a chunk, and of all trailers.
const MAX_LINE: usize = 256;
const MAX_TRAILERS: usize = 16 * 1024;

const UNSIGNED: Failure = Failure(
    StatusCode::NOT_IMPLEMENTED,
    "NotImplemented",
    "aws-chunked bodies need a signature in the Authorization header; else, send the body as it is.",
);
const MALFORMED: Failure = Failure(
    StatusCode::BAD_REQUEST,
    "InvalidRequest",
    "The body is not valid aws-chunked encoding.",
);
const LONG_CHUNK: Failure = Failure(
    StatusCode::BAD_REQUEST,
    "InvalidChunkSizeError",
    "A signed chunk may have at most 4 MiB.",
);
const TRAILERS: Failure = Failure(
    StatusCode::BAD_REQUEST,
    "MalformedTrailerError",
    "The request contained trailing data that was not well-formed.",
);
const SHORT: Failure =
    Failure(StatusCode::BAD_REQUEST, "IncompleteBody", "The body ended before its last chunk.");
const LONG: Failure = Failure(
    StatusCode::BAD_REQUEST,
    "IncompleteBody",
    "The body has more bytes than x-amz-decoded-content-length says.",
);

/// How a body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// Every chunk has a signature.
    Signed,
    /// Chunks need none.
    Unsigned,
    /// In a way that only `s3s` knows of.
    Other,
}

/// The framing that a request announces, if any.
pub(super) fn announced(headers: &HeaderMap) -> Option<Framing> {
    let kind = headers.get("x-amz-content-sha256")?.as_bytes().strip_prefix(b"STREAMING-")?;
    Some(match kind {
        b"UNSIGNED-PAYLOAD-TRAILER" => Framing::Unsigned,
        b"AWS4-HMAC-SHA256-PAYLOAD" | b"AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => Framing::Signed,
        _ => Framing::Other,
    })
}

/// A request whose body, if it is framed, is framed well and in small chunks.
///
/// # Errors
/// When the framing would not be taken off: it must not be stored.
pub(super) fn guard(request: Request<Body>, fault: &Fault) -> Result<Request<Body>, Failure> {
    let headers = request.headers();
    let Some(framing) = announced(headers) else { return Ok(request) };
    let authorization = headers.get(AUTHORIZATION).map(|v| v.as_bytes());
    if !authorization.is_some_and(|a| a.starts_with(b"AWS4-HMAC-SHA256")) {
        return Err(UNSIGNED);
    }
    let length = headers.get("x-amz-decoded-content-length");
    let length = length.and_then(|v| v.to_str().ok()?.parse().ok());
    Ok(request.map(|body| {
        if body.is_end_stream() || framing == Framing::Other {
            return body;
        }
        let chunks = Chunks::new(framing == Framing::Signed, length);
        let fault = fault.clone();
        Body::http_body_unsync(Framed { body, chunks, ready: VecDeque::new(), fault })
    }))
}

/// Where in the framing a body is.
#[derive(Debug)]
enum State {
    /// In the line before a chunk.
    Line(Vec<u8>),
    /// In a chunk with so many bytes to come.
    Data(u64),
    /// In the line break after a chunk.
    Break(Vec<u8>),
    /// After the last chunk, with so many bytes gone by.
    Trailers(usize),
}

/// Follows the framing, byte by byte.
#[derive(Debug)]
struct Chunks {
    state: State,
    signed: bool,
    /// Whether the chunk at hand is cut into smaller ones.
    cut: bool,
    /// Bytes in chunks so far, and how many there may be.
    total: u64,
    most: Option<u64>,
}

impl Chunks {
    fn new(signed: bool, most: Option<u64>) -> Self {
        Self { state: State::Line(Vec::new()), signed, cut: false, total: 0, most }
    }

    /// Takes what came, and adds to `out` what is to be passed on.
    fn feed(&mut self, mut data: Bytes, out: &mut VecDeque<Bytes>) -> Result<(), Failure> {
        while !data.is_empty() {
            match &mut self.state {
                State::Line(line) => {
                    let end = data.iter().position(|b| *b == b'\n').map_or(data.len(), |n| n + 1);
                    let piece = data.split_to(end);
                    if line.len() + piece.len() > MAX_LINE {
                        return Err(MALFORMED);
                    }
                    line.extend_from_slice(&piece);
                    if line.ends_with(b"\n") {
                        let line = std::mem::take(line);
                        self.begin(line, out)?;
                    }
                }
                State::Data(left) => {
                    let take = usize::try_from(*left).unwrap_or(usize::MAX).min(data.len());
                    let piece = data.split_to(take);
                    *left -= take as u64;
                    if *left == 0 {
                        self.state = State::Break(Vec::new());
                    }
                    if self.cut {
                        out.push_back(format!("{take:x}\r\n").into());
                        out.push_back(piece);
                        out.push_back(Bytes::from_static(b"\r\n"));
                    } else {
                        out.push_back(piece);
                    }
                }
                State::Break(seen) => {
                    seen.push(data.get_u8());
                    match seen.as_slice() {
                        b"\r" => {}
                        b"\r\n" => {
                            if !self.cut {
                                out.push_back(Bytes::from_static(b"\r\n"));
                            }
                            self.state = State::Line(Vec::new());
                        }
                        _ => return Err(MALFORMED),
                    }
                }
                State::Trailers(seen) => {
                    *seen += data.len();
                    if *seen > MAX_TRAILERS {
                        return Err(TRAILERS);
                    }
                    out.push_back(std::mem::take(&mut data));
                }
            }
        }
        Ok(())
    }

    /// Begins the chunk that a line announces.
    fn begin(&mut self, line: Vec<u8>, out: &mut VecDeque<Bytes>) -> Result<(), Failure> {
        let (size, signed) = parse_line(&line).ok_or(MALFORMED)?;
        if self.signed && !signed {
            return Err(MALFORMED);
        }
        if signed && size > MAX_SIGNED {
            return Err(LONG_CHUNK);
        }
        self.total = self.total.checked_add(size).ok_or(LONG)?;
        if self.most.is_some_and(|most| self.total > most) {
            return Err(LONG);
        }
        self.cut = !signed && size > 0;
        if !self.cut {
            out.push_back(line.into());
        }
        self.state = if size == 0 { State::Trailers(0) } else { State::Data(size) };
        Ok(())
    }

    fn end(&self) -> Result<(), Failure> {
        match self.state {
            State::Trailers(_) => Ok(()),
            _ => Err(SHORT),
        }
    }
}

/// The length of a chunk and whether it has a signature, out of
/// `LENGTH[;chunk-signature=SIGNATURE]\r\n`, both in hexadecimal digits.
fn parse_line(line: &[u8]) -> Option<(u64, bool)> {
    let text = std::str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    let (size, signature) = match text.split_once(";chunk-signature=") {
        Some((size, signature)) => (size, Some(signature)),
        None => (text, None),
    };
    let hex = |text: &str| text.bytes().all(|c| c.is_ascii_hexdigit());
    if !(1..=16).contains(&size.len()) || !hex(size) {
        return None;
    }
    if signature.is_some_and(|s| s.len() != 64 || !hex(s)) {
        return None;
    }
    Some((u64::from_str_radix(size, 16).ok()?, signature.is_some()))
}

/// A framed body on its way.
struct Framed {
    body: Body,
    chunks: Chunks,
    ready: VecDeque<Bytes>,
    fault: Fault,
}

impl HttpBody for Framed {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = &mut *self;
        loop {
            if let Some(piece) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            let checked = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.chunks.feed(data, &mut this.ready),
                    Err(_) => Ok(()),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => match this.chunks.end() {
                    Ok(()) => return Poll::Ready(None),
                    Err(failure) => Err(failure),
                },
            };
            if let Err(failure) = checked {
                this.ready.clear();
                this.body = Body::empty();
                this.chunks.state = State::Trailers(0);
                return Poll::Ready(Some(Err(this.fault.raise(failure))));
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests;
