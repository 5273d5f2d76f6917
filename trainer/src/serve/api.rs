//! Requests and their answers.

use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderValue, RETRY_AFTER};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde::Serialize;

use super::model::{Failure, Model};
use crate::dataset::picture::decode_grey;
use crate::dataset::{CLASSES, PIXELS, SIDE};
use crate::http::{self as server, Answer};
use crate::report::grid;
use crate::seeded::Draws;

/// Largest body of a request, in bytes; a picture as PNG takes a thousand.
const BODY_LIMIT: usize = 64 * 1024;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Most digits in one picture.
const MAX_DIGITS: usize = 400;
/// Digits in a picture unless the request says how many.
const DIGITS: usize = 100;
/// First bytes of every PNG.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// A request that gets no other answer than this.
struct Refusal {
    status: StatusCode,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Busy => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests wait: try again")
            }
            Failure::Learner(error) => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
            }
            Failure::Broken => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the computation was broken off")
            }
        }
    }
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    model: &'static str,
    checkpoint: String,
}

#[derive(Serialize)]
struct Classified {
    class: usize,
    probabilities: Vec<f32>,
}

#[derive(Serialize)]
struct Refused<'a> {
    error: &'a str,
}

/// Answers one request.
pub(super) async fn answer(model: &Model, request: Request<Incoming>) -> Answer {
    let allowed = match request.uri().path() {
        "/health" | "/digits" => Method::GET,
        "/classify" => Method::POST,
        _ => {
            let known = "nothing is here: GET /health, POST /classify, GET /digits?count=N&seed=S";
            return refuse(&Refusal::new(StatusCode::NOT_FOUND, known));
        }
    };
    if *request.method() != allowed {
        let message = format!("use {allowed} for this");
        let answer = refuse(&Refusal::new(StatusCode::METHOD_NOT_ALLOWED, message));
        return server::allowing(answer, &allowed);
    }
    let answered = match request.uri().path() {
        "/health" => Ok(json(
            StatusCode::OK,
            &Health {
                status: "ok",
                model: model.kind.name(),
                checkpoint: model.checkpoint.to_string(),
            },
        )),
        "/digits" => digits(model, request.uri().query().unwrap_or_default()).await,
        _ => classify(model, request.into_body()).await,
    };
    answered.unwrap_or_else(|refusal| refuse(&refusal))
}

async fn classify(model: &Model, body: Incoming) -> Result<Answer, Refusal> {
    let pixels = picture(&read(body).await?)?;
    let probabilities = model.ask(move |learner| learner.classify(&pixels)).await?;
    let probabilities = probabilities.ok_or_else(|| unable(model, "tells no classes"))?;
    let best = probabilities.iter().take(CLASSES.into()).enumerate();
    let class = best.max_by(|one, other| one.1.total_cmp(other.1)).map_or(0, |(class, _)| class);
    Ok(json(StatusCode::OK, &Classified { class, probabilities }))
}

async fn digits(model: &Model, query: &str) -> Result<Answer, Refusal> {
    let (mut count, mut seed) = (DIGITS, 0);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "count" => {
                let found = value.parse().ok().filter(|count| (1..=MAX_DIGITS).contains(count));
                count = found.ok_or_else(|| {
                    Refusal::bad(format!("count must be a number from 1 to {MAX_DIGITS}"))
                })?;
            }
            "seed" => {
                seed = value
                    .parse()
                    .map_err(|_| Refusal::bad("seed must be a number from 0 to 2^64 - 1"))?;
            }
            other => {
                return Err(Refusal::bad(format!("no parameter {other:?}: use count, seed")));
            }
        }
    }
    let made = model.ask(move |learner| learner.pictures(Draws::pictures(seed, count))).await?;
    let made = made.ok_or_else(|| unable(model, "makes no digits"))?;
    let side = (1..=count).find(|side| side * side >= count).unwrap_or(1);
    let png = grid(&made, side)
        .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(server::answer(StatusCode::OK, "image/png", png))
}

/// The whole body of a request.
async fn read(body: Incoming) -> Result<Bytes, Refusal> {
    let collected = Limited::new(body, BODY_LIMIT).collect();
    let Ok(collected) = tokio::time::timeout(BODY_TIMEOUT, collected).await else {
        return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the picture didn't arrive in time"));
    };
    collected.map(http_body_util::Collected::to_bytes).map_err(|error| {
        if error.is::<LengthLimitError>() {
            let message = format!("a picture takes at most {BODY_LIMIT} bytes");
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message)
        } else {
            Refusal::bad(format!("the picture can't be read: {error}"))
        }
    })
}

/// The pixels of a picture that was sent as PNG, or as they are.
fn picture(body: &[u8]) -> Result<Vec<u8>, Refusal> {
    if !body.starts_with(PNG) {
        return if body.len() == PIXELS {
            Ok(body.to_vec())
        } else {
            let found = body.len();
            Err(Refusal::bad(format!(
                "send a {SIDE}x{SIDE} 8-bit grey PNG, or {PIXELS} bytes, 0 for background and 255 \
                 for ink: these are {found} bytes and no PNG"
            )))
        };
    }
    let mut pixels = vec![0; PIXELS];
    decode_grey(body, SIDE, &mut pixels).map_err(|error| Refusal::bad(error.to_string()))?;
    Ok(pixels)
}

fn unable(model: &Model, what: &str) -> Refusal {
    let message = format!("the model that is served, a {}, {what}", model.kind.name());
    Refusal::new(StatusCode::NOT_FOUND, message)
}

fn refuse(refusal: &Refusal) -> Answer {
    let mut answer = json(refusal.status, &Refused { error: &refusal.message });
    if refusal.status == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}

fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    // These types have no value that can't be written.
    let content = serde_json::to_vec(value).unwrap_or_default();
    server::answer(status, "application/json", content)
}
