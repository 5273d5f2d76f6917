//! What a server does wrong is counted.

use super::server::{Faults, Server};
use super::support::{bench, only, report};
use std::collections::BTreeMap;

const KEYS: [&str; 4] = ["--access-key", "key", "--secret-key", "secret"];

fn get<'a>(server: &'a Server, more: &[&'a str]) -> Vec<&'a str> {
    let what = ["get", "--endpoint", &server.endpoint, "--size", "2KiB..70KiB"];
    let load = ["--objects", "12", "--ops", "60", "-c", "3"];
    what.iter().chain(&KEYS).chain(&load).chain(more).copied().collect()
}

fn counts(kinds: &[(&str, u64)]) -> BTreeMap<String, u64> {
    kinds.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_errors_and_not_hidden() {
    let server = Server::start(Faults { refuses_each: Some(6), ..Faults::default() }).await;
    let report = report(&get(&server, &["--check"]), 3).await;
    let get = only(&report, "get");
    assert_eq!((get.count, get.failures()), (50, 10));
    assert_eq!(get.errors, counts(&[("503 SlowDown", 10)]));
    assert!(get.failed_ms.is_some());
    let seconds: (u64, u64) =
        report.runs[0].seconds.iter().fold((0, 0), |sum, s| (sum.0 + s.0, sum.1 + s.2));
    assert_eq!(seconds, (50, 10));
    assert_eq!(server.names(), Vec::<String>::new(), "what was stored is deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_tried_again_is_told_too() {
    let server = Server::start(Faults { refuses_each: Some(6), ..Faults::default() }).await;
    let report = report(&get(&server, &["--retries", "3"]), 0).await;
    let get = only(&report, "get");
    assert_eq!((get.count, get.failures()), (60, 0));
    assert!(get.retried["503 SlowDown"] >= 10, "{:?}", get.retried);
    // A retry waits before it is sent, and that is part of the operation.
    assert!(get.latency_ms.unwrap().max >= 50.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_is_caught_by_the_check_only() {
    let faults = Faults { flips_each: Some(5), ..Faults::default() };
    let server = Server::start(faults).await;
    let checked = report(&get(&server, &["--check"]), 3).await;
    assert_eq!(only(&checked, "get").errors, counts(&[("wrong content", 12)]));
    let unchecked = report(&get(&server, &[]), 0).await;
    assert_eq!(only(&unchecked, "get").count, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_byte_is_caught_in_any_case() {
    let server = Server::start(Faults { cuts_each: Some(10), ..Faults::default() }).await;
    let report = report(&get(&server, &[]), 3).await;
    assert_eq!(only(&report, "get").errors, counts(&[("wrong content", 6)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_objects_are_used_again() {
    let server = Server::start(Faults::default()).await;
    report(&get(&server, &["--keep", "--check"]), 0).await;
    let names = server.names();
    assert_eq!(names.len(), 12);
    report(&get(&server, &["--keep", "--check"]), 0).await;
    assert_eq!(server.names(), names);
    // Others than those that are there are not mistaken for them.
    report(&get(&server, &["--seed", "2", "--check"]), 0).await;
    assert_eq!(server.names(), names);
    let clean = ["clean", "--endpoint", &server.endpoint];
    let output = bench(&clean.iter().chain(&KEYS).copied().collect::<Vec<_>>()).await;
    assert_eq!(String::from_utf8_lossy(&output.stdout), "12 objects were deleted\n");
    assert_eq!(server.names(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_use_teach() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = format!("http://{nobody}");
    let server = Server::start(Faults::default()).await;
    let cases: [(&[&str], i32, &str); 7] = [
        (&["put", "--endpoint", &nobody], 1, "is it running"),
        (&["put", "--endpoint", &server.endpoint, "--http", "2"], 2, "use --http 1.1"),
        (&["put", "--endpoint", &server.endpoint, "--size", "4 cats"], 2, "such as 4KiB"),
        (
            &["put", "--endpoint", &server.endpoint, "--sse-customer-key", "AQID"],
            2,
            "3 bytes, not 32",
        ),
        (&["put", "--endpoint", &server.endpoint, "--access-key", "k"], 2, "--secret-key"),
        (&["get", "--endpoint", &server.endpoint, "--rate", "0"], 2, "--rate 0"),
        (&["put", "--endpoint", &server.endpoint, "--server-pid", "1073741823"], 1, "no process"),
    ];
    for (args, code, hint) in cases {
        let keys: &[&str] = if args.contains(&"--access-key") { &[] } else { &KEYS };
        let args: Vec<&str> =
            args.iter().chain(keys).chain(&["--warm-up", "0s", "--ops", "1"]).copied().collect();
        let output = bench(&args).await;
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {err}");
        assert!(err.contains(hint), "{args:?}: {err}");
    }
}
