//! One request and its answer, timed, checked, and tried again where that is asked for.

use super::objects::tag;
use super::target::Target;
use crate::data::Check;
use crate::measure::{Failure, Moved};
use coffer_client::object_store::client::{HttpRequest, HttpResponseBody};
use coffer_client::transport::TransportError;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use std::time::{Duration, Instant};

/// Documents longer than this are not meant for us.
const DOCUMENT_LIMIT: usize = 16 << 20;
/// Pause before the first retry; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What becomes of an answer's body.
#[derive(Debug, Clone)]
pub enum Reader {
    /// It must have this length, if that is known; its bytes are dropped.
    Discard(Option<u64>),
    /// It must be what was stored.
    Verify(Check),
    /// It is kept.
    Document,
}

/// An answer that means success.
#[derive(Debug)]
pub struct Answer {
    /// Its headers.
    pub headers: HeaderMap,
    /// The body, if it was to be kept.
    pub document: String,
    /// What was moved: the body's bytes.
    pub moved: Moved,
}

/// A request's answer, or its failure, and the failures that were tried again.
#[derive(Debug)]
pub struct Exchange {
    /// What came of it in the end.
    pub result: Result<Answer, Failure>,
    /// What went wrong before.
    pub retried: Vec<Failure>,
}

impl Exchange {
    /// Sends `request`, and again up to `retries` times where the failure may pass.
    pub async fn run(
        target: &Target,
        request: HttpRequest,
        reader: Reader,
        retries: usize,
    ) -> Self {
        let begun = Instant::now();
        let mut retried = Vec::new();
        let mut pause = FIRST_PAUSE;
        loop {
            let result = attempt(target, request.clone(), reader.clone(), begun).await;
            match result {
                Err(failure) if failure.is_passing() && retried.len() < retries => {
                    retried.push(failure);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                result => return Self { result, retried },
            }
        }
    }
}

async fn attempt(
    target: &Target,
    request: HttpRequest,
    reader: Reader,
    begun: Instant,
) -> Result<Answer, Failure> {
    let response = target.pool().send(request).await.map_err(|error| Failure::from(&error))?;
    let (head, body) = response.into_parts();
    // A figure for another protocol than the one that was asked for would be a lie.
    if !target.http().is(head.version) {
        return Err(Failure::Answer);
    }
    if !head.status.is_success() {
        return Err(refusal(head.status, body).await);
    }
    // S3 can put an error into an answer that began with success.
    let mut answer = read(head.headers, body, reader, begun).await?;
    if let Some(at) = answer.document.find("<Error>") {
        let code = tag(&answer.document[at..], "Code").unwrap_or_default().to_owned();
        return Err(Failure::Refused { status: 500, code });
    }
    answer.moved.first_byte = answer.moved.first_byte.filter(|_| answer.moved.bytes > 0);
    Ok(answer)
}

async fn read(
    headers: HeaderMap,
    mut body: HttpResponseBody,
    mut reader: Reader,
    begun: Instant,
) -> Result<Answer, Failure> {
    let mut kept = Vec::new();
    let mut moved = Moved { bytes: 0, first_byte: None };
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| broken(&error))?.into_data() else { continue };
        moved.first_byte.get_or_insert_with(|| begun.elapsed());
        moved.bytes += u64::try_from(data.len()).unwrap_or(u64::MAX);
        match &mut reader {
            Reader::Discard(_) => {}
            Reader::Verify(check) => {
                if !check.take(&data) {
                    return Err(Failure::Corrupt);
                }
            }
            Reader::Document if kept.len() + data.len() <= DOCUMENT_LIMIT => {
                kept.extend_from_slice(&data);
            }
            Reader::Document => return Err(Failure::Answer),
        }
    }
    match reader {
        Reader::Discard(Some(len)) if len != moved.bytes => Err(Failure::Corrupt),
        Reader::Verify(check) if !check.is_complete() => Err(Failure::Corrupt),
        _ => {
            let document = String::from_utf8(kept).map_err(|_| Failure::Answer)?;
            Ok(Answer { headers, document, moved })
        }
    }
}

async fn refusal(status: StatusCode, body: HttpResponseBody) -> Failure {
    let body = http_body_util::Limited::new(body, DOCUMENT_LIMIT).collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    let code = tag(&String::from_utf8_lossy(&body), "Code").unwrap_or_default().to_owned();
    Failure::Refused { status: status.as_u16(), code }
}

/// The transport's own word on why a body ended, which stands somewhere in the chain of causes.
fn broken(error: &(dyn std::error::Error + 'static)) -> Failure {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<TransportError>() {
            return error.into();
        }
        cause = error.source();
    }
    Failure::Broken
}
