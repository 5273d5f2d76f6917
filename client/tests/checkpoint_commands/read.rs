//! `ls`, `show` and `diff`.

use coffer_client::Digest;
use coffer_client::checkpoint::{Origin, Snapshot};
use safetensors::Dtype;
use serde_json::json;

use crate::support::{Bench, FROZEN, floats, parts, snapshot, tensors, text};

fn bytes(step: u64) -> u64 {
    parts(step).values().map(|part| part.len() as u64).sum()
}

#[test]
fn a_run_is_listed() {
    let bench = Bench::with(&[10, 20, 23, 30], 20);
    bench.ok(&["pin", "@epoch-1"]);
    let rows = bench.json(&["ls", "@run"]);
    let frozen = parts(10)["frozen.safetensors"].len() as u64;
    let got: Vec<_> = rows
        .iter()
        .map(|row| {
            json!([
                row["checkpoint"],
                row["epoch"],
                row["sample"],
                row["bytes"],
                row["new_bytes"],
                row["latest"],
                row["best"],
                row["pinned"]
            ])
        })
        .collect();
    let expected = [
        json!(["step-00000010", 1, 0, bytes(10), bytes(10), false, false, true]),
        json!(["step-00000020", 2, 0, bytes(20), bytes(20) - frozen, false, true, false]),
        json!(["step-00000023", 2, 12, bytes(23), bytes(23) - frozen, false, false, false]),
        json!(["step-00000030", 3, 0, bytes(30), bytes(30) - frozen, true, false, false]),
    ];
    assert_eq!(got, expected);
    assert_eq!(rows[1]["metrics"], json!({"test": 5.0}));
    let table = bench.ok(&["ls", "@run"]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("CHECKPOINT"), "{table}");
    assert!(lines[2].starts_with("step-00000020  2 ") && lines[2].contains("best"), "{table}");
    assert!(lines[3].contains(" 2+12 ") && lines[4].contains("latest"), "{table}");
    assert!(lines[4].ends_with("test 3.33333"), "{table}");
}

#[test]
fn a_checkpoint_is_shown_with_its_tensors() {
    let bench = Bench::with(&[10], 0);
    let from = Origin { address: "s3://other/run@step-00000001".into(), manifest: Digest::of(b"") };
    let mut next = snapshot(20);
    next.lineage.init_from = Some(from);
    bench.save([next]);
    // Tensors are told from the beginnings of files; what else is in them is not read.
    std::fs::remove_file(bench.chunk(20, "frozen.safetensors", 1)).unwrap();
    let shown = &bench.json(&["show", "@run"])[0];
    assert_eq!(shown["address"], bench.address("@step-00000020"));
    assert_eq!((&shown["epoch"], &shown["sample"]), (&json!(2), &json!(0)));
    let model = &shown["parts"]["model.safetensors"];
    assert_eq!(model["blake3"], json!(Digest::of(&parts(20)["model.safetensors"])));
    assert_eq!(
        model["tensors"],
        json!([
            {"name": "steps", "dtype": "I64", "shape": [], "bytes": 8},
            {"name": "encoder.bias", "dtype": "F32", "shape": [30], "bytes": 120},
            {"name": "encoder.weight", "dtype": "F32", "shape": [40, 30], "bytes": 4800},
        ])
    );
    let frozen = &shown["parts"]["frozen.safetensors"]["tensors"][0];
    assert_eq!((&frozen["dtype"], &frozen["shape"]), (&json!("F16"), &json!([FROZEN / 2])));
    assert_eq!(shown["parts"]["state.json"].get("tensors"), None);
    assert_eq!(shown["lineage"]["config"]["model"]["latent"], 3);

    let told = bench.ok(&["show", "@best"]);
    for expected in
        ["the end of epoch 2", "s3://other/run@step-00000001", "[40, 30]", "test 0", "metric"]
    {
        assert!(told.contains(expected), "{expected}: {told}");
    }
}

#[test]
fn what_only_is_called_safetensors_is_shown_as_a_file() {
    let bench = Bench::with(&[], 0);
    let mut odd = snapshot(1);
    odd.parts.insert("odd.safetensors".to_owned(), "no tensors".into());
    odd.parts.insert("empty.safetensors".to_owned(), "".into());
    bench.save([odd]);
    let shown = &bench.json(&["show", "@run"])[0]["parts"];
    assert!(shown["odd.safetensors"]["problem"].is_string(), "{shown}");
    assert!(shown["empty.safetensors"]["problem"].as_str().unwrap().contains("too short"));
    assert!(shown["model.safetensors"]["tensors"].is_array());
    bench.ok(&["restore", "@run", "there"]);
}

#[test]
fn a_lineage_ends_where_it_was_pruned() {
    let bench = Bench::with(&[10, 20, 30, 40], 0);
    let ancestors = |bench: &Bench| {
        let shown = &bench.json(&["show", "@run", "--lineage"])[0];
        let all = shown["ancestors"].as_array().unwrap().iter();
        all.map(|one| json!([one["checkpoint"], one["listed"]])).collect::<Vec<_>>()
    };
    let [one, two, three] = [10, 20, 30].map(|step| format!("step-000000{step}"));
    assert_eq!(ancestors(&bench), [json!([three, true]), json!([two, true]), json!([one, true])]);
    bench.ok(&["prune", "@run", "--keep-every", "30steps"]);
    assert_eq!(ancestors(&bench), [json!([three, true]), json!([two, false])]);
    assert!(bench.ok(&["show", "@run", "--lineage"]).contains("not there any more"));
}

