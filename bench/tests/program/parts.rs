//! Parts beside their limits: each does its work once and checks it; what comes out adds up.

use super::support::bench;
use coffer_bench::parts::{Clock, FORMAT, Line, Report, Unit};

const ONCE: [&str; 6] = ["parts", "--rounds", "1", "--slice", "0s", "--quiet"];

async fn parts(args: &[&str]) -> Report {
    let output = bench(&[&ONCE[..], &["--json"], args].concat()).await;
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {err}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn adds_up(line: &Line) {
    for figure in [line.figure, line.limit_figure, line.ratio] {
        assert!(figure.is_finite() && figure > 0.0, "{line:?}");
    }
    // Of one round, medians and ranges are what was measured.
    assert!((line.ratio * line.limit_figure / line.figure - 1.0).abs() < 1e-9, "{line:?}");
    assert_eq!((line.least_ratio, line.greatest_ratio), (line.ratio, line.ratio), "{line:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_parts_work_and_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let report = parts(&["--dir", dir.path().to_str().unwrap()]).await;
    assert_eq!((report.format.as_str(), report.rounds), (FORMAT, 1));
    report.lines.iter().for_each(adds_up);
    // Each name that can be asked for has lines of its own.
    for begins in [
        "pipeline",
        "seal",
        "open",
        "parity",
        "two data shards",
        "BLAKE3",
        "a chunk placed",
        "manifest",
        "token",
        "shard looked up",
        "append of 64",
        "catalog: 64",
        "put of 64 KiB",
        "get of 1 MiB",
        "HTTP/3 GET",
        "HTTP/3 PUT",
    ] {
        assert!(report.lines.iter().any(|line| line.part.starts_with(begins)), "{begins}");
    }
    let http3 = |line: &&Line| line.part.starts_with("HTTP/3");
    let clocks: Vec<Clock> = report.lines.iter().filter(http3).map(|line| line.clock).collect();
    assert!(clocks.contains(&Clock::Wall) && clocks.contains(&Clock::Server), "{clocks:?}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "what was stored is deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_measured_by_name() {
    let report = parts(&["placement", "hash"]).await;
    let units: Vec<Unit> = report.lines.iter().map(|line| line.unit).collect();
    assert_eq!(units[..3], [Unit::Operations; 3]);
    assert_eq!(units[3..], [Unit::Bytes; 2]);
    let table = bench(&[&ONCE[..], &["hash"]].concat()).await;
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains("MiB/CPU-s") && table.contains("memcpy"), "{table}");
    assert!(!table.contains("placed"), "{table}");

    let wrong = bench(&["parts", "sealing-wax"]).await;
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("placement"), "it names them all");
    let nowhere = bench(&[&ONCE[..], &["volume", "--dir", "/nowhere/at/all"]].concat()).await;
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("/nowhere/at/all"));
}
