//! The `coffer` program as a user or a script sees it: output, exit codes, signals.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

mod support {
    pub(crate) mod place;
    pub(crate) mod s3;
}

use serde_json::Value;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use support::place::{Place, text};

const PART: usize = 8 * 1024 * 1024;

#[test]
fn a_working_day() {
    let place = Place::new();
    place.write("set/a.txt", b"alpha");
    place.write("set/sub/b c.bin", &vec![7; 2 * PART + 1]);
    assert_eq!(place.ok(&["mb", "s3://data"]), "made: s3://data\n");
    place.ok(&["cp", "--recursive", "set", "s3://data/sets/one"]);
    assert_eq!(place.ok(&["cat", "s3://data/sets/one/a.txt", "--range", "1-2"]), "lp");
    assert!(place.ok(&["ls", "s3://data/sets/one/"]).contains("PRE  sub/"));
    let long = place.ok(&["ls", "-r", "s3://data", "--summarize", "--human-readable"]);
    assert!(long.contains("sets/one/sub/b c.bin") && long.contains("Total objects: 2"), "{long}");
    assert!(place.ok(&["stat", "s3://data/sets/one/a.txt"]).contains("text/plain"));

    place.ok(&["cp", "s3://data/sets/one/a.txt", "s3://data/copy/"]);
    assert_eq!(place.server.get("data", "copy/a.txt").unwrap().data, "alpha");
    place.ok(&["cp", "-r", "s3://data/sets", "s3://data/again", "--exclude", "*.bin"]);
    place.ok(&["cp", "-r", "s3://data/sets/one", "back"]);
    assert_eq!(std::fs::read(place.path("back/sub/b c.bin")).unwrap(), vec![7; 2 * PART + 1]);
    place.ok(&["cp", "s3://data/again/one/a.txt", "./"]);
    assert_eq!(std::fs::read(place.path("a.txt")).unwrap(), b"alpha");

    assert!(place.ok(&["rm", "-r", "s3://data/sets", "--dry-run"]).contains("would delete"));
    place.ok(&["rm", "s3://data/copy/a.txt"]);
    place.ok(&["rm", "-r", "s3://data/sets"]);
    assert_eq!(place.server.state().objects.len(), 1);
    assert_eq!(place.code(&["rb", "s3://data"]), 1, "it is not empty");
    place.ok(&["rb", "s3://data", "--force"]);
    assert!(place.server.state().buckets.is_empty());
}

#[test]
fn exit_codes_are_as_documented() {
    let place = Place::new();
    place.server.put("data", "k", "x");
    for (args, code) in [
        (&["nonsense"][..], 2),
        (&["cp", "a", "b"], 2),
        (&["cp", "s3://data/", "x"], 2),
        (&["rm", "s3://data/"], 2),
        (&["--profile", "nope", "ls", "s3://data"], 2),
        (&["cat", "s3://data/nope"], 3),
        (&["ls", "s3://data/nope"], 3),
        (&["ls", "s3://nope"], 3),
        (&["stat", "s3://nope"], 3),
        (&["cp", "nope", "s3://data/x"], 3),
        (&["--help"], 0),
        (&["--version"], 0),
        (&["completions", "bash"], 0),
    ] {
        assert_eq!(place.code(args), code, "{args:?}");
    }
    place.server.state().faults = vec![("GET /data".to_owned(), 403, "AccessDenied")];
    assert_eq!(place.code(&["ls", "s3://data"]), 4);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gone = format!("http://{free}");
    assert_eq!(place.code(&["--endpoint", &gone, "stat", "s3://data"]), 5);
}