#[test]
fn differences_are_told_and_counted() {
    let bench = Bench::with(&[10], 0);
    let mut next = snapshot(20);
    next.lineage.config["seed"] = json!(2);
    next.parts.remove("state.json");
    next.parts.insert("new.bin".to_owned(), "new".into());
    let model = tensors(&[
        ("encoder.weight", Dtype::F32, &[40, 30], floats((0..1200_u16).map(|_| 0.5))),
        ("encoder.bias", Dtype::F32, &[6, 5], floats((0..30_u8).map(f32::from))),
        ("extra", Dtype::U8, &[1], vec![1]),
    ]);
    next.parts.insert("model.safetensors".to_owned(), model);
    bench.save([next]);

    let (told, _) = bench.ends(1, &["diff", "@epoch-1", "@latest", "--values", "--json"]);
    let lines = crate::support::values(&told);
    let find = |kind: &str, name: &str| {
        let line = lines.iter().find(|line| line[kind] == name);
        line.unwrap_or_else(|| panic!("{kind} {name}: {told}"))
    };
    assert_eq!(find("part", "frozen.safetensors")["change"], "same");
    let shared = &find("part", "frozen.safetensors")["shared_bytes"];
    assert_eq!(shared, &json!(parts(10)["frozen.safetensors"].len()));
    assert_eq!(find("part", "model.safetensors")["change"], "changed");
    assert_eq!(find("part", "model.safetensors")["shared_bytes"], 0);
    assert_eq!(find("part", "state.json")["change"], "only in a");
    assert_eq!(find("part", "new.bin")["change"], "only in b");
    let seed = find("fact", "config.seed");
    assert_eq!((&seed["a"], &seed["b"]), (&json!(1), &json!(2)));
    assert_eq!(find("fact", "metrics.test")["b"], 5.0);
    // One element was 10 and is 0.5.
    let weight = find("tensor", "encoder.weight");
    assert_eq!(
        (&weight["change"], &weight["greatest_difference"]),
        (&json!("changed"), &json!(9.5))
    );
    assert_eq!(find("tensor", "encoder.bias")["change"], "other shape or type");
    assert_eq!(find("tensor", "steps")["change"], "only in a");
    assert_eq!(find("tensor", "extra")["b"], "U8[1]");
    assert!(!told.contains("greatest_difference\":0"));

    let (told, _) = bench.ends(1, &["diff", "@epoch-1", "@latest"]);
    assert!(told.contains("F32[30] to F32[6, 5]") && told.contains("config.seed"), "{told}");
    assert!(!told.contains("at most"), "{told}");
    let (told, _) = bench.ends(1, &["diff", "@epoch-1", "@latest", "--values"]);
    assert!(told.contains("changed, by 9.5 at most"), "{told}");
}

#[test]
fn diff_ends_as_diff_does() {
    let bench = Bench::with(&[10, 20], 0);
    bench.ends(0, &["diff", "@latest", "@step-20"]);
    // The same files saved again, at another step with another program.
    bench.save([Snapshot { parts: parts(20), metrics: snapshot(20).metrics, ..snapshot(30) }]);
    bench.ends(0, &["diff", "@step-20", "@step-30"]);
    bench.ends(1, &["diff", "@step-10", "@step-20"]);
    // By the run's name and a selector alone.
    let short = ["diff".to_owned(), bench.address("@step-10"), "@step-20".to_owned()];
    let short = bench.plain(short);
    assert_eq!(short.status.code(), Some(1), "{}", text(&short.stderr));
    bench.ends(3, &["diff", "@step-10", "@step-99"]);
    bench.ends(2, &["diff", "@step-10", "nonsense"]);
    crate::support::damage(&bench.chunk(10, "model.safetensors", 0));
    bench.ends(6, &["diff", "@step-10", "@step-20"]);
}

#[test]
fn what_is_not_there_is_said_with_what_to_do() {
    let bench = Bench::with(&[10], 0);
    for (code, args, expected) in [
        (3, &["show", "@step-11"][..], "no checkpoint step-00000011"),
        (3, &["verify", "@epoch-9"], "coffer checkpoint ls"),
        (3, &["pin", "@step-11"], "no checkpoint step-00000011"),
        (3, &["ls", "file:///nowhere/at/all"], "/nowhere/at/all"),
        (2, &["show", "@lates"], "write latest, best, step-N or epoch-N"),
        (2, &["ls", "run"], "s3://BUCKET/PREFIX or file:///DIRECTORY"),
        (2, &["show", "s3://bucket/run"], "config"),
        (2, &["prune", "@run", "--keep-last", "0"], "--keep-last"),
        (2, &["prune", "@run", "--keep-every", "5"], "such as 5epochs or 1000steps"),
    ] {
        let (_, errors) = bench.ends(code, args);
        assert!(errors.contains(expected), "{args:?}: {errors}");
    }
    std::fs::create_dir(bench.path("empty")).unwrap();
    let empty = format!("file://{}", bench.path("empty").display());
    let (_, errors) = bench.ends(3, &["ls", &empty]);
    assert!(errors.contains("no checkpoints at") && errors.contains("hint"), "{errors}");
}
