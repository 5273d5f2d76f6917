//! Clients that do as they like with few objects, and a record of what they asked and were told.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::dice::Dice;
use super::signed::{self, Between, Extras, Signed};
use coffer_client::transport::TransportError;
use coffer_core::testing::bucket::{self, Condition, Key, Request, Value};
use coffer_core::testing::history::{Operation, Outcome, Recorder};
use md5::{Digest, Md5};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What one client does in a round.
pub(crate) const OPERATIONS: u32 = 12;
/// Few objects, so that clients meet.
const KEYS: Key = 3;
/// Bytes of objects: within the manifest, in one chunk, and that of many segments.
const SIZES: [usize; 3] = [20, 3_000, 150_000];

/// As many rounds as wanted, or as are good for a test among many.
pub(crate) fn rounds(few: u32) -> u32 {
    let wanted = std::env::var("COFFER_LINEARIZE_ROUNDS").ok().and_then(|r| r.parse().ok());
    wanted.unwrap_or(few)
}

type Told = signed::Answer;

/// What happens to one bucket.
pub(crate) struct Round {
    bucket: String,
    recorder: Recorder<Request, bucket::Answer>,
    /// All contents of this round, by entity tag.
    values: HashMap<String, Value>,
    /// What each object was when a client last saw it.
    last_seen: Mutex<HashMap<Key, Value>>,
    asked: AtomicU64,
}

