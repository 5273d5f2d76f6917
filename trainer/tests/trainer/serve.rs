//! Inference over HTTP: right answers, and clear refusals of all else.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::support::{cpu, dataset, load, memory, runtime, train};
use coffer_train::checkpoint::{Selector, State};
use coffer_train::dataset::picture::{decode_grey, encode_grey, encode_rgb};
use coffer_train::dataset::{PIXELS, SIDE, synthetic};
use coffer_train::model::classifier::ClassifierConfig;
use coffer_train::serve::{Model, Server};
use coffer_train::train::{ModelConfig, Run};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A server over a small model; it ends when this is dropped.
struct Serving {
    runtime: Runtime,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn error(&self) -> String {
        self.json()["error"].as_str().unwrap().to_owned()
    }
}

/// Trains a model for `epochs` and serves it.
fn serve(epochs: u64, change: impl FnOnce(&mut Run<'_>)) -> Serving {
    let runtime = runtime();
    let place = memory();
    train(&runtime, &dataset(&runtime, &memory()), &place, epochs, change).unwrap();
    let loaded = load(&runtime, &place, Selector::Latest);
    let (config, parts) = (State::of(&loaded).unwrap().config, loaded.parts);
    let mut learner = config.learner(cpu(1)).unwrap();
    learner.load(&|name| parts.get(name).map(|content| content.to_vec())).unwrap();
    let model = Model::new(learner, config.model, loaded.entry.id);
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = runtime.block_on(Server::bind(local, model)).unwrap();
    let address = server.address().unwrap();
    let (stop, stopped) = oneshot::channel();
    let task = runtime.spawn(server.serve(async move { drop(stopped.await) }));
    Serving { runtime, address, stop, task }
}

fn classifier() -> Serving {
    serve(8, |run| {
        run.config.model = ModelConfig::Classifier(ClassifierConfig { channels: 4, hidden: 16 });
        run.config.learning_rate = 5e-3;
    })
}

impl Serving {
    /// Sends a request with `body` and reads the answer to its end.
    fn ask(&self, method: &str, target: &str, body: &[u8]) -> Answer {
        let length = body.len();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-length: {length}\r\n\r\n"
        );
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        // The server may refuse before it has read all.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: answer[end + 4..].to_vec() }
    }
}

#[test]
fn pictures_are_classified_as_png_and_raw() {
    let server = classifier();
    let health = server.ask("GET", "/health", b"");
    assert_eq!((health.status, health.json()["model"].as_str()), (200, Some("classifier")));
    assert_eq!(health.json()["checkpoint"], "step-00000104");
    let mut right = 0;
    for at in 200..240 {
        let sample = synthetic::draw(0, at);
        let raw = server.ask("POST", "/classify", sample.pixels.as_slice());
        assert_eq!(raw.status, 200, "{}", raw.head);
        let png = encode_grey(sample.pixels.as_slice(), 28, 28).unwrap();
        assert_eq!(raw.json(), server.ask("POST", "/classify", &png).json());
        let sum: f64 = raw.json()["probabilities"]
            .as_array()
            .unwrap()
            .iter()
            .map(|share| share.as_f64().unwrap())
            .sum();
        assert!((sum - 1.0).abs() < 1e-5, "{sum}");
        right += u32::from(raw.json()["class"] == sample.label);
    }
    assert!(right >= 24, "{right} of 40");
}

#[test]
fn what_is_no_picture_is_refused() {
    let server = classifier();
    let refused = |body: &[u8]| server.ask("POST", "/classify", body);
    for body in [&b""[..], &[0; PIXELS - 1], &[0; PIXELS + 1]] {
        let answer = refused(body);
        assert_eq!(answer.status, 400);
        assert!(answer.error().contains("28x28"), "{}", answer.error());
    }
    let small = encode_grey(&[0; 100], 10, 10).unwrap();
    assert!(refused(&small).error().contains("10x10"));
    let colour = encode_rgb(&[0; 3 * PIXELS], 28, 28).unwrap();
    assert_eq!(refused(&colour).status, 400);
    assert_eq!(refused(&small[..20]).status, 400);
    assert_eq!(refused(&vec![0; 100_000]).status, 413);
    let digits = server.ask("GET", "/digits", b"");
    assert_eq!((digits.status, digits.error().contains("makes no digits")), (404, true));
    let wrong = server.ask("GET", "/classify", b"");
    assert_eq!(wrong.status, 405);
    assert!(wrong.head.to_lowercase().contains("allow: post"), "{}", wrong.head);
    assert_eq!(server.ask("GET", "/", b"").status, 404);
}

#[test]
fn digits_follow_from_the_seed() {
    let server = serve(1, |_| ());
    let digits = |query: &str| server.ask("GET", &format!("/digits?{query}"), b"");
    let (one, same, other) =
        (digits("count=4&seed=7"), digits("seed=7&count=4"), digits("count=4"));
    assert_eq!(one.status, 200);
    assert!(one.head.contains("image/png"));
    assert!(one.body == same.body && one.body != other.body);
    // Two by two pictures with gaps of two pixels, at twice their size.
    let width = 2 * (2 * (SIDE + 2) + 2);
    decode_grey(&one.body, width, &mut vec![0; width * width]).unwrap();
    for query in ["count=0", "count=401", "count=x", "seed=-1", "number=3"] {
        assert_eq!(digits(query).status, 400, "{query}");
    }
    let error = server.ask("POST", "/classify", &[0; PIXELS]).error();
    assert!(error.contains("tells no classes"), "{error}");
}

#[test]
fn a_server_that_is_stopped_ends_though_connections_are_open() {
    let Serving { runtime, address, stop, task } = serve(1, |_| ());
    let idle = TcpStream::connect(address).unwrap();
    stop.send(()).unwrap();
    runtime.block_on(task).unwrap();
    assert!(TcpStream::connect(address).is_err());
    drop(idle);
}
