//! `coffer admin health` and `events` as an operator or a script sees them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]
mod support {
    pub(crate) mod place;
    #[allow(dead_code)]
    pub(crate) mod s3;
}

use serde_json::{Value, json};
use support::place::{Place, text};

/// A server of which `coffer admin` asks things.
struct Admin(Place);

impl Admin {
    fn new() -> Self {
        Self(Place::new())
    }

    /// Has an administrative path answer so.
    fn answer(&self, path: &str, answer: &Value) {
        self.0.server.put(".coffer", &format!("v1/{path}"), answer.to_string());
    }

    fn run(&self, args: &[&str]) -> (i32, String) {
        let output = self.0.run(args);
        (output.status.code().unwrap(), text(&output.stdout))
    }
}

fn operation(name: &str, mean_us: u64) -> Value {
    json!({"operation": name, "count": 90, "errors": 2, "mean_us": mean_us, "peers_us": 1500})
}

fn report(overall: &str, problems: &Value) -> Value {
    let disk = json!({
        "device": "sda", "model": "Maker 8TB", "score": 75, "verdict": "watch",
        "reasons": ["disk sda can't read 3 sectors"], "temperature_celsius": 41, "pending_sectors": 3,
    });
    json!({
        "gateway": 2, "gateway_name": "gateway-2", "at_ms": 0, "overall": overall,
        "problems": problems, "leaderless": false,
        "nodes": [{
            "name": "node-1", "state": "active", "standing": "up", "verdict": "watch", "score": 75,
            "reasons": ["disk sda can't read 3 sectors"], "space": "room",
            "figures": {
                "shards": 7, "live_bytes": 1024, "free_bytes": 3072, "total_bytes": 4096,
                "operations": [operation("read", 12_300), operation("sync", 4_000)],
                "findings": 5, "corrupt": 6,
                "scrub": {"began": null, "verified_bytes": 25, "total_bytes": 100, "rounds": 3, "bytes_per_second": 9},
                "compaction": {"dead_bytes": 2048, "volumes": 1, "copied_bytes": 3, "freed_bytes": 4, "current": null, "held_back": 0, "short_of_space": false, "bytes_per_second": 9},
                "disks": [disk],
            },
        }, {
            "name": "node-2", "state": "active", "standing": "away", "verdict": "healthy",
            "score": 100, "reasons": [], "space": "room", "figures": null,
        }],
        "gateways": [
            {"id": 1, "name": "gateway-1", "role": "leader", "reachable": true, "applied": 99, "behind": 0},
            {"id": 2, "name": "gateway-2", "role": "voter", "reachable": false, "applied": null, "behind": 4},
        ],
        "redundancy": {
            "whole": false, "owed_blobs": 8, "owed_more": false, "damaged_shards": 5,
            "lost_nodes": [], "missing_blobs": null, "misplaced_blobs": null,
        },
        "journal": null,
    })
}

#[test]
fn health_is_a_table_with_one_line_at_the_end_and_an_exit_code() {
    let place = Admin::new();
    let problem = json!({"needs_operator": true, "text": "node node-2 does not answer: start it"});
    let early = json!({"needs_operator": false, "text": "node node-1 is to be watched"});
    place.answer("health", &report("failing", &json!([problem, early])));
    let (code, text) = place.run(&["admin", "health"]);
    assert_eq!(code, 8, "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(*lines.last().unwrap(), "cluster: 1 thing needs an operator (seen by gateway-2)");
    let words = |start: &str| {
        let line = lines.iter().find(|line| line.starts_with(start)).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let node = "node-1 active up watch 75 1.00 KiB 4.00 KiB 4 12.3/1.5 ms 4.0/1.5 ms round 4: 25 % 5 2.00 KiB";
    assert_eq!(words("node-1 "), node);
    assert_eq!(words("node-2 "), "node-2 active away healthy 100 - - - - - - - -");
    assert!(
        text.contains("sda   Maker 8TB  watch   75     41       disk sda can't read 3 sectors")
    );
    assert_eq!(words("gateway-2 "), "gateway-2 voter no - 4");
    assert!(lines.contains(&"! node node-2 does not answer: start it"));
    assert!(lines.contains(&"- node node-1 is to be watched"));
    assert!(text.contains("redundancy: not whole; 8 blobs owe shards, 5 shards are damaged\n"));
    assert!(text.contains("journal: written by gateway-1\n"));

    let (code, json) = place.run(&["--json", "admin", "health"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["problems"][0]["needs_operator"]), (8, &json!(true)));
    assert_eq!(json["nodes"][0]["figures"]["disks"][0]["pending_sectors"], 3);

    for overall in ["watch", "healthy"] {
        place.answer("health", &report(overall, &json!([])));
        let (code, text) = place.run(&["admin", "health"]);
        assert_eq!(code, 0);
        assert!(text.trim_end().ends_with("(seen by gateway-2)"), "{text}");
    }
    assert_eq!(place.run(&["admin", "health", "--watch", "0"]).0, 2);
}

fn page(run: u64, ids: std::ops::RangeInclusive<u64>) -> Value {
    let event = |id: u64| {
        json!({
            "id": id, "at_ms": 1_700_000_000_000u64, "severity": "warning", "kind": "node_silent",
            "message": format!("node node-{id} does not answer"), "node": format!("node-{id}"),
        })
    };
    let last = *ids.end();
    let events: Vec<Value> = ids.map(event).collect();
    json!({
        "gateway": 1, "gateway_name": "gateway-1", "run": run, "last": last, "forgotten": false,
        "events": events,
    })
}

#[test]
fn events_are_lines_or_json_each() {
    let place = Admin::new();
    place.answer("events", &page(5, 1..=2));
    let (code, text) = place.run(&["admin", "events"]);
    let first = "     1  2023-11-14 22:13:20Z  warning   node node-1 does not answer";
    assert_eq!((code, text.lines().next().unwrap(), text.lines().count()), (0, first, 2));
    assert!(place.0.server.state().requests.iter().any(|r| r.contains("events?since=0")));
    let (_, text) = place.run(&["--json", "admin", "events", "--since", "41"]);
    assert!(place.0.server.state().requests.iter().any(|r| r.contains("events?since=41")));
    let json: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((&json["kind"], &json["node"]), (&json!("node_silent"), &json!("node-1")));
    assert_eq!(
        (&json["seen_by"], &json["at"]),
        (&json!("gateway-1"), &json!("2023-11-14T22:13:20Z"))
    );
}

#[test]
fn following_goes_on_over_a_restart_of_the_gateway() {
    use std::io::{BufRead, BufReader};
    let place = Admin::new();
    place.answer("events", &page(5, 7..=8));
    let mut child = place
        .0
        .command(&["admin", "events", "--follow", "--since", "6"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    assert!(next().contains("node-7 ") && next().contains("node-8 "));
    // Another run begins anew: its events are asked for from the first on.
    place.answer("events", &page(6, 1..=1));
    while !next().contains("node-1 ") {}
    let asked = place.0.server.state().requests.clone();
    let from_the_first = asked.iter().rposition(|r| r.contains("since=0")).unwrap();
    assert!(asked.iter().position(|r| r.contains("since=8")).unwrap() < from_the_first);
    child.kill().unwrap();
    child.wait().unwrap();
}