#[test]
fn some_failures_of_many_are_reported_and_counted() {
    let place = Place::new();
    for name in ["a", "b", "c"] {
        place.write(&format!("set/{name}"), b"x");
    }
    place.server.state().buckets.insert("data".to_owned());
    place.server.state().faults = vec![("PUT /data/b".to_owned(), 403, "AccessDenied")];
    let output = place.run(&["cp", "-r", "set", "s3://data", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line["op"] == "upload" && line["bytes"] == 1));
    let error: Value = serde_json::from_str(&text(&output.stderr)).unwrap();
    assert_eq!(error["error"]["code"], "AccessDenied");
    assert_eq!(error["error"]["target"], "set/b");
    assert!(error["error"]["hint"].is_string());
}

#[test]
fn keys_that_would_leave_the_folder_are_refused_and_the_others_come() {
    let place = Place::new();
    for key in ["d/good", "d//etc/passwd", "d/a\\b", "d/folder/"] {
        place.server.put("data", key, "x");
    }
    let output = place.run(&["cp", "-r", "s3://data/d", "out"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr).matches("no safe file name").count(), 2);
    let out: Vec<_> = std::fs::read_dir(place.path("out")).unwrap().collect();
    assert_eq!(out.len(), 1);
    assert!(place.path("out/good").exists());
}

#[test]
fn standard_input_and_output_carry_objects() {
    let place = Place::new();
    place.server.state().buckets.insert("data".to_owned());
    let data = vec![9; PART + 5];
    let mut child =
        place.command(&["cp", "-", "s3://data/k"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&data).unwrap();
    assert!(child.wait().unwrap().success());
    let output = place.run(&["cp", "s3://data/k", "-"]);
    assert!(output.stdout == data, "nothing but the object is on standard output");
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let place = Place::new();
    place.server.put("data", "k", vec![1; 8 * PART]);
    let mut child = place
        .command(&["cat", "s3://data/k"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 10]).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
}

#[test]
fn an_interrupt_aborts_the_upload() {
    let place = Place::new();
    place.server.state().buckets.insert("data".to_owned());
    let mut child =
        place.command(&["cp", "-", "s3://data/k"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&vec![1; PART + 1]).unwrap();
    while place.server.state().uploads.is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(stdin);
    let state = place.server.state();
    assert_eq!((state.aborted, state.uploads.len(), state.objects.len()), (1, 0, 0));
}

#[test]
fn no_secret_is_shown_even_when_asked_to_tell_all() {
    let place = Place::new();
    place.server.put("data", "k", "x");
    for credentials in ["access_key = \"AK\"\nsecret_key = \"s3cr3t-1\"", "token = \"s3cr3t-2\""] {
        let config = format!(
            "[profile.default]\nendpoint = \"{}\"\n{credentials}\n",
            place.server.endpoint()
        );
        std::fs::write(place.path("config.toml"), config).unwrap();
        let output = place
            .command(&["cat", "s3://data/k", "s3://data/nope"])
            .env("COFFER_LOG", "trace")
            .output()
            .unwrap();
        assert_eq!(output.stdout, b"x");
        let log = text(&output.stderr);
        assert!(log.contains("TRACE"), "the log is on");
        assert!(!log.contains("s3cr3t"), "{log}");
    }
}

#[test]
fn others_who_may_read_the_secrets_are_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    place.server.put("data", "k", "x");
    let warned = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(Path::new(&place.path("config.toml")), permissions).unwrap();
        let run =
            place.command(&["cat", "s3://data/k"]).env("COFFER_LOG", "warn").output().unwrap();
        text(&run.stderr).contains("chmod 600")
    };
    assert!(warned(0o644));
    assert!(!warned(0o600));
}

