//! Tables, pictures and comparisons.

use super::server::{Faults, Server};
use super::support::{bench, report};

#[tokio::test(flavor = "multi_thread")]
async fn two_targets_take_turns_and_are_compared() {
    let (a, b) = (Server::start(Faults::default()).await, Server::start(Faults::default()).await);
    let dir = tempfile::tempdir().unwrap();
    let plots = dir.path().join("plots");
    let keys = ["--access-key", "k", "--secret-key", "s"];
    let against =
        ["--against", &b.endpoint, "--against-access-key", "k", "--against-secret-key", "s"];
    let load = ["put", "--endpoint", &a.endpoint, "--ops", "9", "--size", "3KiB", "--repeat", "3"];
    let plot = ["--plots", plots.to_str().unwrap()];
    let args: Vec<&str> = load.iter().chain(&keys).chain(&against).chain(&plot).copied().collect();
    let both = report(&args, 0).await;
    let turns: Vec<(&str, usize)> =
        both.runs.iter().map(|run| (run.target.as_str(), run.round)).collect();
    assert_eq!(turns, [("A", 1), ("B", 1), ("A", 2), ("B", 2), ("A", 3), ("B", 3)]);
    assert!(both.runs.iter().all(|run| run.operations["put"].count == 9));
    for name in ["latency.png", "time.png"] {
        assert!(std::fs::read(plots.join(name)).unwrap().starts_with(b"\x89PNG"), "{name}");
    }

    let file = dir.path().join("both.json");
    std::fs::write(&file, serde_json::to_vec(&both).unwrap()).unwrap();
    let file = file.to_str().unwrap();
    let output = bench(&["compare", file]).await;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.starts_with("A: A\nB: B\n"), "{text}");
    assert!(text.contains("3 of at least 5 runs"), "{text}");
    let json = bench(&["compare", file, file, "--json"]).await;
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let ratio = |line: &serde_json::Value| line["ratio"].as_f64();
    assert!(json["lines"].as_array().unwrap().iter().filter_map(ratio).all(|ratio| ratio == 1.0));

    let table = bench(&[&args[..], &["--warm-up", "0s", "--quiet"]].concat()).await;
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    for part in ["3 runs, medians", "first byte", "B/A", "client CPU-seconds"] {
        assert!(table.contains(part), "{part}: {table}");
    }

    std::fs::write(dir.path().join("no.json"), "{}").unwrap();
    let output = bench(&["compare", dir.path().join("no.json").to_str().unwrap()]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is no report"));
}
