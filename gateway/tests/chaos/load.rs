//! Clients that never stop, and know what they must be told.
//!
//! Each object belongs to one client, which does one thing at a time, each over another gateway or
//! protocol. So every answer can be held against all that the object may be.

use super::ledger::{Body, Entry, State};
use super::support::dice::Dice;
use super::support::signed::{Answer, Between, Extras, Signed};
use super::tally::{Outcome, Tally};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub(crate) const BUCKET: &str = "data";
const CLIENTS: u64 = 8;
/// Objects of each client: a few that change all the time, and others that seldom do, so that there
/// is something to lose.
const BUSY: usize = 4;
const KEYS: usize = 12;
/// When a client takes its request for lost, and turns to another gateway; and how much later that is
/// for each MiB that it sends or expects.
const PATIENCE: Duration = Duration::from_secs(3);
const PATIENCE_PER_MIB: Duration = Duration::from_secs(1);
/// While nothing has gone wrong yet, a client waits.
const NO_HURRY: Duration = Duration::from_secs(45);
/// How long a client passes over a gateway that has failed it.
const PASS_OVER: Duration = Duration::from_secs(5);
/// The least that all parts of an upload but the last may have.
const PART: usize = 5 * 1024 * 1024;

/// A way to the cluster.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) gateway: usize,
    /// For messages.
    pub(crate) name: String,
    pub(crate) signed: Signed,
}

/// The clients.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    clients: tokio::task::JoinSet<Client>,
}

impl Load {
    /// Clients that have written all their objects, and go on.
    pub(crate) async fn start(doors: &[Door], tally: &Arc<Tally>, dice: &mut Dice) -> Self {
        let clients = (0..CLIENTS).map(|number| {
            let keys = (0..KEYS).map(|n| Entry::new(format!("{number}/{n}")));
            let client = Client {
                number,
                bodies: 0,
                keys: keys.collect(),
                doors: doors.to_vec(),
                failed: HashMap::new(),
                patience: NO_HURRY,
                tally: tally.clone(),
                dice: dice.fork(),
            };
            client.begin()
        });
        let clients = futures::future::join_all(clients).await.into_iter();
        tally.start_clock();
        let stop = Arc::new(AtomicBool::new(false));
        Self { clients: clients.map(|client| client.run(stop.clone())).collect(), stop }
    }

    /// Waits for something else to end. Fails as soon as a client does.
    pub(crate) async fn beside<T>(&mut self, other: impl Future<Output = T>) -> T {
        tokio::select! {
            ended = self.clients.join_next() => match ended.unwrap() {
                Ok(_) => unreachable!("clients end when they are told to"),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
            done = other => done,
        }
    }

    /// Lets the clients end what they are about.
    pub(crate) async fn end(self) -> Vec<Client> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.join_all().await
    }
}

/// A client, and its objects.
pub(crate) struct Client {
    number: u64,
    bodies: u64,
    keys: Vec<Entry>,
    doors: Vec<Door>,
    /// When each gateway last failed it.
    failed: HashMap<usize, Instant>,
    patience: Duration,
    tally: Arc<Tally>,
    dice: Dice,
}

/// An answer, or why there is none that means anything.
type Asked = Result<Answer, String>;

impl Client {
    /// Writes all its objects.
    async fn begin(mut self) -> Self {
        for at in 0..KEYS {
            let outcome = if at % 8 == 0 { self.upload(at).await } else { self.put(at).await };
            assert_eq!(outcome, Outcome::Done, "nothing has gone wrong yet");
        }
        self.patience = PATIENCE;
        self
    }

    async fn run(mut self, stop: Arc<AtomicBool>) -> Self {
        while !stop.load(Ordering::Relaxed) {
            let any = self.dice.below(KEYS as u64) as usize;
            let at = if self.dice.below(16) == 0 { any } else { any % BUSY };
            let outcome = match self.dice.below(32) {
                0..12 => self.put(at).await,
                12..13 => self.upload(at).await,
                13..16 => self.delete(at).await,
                16..23 => self.get(any).await,
                23..29 => self.get_range(any).await,
                _ => self.list().await,
            };
            if outcome != Outcome::Done {
                tokio::time::sleep(Duration::from_millis(20 + self.dice.below(200))).await;
            }
        }
        self
    }

    /// Another body: within the manifest, in one chunk, of many segments, rarely of several chunks.
    fn body(&mut self) -> Body {
        self.bodies += 1;
        let number = self.number << 32 | self.bodies;
        let len = match self.dice.below(16) {
            0..5 => 20,
            5..9 => 3_000,
            9..15 => 150_000,
            _ => 5_000_000,
        };
        Body { number, len: len + (self.bodies % 997) as usize }
    }

    fn path(&self, at: usize) -> String {
        format!("/{BUCKET}/{}", self.keys[at].key)
    }

    /// The most bytes that an object may have.
    fn longest(&self, at: usize) -> usize {
        let bodies = self.keys[at].possible().into_iter().flatten();
        bodies.map(|body| body.len).max().unwrap_or(0)
    }