#[test]
fn quotas_are_set_shown_and_lifted() {
    const ROUTE: &str = "v1/buckets/data/quota";
    let place = Place::new();
    let state = r#"{"bytes":10737418240,"usage":{"versions":1,"bytes":1536}}"#;
    place.server.put(".coffer", ROUTE, state);
    let shown = place.ok(&["quota", "show", "s3://data"]);
    assert_eq!(shown, "s3://data: 1.50 KiB in 1 version, quota 10.00 GiB\n");
    let shown: Value =
        serde_json::from_str(&place.ok(&["--json", "quota", "show", "s3://data"])).unwrap();
    assert_eq!(
        shown,
        serde_json::json!({
            "bucket": "data", "quota_bytes": 10_737_418_240_u64, "used_bytes": 1536, "versions": 1
        })
    );
    place.ok(&["quota", "set", "s3://data", "2TiB"]);
    let sent = place.server.get(".coffer", ROUTE).unwrap();
    assert_eq!(sent.data, r#"{"bytes":2199023255552}"#);
    assert_eq!(place.ok(&["quota", "clear", "s3://data"]), "s3://data: no quota\n");
    assert!(place.server.get(".coffer", ROUTE).is_none());
    for wrong in [&["quota", "set", "s3://data", "-1"][..], &["quota", "set", "s3://data/k", "1"]] {
        assert_eq!(place.code(wrong), 2, "{wrong:?}");
    }
}

#[test]
fn a_full_bucket_is_explained() {
    let place = Place::new();
    place.server.put("data", "k", "x");
    std::fs::write(place.path("file"), "content").unwrap();
    place.server.state().faults.push(("PUT /data/file".to_owned(), 403, "QuotaExceeded"));
    let output = place.run(&["cp", "file", "s3://data/file"]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("QuotaExceeded") && told.contains("coffer quota show"), "{told}");
}

#[test]
fn gateways_are_listed_added_and_removed() {
    let place = Place::new();
    let server = &place.server;
    let first = serde_json::json!({
        "id": 1, "name": "gateway-1", "peer": "h:9200", "endpoint": "https://h:9000",
        "role": "leader", "reachable": true, "term": 3, "applied": 70, "lag": 0
    });
    let second = serde_json::json!({
        "id": 2, "name": "gateway-2", "peer": "i:9200", "endpoint": "https://i:9000",
        "role": "voter", "reachable": false, "term": null, "applied": null, "lag": 12
    });
    let list = serde_json::json!({ "gateways": [first, second] }).to_string();
    server.put(".coffer", "v1/gateways", list);
    let lines = place.ok(&["admin", "gateway", "ls"]);
    let words: Vec<Vec<&str>> = lines.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(words[1], ["1", "gateway-1", "leader", "3", "70", "0", "h:9200", "https://h:9000"]);
    assert!(
        lines.lines().nth(2).unwrap().contains("voter (no answer)  -     -        12"),
        "{lines}"
    );
    let json = place.ok(&["admin", "gateway", "ls", "--json"]);
    let values: Vec<Value> = json.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(values, [first, second]);

    let add = ["admin", "gateway", "add", "4", "j:9200", "https://j:9000"];
    assert_eq!(place.ok(&add), "added: gateway 4\n");
    let sent: Value =
        serde_json::from_slice(&server.get(".coffer", "v1/gateways/4").unwrap().data).unwrap();
    let wanted =
        serde_json::json!({"name": "gateway-4", "peer": "j:9200", "endpoint": "https://j:9000"});
    assert_eq!(sent, wanted);
    assert_eq!(place.ok(&["admin", "gateway", "remove", "4"]), "removed: gateway 4\n");
    assert!(server.get(".coffer", "v1/gateways/4").is_none());
    assert_eq!(place.code(&["admin", "gateway", "add", "4", "j:9200", "j:9000"]), 2);
}

#[test]
fn a_check_is_told_in_a_table_or_in_json_and_by_its_exit_code() {
    let place = Place::new();
    let answer = |records: &[Value]| {
        let lines: String = records.iter().map(|r| format!("{r}\n")).collect();
        place.server.put(".coffer", "v1/fsck", lines);
    };
    let progress = serde_json::json!({"progress": {"done": 0.5, "parts": 2, "shards": 12}});
    let part = |key: &str, risk: &str, sound: u64| {
        serde_json::json!({"part": {
            "bucket": "data", "key": key, "version": "null", "upload": null, "blob": "ab",
            "risk": risk, "chunks": 1, "ailing_chunks": 1,
            "worst": {"needed": 4, "shards": 6, "sound": sound, "unreachable": 0, "owed": 0,
                "damaged": 1, "missing": 5 - sound},
            "shards": [{"chunk": 0, "index": 1, "node": "node-2", "state": "missing",
                "other_generation": null}],
        }})
    };
    let summary = |parts: Value| {
        serde_json::json!({"summary": {
            "parts": parts, "shards": 12, "ailing": {"missing": 1, "damaged": 1},
            "leftovers": {"garbage": 6, "dead": 0, "condemned": 0, "ahead": 0, "unclaimed": 0,
                "reserved": 0},
            "orphans": 0, "orphans_not_listed": 0, "findings": 1, "silent_nodes": 0, "queued": 0,
            "not_queued": 0,
        }})
    };

    answer(&[progress.clone(), summary(serde_json::json!({"whole": 2, "lost": 0}))]);
    let told = place.ok(&["admin", "fsck"]);
    assert!(told.contains("2 whole, 0 degraded") && told.contains("6 garbage"), "{told}");

    // Two parts of one object: the worse one is shown.
    let degraded = summary(serde_json::json!({"whole": 1, "degraded": 1, "at-risk": 1}));
    let records = [part("a", "degraded", 5), part("a", "at-risk", 4), degraded.clone()];
    answer(&records);
    let output = place.run(&["admin", "fsck", "--bucket", "data", "--repair"]);
    assert_eq!(output.status.code(), Some(6));
    let told = text(&output.stdout);
    let row = told.lines().nth(1).unwrap();
    let row: Vec<&str> = row.split_whitespace().collect();
    let expected = "at risk 4 4 6 1 missing, 1 damaged s3://data/a null";
    assert_eq!(row, expected.split(' ').collect::<Vec<_>>(), "{told}");
    let asked = place.server.state().requests.last().unwrap().clone();
    assert_eq!(asked, "POST /.coffer/v1/fsck?bucket=data&repair=true");
    let output = place.run(&["admin", "fsck", "--json"]);
    assert_eq!(output.status.code(), Some(6));
    let lines = text(&output.stdout);
    let values: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(values, records);

    answer(&[part("a", "lost", 3), summary(serde_json::json!({"lost": 1}))]);
    assert_eq!(place.code(&["admin", "fsck"]), 7);
    for broken in
        [vec![progress.clone()], vec![serde_json::json!({"failed": {"why": "no leader"}})]]
    {
        answer(&broken);
        assert_eq!(place.code(&["admin", "fsck"]), 1, "no summary, no verdict");
    }
}

#[test]
fn rebuilding_the_catalog_is_handed_over_to_the_gateways_program() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    // Somewhere where no other program is beside it.
    std::fs::copy(env!("CARGO_BIN_EXE_coffer"), place.path("coffer")).unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new(place.path("coffer"));
        command.env_clear().env("PATH", place.path("bin")).args(["admin", "rebuild-catalog"]);
        command.args(args).output().unwrap()
    };
    let lacking = run(&["--data", "gateway"]);
    let told = text(&lacking.stderr);
    assert_eq!(lacking.status.code(), Some(2), "{told}");
    assert!(told.contains("neither beside coffer nor in PATH"), "{told}");
    assert!(told.contains("coffer-gateway rebuild-catalog --data DIR"), "{told}");

    let script = |name: &str, says: &str| {
        place.write(name, format!("#!/bin/sh\necho {says} \"$@\"\nexit 3\n").as_bytes());
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(place.path(name), mode).unwrap();
    };
    script("bin/coffer-gateway", "by PATH");
    let done = run(&["--data", "a b", "--replace"]);
    assert_eq!(text(&done.stdout), "by PATH rebuild-catalog --data a b --replace\n");
    assert_eq!(done.status.code(), Some(3), "its exit code is ours");
    script("coffer-gateway", "beside");
    assert_eq!(text(&run(&["--data", "a"]).stdout), "beside rebuild-catalog --data a\n");
}
