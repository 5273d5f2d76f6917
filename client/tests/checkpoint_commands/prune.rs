//! `prune`, `pin` and `unpin`.

use std::path::Path;

use serde_json::json;

use crate::support::{Bench, damage};

fn listed(bench: &Bench) -> Vec<u64> {
    let step = |row: &serde_json::Value| {
        row["checkpoint"].as_str().unwrap().trim_start_matches("step-").parse().unwrap()
    };
    bench.json(&["ls", "@run"]).iter().map(step).collect()
}

#[test]
fn a_dry_run_tells_and_changes_nothing_and_then_it_is_done() {
    let bench = Bench::with(&[10, 20, 30, 40, 50, 60], 20);
    bench.ok(&["pin", "@epoch-1"]);
    let before = bench.stored();
    let rules = ["prune", "@run", "--keep-last", "2", "--keep-every", "4epochs"];
    let told = bench.json(&[&rules[..], &["--dry-run"]].concat());
    assert_eq!(bench.stored(), before);
    let fates: Vec<_> = told[..6].iter().map(|one| json!([one["keep"], one["reasons"]])).collect();
    let expected = [
        json!([true, ["pinned"]]),
        json!([true, ["best"]]),
        json!([false, []]),
        json!([true, ["one for every 4 epochs"]]),
        json!([true, ["one of the last 2"]]),
        json!([true, ["latest", "one of the last 2"]]),
    ];
    assert_eq!(fates, expected);
    let text = bench.ok(&[&rules[..], &["--dry-run"]].concat());
    assert!(text.contains("would go") && text.contains("no rule keeps it"), "{text}");
    assert_eq!(bench.stored(), before);

    let done = bench.json(&rules);
    let (would, did) = (&told[6], &done[6]);
    for figure in ["removed", "freed_bytes", "freed_objects"] {
        assert_eq!(would[figure], did[figure], "{figure}");
    }
    assert_eq!((&would["dry_run"], &did["dry_run"]), (&json!(true), &json!(false)));
    let size = |stored: &std::collections::BTreeMap<_, Vec<u8>>| {
        stored.values().map(Vec::len).sum::<usize>()
    };
    let index = |stored: &std::collections::BTreeMap<std::path::PathBuf, Vec<u8>>| {
        stored[&bench.run().join("checkpoints/index.json")].len()
    };
    let after = bench.stored();
    let freed = (size(&before) - index(&before)) - (size(&after) - index(&after));
    assert_eq!(did["freed_bytes"], freed);
    assert_eq!(listed(&bench), [10, 20, 40, 50, 60]);
    bench.ok(&["verify", "@run", "--all"]);
    assert!(bench.ok(&rules).contains("freed 0 B in 0 objects"));

    bench.ok(&["unpin", "@step-10"]);
    bench.ok(&["prune", "@run", "--keep-last", "1"]);
    assert_eq!(listed(&bench), [20, 60]);
    bench.ok(&["verify", "@run", "--all"]);
}

#[test]
fn without_rules_only_leavings_of_crashed_saves_go() {
    let bench = Bench::with(&[10, 20], 0);
    let orphan = bench.run().join("checkpoints/saves/00000000000000ab");
    std::fs::create_dir(&orphan).unwrap();
    std::fs::write(orphan.join("f".repeat(64)), "half a save").unwrap();
    let own = bench.run().join("checkpoints/notes.txt");
    std::fs::write(&own, "nobody's business").unwrap();
    // A save that wrote a moment ago may still be going on.
    assert!(bench.ok(&["prune", "@run"]).contains("freed 0 B in 0 objects"));
    let dry = bench.ok(&["prune", "@run", "--grace", "0s", "--dry-run"]);
    assert!(dry.contains("would free 11 B in 1 object\n"), "{dry}");
    let files = |folder: &Path| crate::support::files(folder).len();
    assert_eq!(files(&orphan), 1);
    let told = bench.ok(&["prune", "@run", "--grace", "0s"]);
    assert!(told.contains("no rule says that any goes") && told.contains("freed 11 B"), "{told}");
    assert!(!orphan.exists() || files(&orphan) == 0);
    assert!(own.exists());
    assert_eq!(listed(&bench), [10, 20]);
}

#[test]
fn nothing_is_deleted_while_a_manifest_is_damaged() {
    let bench = Bench::with(&[10, 20, 30], 0);
    let row = &bench.json(&["ls", "@run"])[1];
    let save = row["save"].as_str().unwrap();
    damage(&bench.run().join(format!("checkpoints/saves/{save}/manifest.json")));
    let before = bench.stored();
    for dry in [&["--dry-run"][..], &[]] {
        let args = [&["prune", "@run", "--keep-every", "20steps"], dry].concat();
        let (_, errors) = bench.ends(6, &args);
        assert!(errors.contains(save), "{errors}");
    }
    assert_eq!(bench.stored(), before);
}