    /// Asks through one of the doors. What is no answer to count on is an error.
    async fn ask(&mut self, method: &str, path: &str, extras: Extras<'_>) -> (Asked, String) {
        let bytes = extras.body.len();
        self.ask_for(bytes, method, path, extras).await
    }

    /// As [`Client::ask`], for so many bytes that are to move.
    async fn ask_for(
        &mut self,
        bytes: usize,
        method: &str,
        path: &str,
        extras: Extras<'_>,
    ) -> (Asked, String) {
        let Door { gateway, name, signed } = self.door();
        let within = self.patience + PATIENCE_PER_MIB * (bytes >> 20) as u32;
        let asked = tokio::time::timeout(within, signed.send(method, path, extras)).await;
        let asked = match asked {
            Err(_) => Err("no answer in time".into()),
            Ok(Err(error)) => Err(error.to_string()),
            Ok(Ok(answer)) => match (answer.status.as_u16(), answer.code().as_str()) {
                // The gateway stood still and takes the client for the one who did.
                (500.., _) | (_, "RequestTimeout" | "InternalError" | "ServiceUnavailable") => {
                    Err(format!("{} {}", answer.status, answer.code()))
                }
                _ => Ok(answer),
            },
        };
        if asked.is_err() {
            self.failed.insert(gateway, Instant::now());
        }
        (asked, name)
    }

    /// One of the doors, rather not to a gateway that has just failed.
    fn door(&mut self) -> Door {
        let failed = |at: Option<&Instant>| at.is_some_and(|at| at.elapsed() < PASS_OVER);
        let well = self.doors.iter().filter(|door| !failed(self.failed.get(&door.gateway)));
        let well: Vec<&Door> = well.collect();
        if well.is_empty() {
            return self.dice.pick(&self.doors).clone();
        }
        (*self.dice.pick(&well)).clone()
    }

    /// Judges the answer to a write that makes an object what `state` is.
    fn wrote(
        &mut self,
        name: &'static str,
        at: usize,
        state: State,
        (asked, door): (Asked, String),
    ) -> Outcome {
        let entry = &mut self.keys[at];
        let outcome = match asked {
            Ok(answer) if matches!(answer.status.as_u16(), 200 | 204) => {
                entry.acknowledged(state, &door);
                Outcome::Done
            }
            Ok(answer) => entry.impossible(&format!("{name} answered {answer:?} by {door}")),
            Err(why) => {
                entry.doubtful(state, &format!("{why} ({door})"));
                Outcome::InDoubt
            }
        };
        self.tally.operation(name, true, outcome);
        outcome
    }

    async fn put(&mut self, at: usize) -> Outcome {
        let body = self.body();
        let extras = Extras { body: body.bytes(), ..Extras::default() };
        let asked = self.ask("PUT", &self.path(at), extras).await;
        let name = match body.len {
            0..1_024 => "put, in the manifest",
            1_024..4_000_000 => "put, one chunk",
            _ => "put, several chunks",
        };
        self.wrote(name, at, Some(body), asked)
    }

    async fn delete(&mut self, at: usize) -> Outcome {
        let asked = self.ask("DELETE", &self.path(at), Extras::default()).await;
        self.wrote("delete", at, None, asked)
    }

    /// An upload of two parts; what counts is its completion.
    async fn upload(&mut self, at: usize) -> Outcome {
        let mut body = self.body();
        body.len += PART;
        let path = self.path(at);
        let Some(id) = self.begin_upload(at, &path).await else { return Outcome::Unavailable };
        let (bytes, mut list) = (body.bytes(), String::new());
        for (number, part) in [(1, &bytes[..PART]), (2, &bytes[PART..])] {
            let query = format!("partNumber={number}&uploadId={id}");
            let extras = Extras { query: &query, body: part.to_vec(), ..Extras::default() };
            let Some(answer) = self.step("upload of a part", at, "PUT", &path, extras).await else {
                return Outcome::Unavailable;
            };
            let etag = answer.etag();
            list += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
        }
        let list = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
        let query = format!("uploadId={id}");
        let extras = Extras { query: &query, body: list.into_bytes(), ..Extras::default() };
        let asked = self.ask("POST", &path, extras).await;
        self.wrote("completion of an upload", at, Some(body), asked)
    }

    async fn begin_upload(&mut self, at: usize, path: &str) -> Option<String> {
        let extras = Extras { query: "uploads", ..Extras::default() };
        let begun = self.step("begin of an upload", at, "POST", path, extras).await?;
        Some(begun.text().between("<UploadId>", "</UploadId>").to_owned())
    }

    /// A step that changes no object.
    async fn step(
        &mut self,
        name: &'static str,
        at: usize,
        method: &str,
        path: &str,
        extras: Extras<'_>,
    ) -> Option<Answer> {
        let (asked, door) = self.ask(method, path, extras).await;
        let outcome = if asked.is_ok() { Outcome::Done } else { Outcome::Unavailable };
        self.tally.operation(name, true, outcome);
        let answer = asked.ok()?;
        if answer.status != 200 {
            self.keys[at].impossible(&format!("{name} answered {answer:?} by {door}"));
        }
        Some(answer)
    }