/// Bytes that follow from their number.
fn content(body: u32) -> Vec<u8> {
    let mut bytes = vec![0; SIZES[body as usize % SIZES.len()]];
    blake3::Hasher::new().update(&body.to_be_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn etag(value: Value) -> String {
    let whole = Md5::digest(content(value.body));
    if value.parts { format!("{:x}-1", Md5::digest(whole)) } else { format!("{whole:x}") }
}

/// What came of a write.
enum Written {
    Done,
    Refused,
    /// A copy whose source was not there, or that was not tried.
    Nothing,
    Unknown,
}

impl Written {
    fn of(answer: &Result<Told, TransportError>, condition: Condition) -> Self {
        let Ok(answer) = answer else { return Self::Unknown };
        match (answer.status.as_u16(), answer.code().as_str()) {
            (200 | 204, "") => Self::Done,
            (412, _) => Self::Refused,
            (404, "NoSuchKey") if condition != Condition::Always => Self::Refused,
            (500.., _) => Self::Unknown,
            _ => panic!("{answer:?}"),
        }
    }
}

impl Round {
    /// A round in a bucket of its own.
    pub(crate) async fn start(number: u32, s3: &Signed) -> Arc<Self> {
        let bucket = format!("round-{number}");
        assert_eq!(s3.must("PUT", &format!("/{bucket}"), Extras::default()).await.status, 200);
        let bodies = OPERATIONS * 16;
        let values = (0..bodies)
            .flat_map(|body| [false, true].map(|parts| Value { body, parts }))
            .map(|value| (etag(value), value))
            .collect();
        Arc::new(Self {
            bucket,
            recorder: Recorder::default(),
            values,
            last_seen: Mutex::default(),
            asked: AtomicU64::new(0),
        })
    }

    pub(crate) fn finish(self) -> Vec<Operation<Request, bucket::Answer>> {
        self.recorder.finish()
    }

    /// How many operations were begun.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// What one client does.
    pub(crate) async fn run(self: Arc<Self>, client: u32, s3: Signed, mut dice: Dice) {
        for n in 0..OPERATIONS {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let body = client * OPERATIONS + n;
            let key = Key::try_from(dice.below(KEYS.into())).unwrap();
            let other = (key + 1) % KEYS;
            let condition = self.condition(key, &mut dice);
            let value = Value { body, parts: false };
            let answered = match dice.below(16) {
                0..4 => self.put(client, &s3, key, value, condition).await,
                4..5 => self.upload(client, &s3, key, body, condition).await,
                5..7 => self.delete(client, &s3, key, condition).await,
                7..9 => self.copy(client, &s3, body, (other, key), condition).await,
                9..12 => self.read(client, &s3, "GET", key).await,
                12..13 => self.read(client, &s3, "HEAD", key).await,
                _ => self.list(client, &s3).await,
            };
            // Its gateway is gone: more questions would only fail.
            while !answered && s3.send("GET", "/health/live", Extras::default()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Reads and lists all there is.
    pub(crate) async fn look(&self, s3: &Signed) {
        for key in 0..KEYS {
            assert!(self.read(99, s3, "GET", key).await);
        }
        assert!(self.list(99, s3).await);
    }

    /// Often the right one, unless another client was quicker.
    fn condition(&self, key: Key, dice: &mut Dice) -> Condition {
        let seen = self.last_seen.lock().unwrap().get(&key).copied();
        match (dice.below(5), seen) {
            (0, _) => Condition::Absent,
            (1 | 2, Some(value)) => Condition::Matches(value),
            _ => Condition::Always,
        }
    }

    fn path(&self, key: Key) -> String {
        format!("/{}/key-{key}", self.bucket)
    }

    fn record(&self, client: u32, invoked: u64, input: Request, output: Option<bucket::Answer>) {
        let at = self.recorder.tick();
        let outcome = output.map_or(Outcome::Unknown, |output| Outcome::Returned { at, output });
        self.recorder.add(Operation { client, invoked, input, outcome });
    }

    /// Records a write; says whether it was answered.
    fn record_write(&self, client: u32, invoked: u64, input: Request, written: &Written) -> bool {
        let output = match written {
            Written::Done => Some(bucket::Answer::Done),
            Written::Refused => Some(bucket::Answer::Refused),
            Written::Unknown => None,
            Written::Nothing => return true,
        };
        let answered = output.is_some();
        self.record(client, invoked, input, output);
        answered
    }

    async fn put(
        &self,
        client: u32,
        s3: &Signed,
        key: Key,
        value: Value,
        condition: Condition,
    ) -> bool {
        let extras = Extras { body: content(value.body), ..conditional(condition) };
        let invoked = self.recorder.tick();
        let written = Written::of(&s3.send("PUT", &self.path(key), extras).await, condition);
        self.record_write(client, invoked, Request::Put { key, value, condition }, &written)
    }

    /// A multipart upload; what counts is its completion.
    async fn upload(
        &self,
        client: u32,
        s3: &Signed,
        key: Key,
        body: u32,
        condition: Condition,
    ) -> bool {
        let path = self.path(key);
        let Ok((query, xml)) = s3.upload(&path, content(body)).await else { return false };
        let extras = Extras { query: &query, body: xml, ..conditional(condition) };
        let invoked = self.recorder.tick();
        let written = Written::of(&s3.send("POST", &path, extras).await, condition);
        let value = Value { body, parts: true };
        self.record_write(client, invoked, Request::Put { key, value, condition }, &written)
    }

    async fn delete(&self, client: u32, s3: &Signed, key: Key, condition: Condition) -> bool {
        // Deletes know If-Match only.
        let condition = if condition == Condition::Absent { Condition::Always } else { condition };
        let invoked = self.recorder.tick();
        let answer = s3.send("DELETE", &self.path(key), conditional(condition)).await;
        let written = Written::of(&answer, condition);
        self.record_write(client, invoked, Request::Delete { key, condition }, &written)
    }

    async fn copy(
        &self,
        client: u32,
        s3: &Signed,
        copy: u32,
        (from, to): (Key, Key),
        condition: Condition,
    ) -> bool {
        let mut extras = conditional(condition);
        extras.headers.push(("x-amz-copy-source", self.path(from)));
        let invoked = self.recorder.tick();
        let answer = s3.send("PUT", &self.path(to), extras).await;
        let missing = answer.as_ref().is_ok_and(|a| a.code() == "NoSuchKey");
        let written = if missing { Written::Nothing } else { Written::of(&answer, condition) };
        let source = Request::CopyFrom { copy, key: from };
        match (&written, &answer) {
            (Written::Done, Ok(answer)) => {
                let text = answer.text().replace("&quot;", "\"");
                let value = self.value(text.between("<ETag>\"", "\"</ETag>"));
                self.record(client, invoked, source, Some(bucket::Answer::Value(Some(value))));
            }
            // With a condition it may be the target that is missing.
            (Written::Nothing, _) if condition == Condition::Always => {
                self.record(client, invoked, source, Some(bucket::Answer::Value(None)));
            }
            (Written::Unknown, _) => self.record(client, invoked, source, None),
            _ => {}
        }
        self.record_write(client, invoked, Request::CopyTo { copy, key: to, condition }, &written)
    }

    async fn read(&self, client: u32, s3: &Signed, method: &str, key: Key) -> bool {
        let invoked = self.recorder.tick();
        let Ok(answer) = s3.send(method, &self.path(key), Extras::default()).await else {
            return false;
        };
        let value = match answer.status.as_u16() {
            200 => Some(self.value(&answer.etag())),
            404 => None,
            500.. => return false,
            _ => panic!("{answer:?}"),
        };
        if let Some(value) = value.filter(|_| method == "GET") {
            assert!(answer.body == content(value.body), "the body is not what its etag says");
        }
        self.saw(key, value);
        self.record(client, invoked, Request::Read { key }, Some(bucket::Answer::Value(value)));
        true
    }

    async fn list(&self, client: u32, s3: &Signed) -> bool {
        let list = Extras { query: "list-type=2", ..Extras::default() };
        let invoked = self.recorder.tick();
        let answer = match s3.send("GET", &format!("/{}", self.bucket), list).await {
            Ok(answer) if answer.status == 200 => answer,
            Ok(answer) if answer.status.is_client_error() => panic!("{answer:?}"),
            _ => return false,
        };
        let text = answer.text().replace("&quot;", "\"");
        let objects: BTreeMap<Key, Value> = text
            .split("<Contents>")
            .skip(1)
            .map(|object| {
                let key = object.between("<Key>key-", "</Key>").parse().unwrap();
                (key, self.value(object.between("<ETag>\"", "\"</ETag>")))
            })
            .collect();
        for key in 0..KEYS {
            self.saw(key, objects.get(&key).copied());
        }
        self.record(client, invoked, Request::List, Some(bucket::Answer::Listing(objects)));
        true
    }

    fn value(&self, etag: &str) -> Value {
        *self.values.get(etag).unwrap_or_else(|| panic!("nobody wrote {etag:?}"))
    }

    fn saw(&self, key: Key, value: Option<Value>) {
        let mut seen = self.last_seen.lock().unwrap();
        match value {
            Some(value) => drop(seen.insert(key, value)),
            None => drop(seen.remove(&key)),
        }
    }
}

/// The headers of a condition.
fn conditional<'a>(condition: Condition) -> Extras<'a> {
    let header = match condition {
        Condition::Always => None,
        Condition::Absent => Some(("if-none-match", "*".to_owned())),
        Condition::Matches(value) => Some(("if-match", format!("\"{}\"", etag(value)))),
    };
    Extras { headers: header.into_iter().collect(), ..Extras::default() }
}