    async fn get(&mut self, at: usize) -> Outcome {
        let (path, len) = (self.path(at), self.longest(at));
        let (asked, door) = self.ask_for(len, "GET", &path, Extras::default()).await;
        let outcome = self.read(at, asked, &door);
        self.tally.operation("get", false, outcome);
        outcome
    }

    /// Judges the answer to a read of a whole object.
    fn read(&mut self, at: usize, asked: Asked, door: &str) -> Outcome {
        let entry = &mut self.keys[at];
        let answer = match asked {
            Ok(answer) => answer,
            Err(_) => return Outcome::Unavailable,
        };
        let fits = |state: &State| match state {
            Some(body) => answer.status == 200 && answer.body == body.bytes(),
            None => answer.status == 404 && answer.code() == "NoSuchKey",
        };
        match entry.possible().into_iter().find(fits) {
            Some(state) => entry.saw(state, door),
            None => entry.impossible(&described(&answer, door)),
        }
        Outcome::Done
    }

    async fn get_range(&mut self, at: usize) -> Outcome {
        let len = self.keys[at].current().map_or(1_000, |body| body.len) as u64;
        let first = self.dice.below(len) as usize;
        let end = first + 1 + self.dice.below(70_000) as usize;
        let headers = vec![("range", format!("bytes={first}-{}", end - 1))];
        let (asked, door) =
            self.ask("GET", &self.path(at), Extras { headers, ..Extras::default() }).await;
        let entry = &self.keys[at];
        let outcome = match asked {
            Err(_) => Outcome::Unavailable,
            Ok(answer) => {
                // A few bytes may be those of several bodies, so nothing is learned.
                let fits = |state: &State| match state {
                    Some(body) if body.len <= first => answer.status == 416,
                    Some(body) => {
                        let end = end.min(body.len);
                        answer.status == 206 && answer.body == body.bytes()[first..end]
                    }
                    None => answer.status == 404 && answer.code() == "NoSuchKey",
                };
                if !entry.possible().iter().any(fits) {
                    let what = format!("{}, for {first}..{end}", described(&answer, &door));
                    entry.impossible(&what);
                }
                Outcome::Done
            }
        };
        self.tally.operation("get of a range", false, outcome);
        outcome
    }

    async fn list(&mut self) -> Outcome {
        let query = format!("list-type=2&prefix={}%2F", self.number);
        let extras = Extras { query: &query, ..Extras::default() };
        let (asked, door) = self.ask("GET", &format!("/{BUCKET}"), extras).await;
        let outcome = match asked {
            Err(_) => Outcome::Unavailable,
            Ok(answer) => {
                assert_eq!(answer.status, 200, "{answer:?}");
                self.listed(&answer.text(), &door);
                Outcome::Done
            }
        };
        self.tally.operation("list", false, outcome);
        outcome
    }

    /// Judges a listing by the sizes in it.
    fn listed(&mut self, text: &str, door: &str) {
        let objects = text.split("<Contents>").skip(1).map(|object| {
            let size = object.between("<Size>", "</Size>").parse::<usize>().unwrap();
            (object.between("<Key>", "</Key>"), size)
        });
        let mut sizes: std::collections::BTreeMap<&str, usize> = objects.collect();
        for entry in &mut self.keys {
            let size = sizes.remove(entry.key.as_str());
            let mut fitting = entry.possible();
            fitting.retain(|state| state.map(|body| body.len) == size);
            match fitting[..] {
                [] => entry.impossible(&format!("a size of {size:?} in a listing ({door})")),
                [state] => entry.saw(state, door),
                // Several have this size.
                _ => {}
            }
        }
        assert!(sizes.is_empty(), "nobody wrote {sizes:?}");
    }

    /// Reads all objects back and lists them: with all faults gone, there is an answer each time.
    /// Returns how many objects there are.
    pub(crate) async fn audit(&mut self) -> usize {
        self.patience = NO_HURRY;
        for at in 0..KEYS {
            let path = self.path(at);
            let mut tries = 0;
            loop {
                let (asked, door) = self.ask("GET", &path, Extras::default()).await;
                let why = asked.as_ref().err().cloned().unwrap_or_default();
                if self.read(at, asked, &door) == Outcome::Done {
                    break;
                }
                // A node that has just gone is found out by the first who ask.
                tries += 1;
                assert!(tries < 20, "{path} can't be read any more: {why}");
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        }
        assert_eq!(self.list().await, Outcome::Done, "the bucket can't be listed any more");
        self.keys.iter().filter(|entry| entry.current().is_some()).count()
    }
}

fn described(answer: &Answer, door: &str) -> String {
    let (status, code, len) = (answer.status, answer.code(), answer.body.len());
    format!("{status} {code} with {len} bytes by {door}")
}
