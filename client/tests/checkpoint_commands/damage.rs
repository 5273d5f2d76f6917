//! What `verify` finds, and what can still be read with a root that is lost.

use serde_json::json;

use crate::support::{Bench, damage, values};

#[test]
fn damage_is_named_by_its_address() {
    let bench = Bench::with(&[10, 20, 30], 0);
    let whole = bench.json(&["verify", "@run", "--all"]);
    assert!(whole.len() == 3 && whole.iter().all(|one| one["whole"] == true), "{whole:?}");

    let flipped = bench.chunk(20, "model.safetensors", 0);
    damage(&flipped);
    let missing = bench.chunk(20, "state.json", 0);
    std::fs::remove_file(&missing).unwrap();
    bench.ends(0, &["verify", "@run"]);
    let (told, errors) = bench.ends(6, &["verify", "@run", "--all", "--json"]);
    let lines = values(&told);
    let whole: Vec<_> = lines.iter().map(|line| line["whole"].clone()).collect();
    assert_eq!(whole, [json!(true), json!(false), json!(true)]);
    let problems = lines[1]["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 2);
    for (problem, (part, file)) in
        problems.iter().zip([("model.safetensors", &flipped), ("state.json", &missing)])
    {
        let address = format!("file://{}", file.display());
        assert_eq!(problem["part"], part);
        assert!(problem["problem"].as_str().unwrap().contains(&address), "{problem}");
        assert!(errors.contains(&address), "{errors}");
    }
    let told = bench.ends(6, &["verify", "@step-20"]).0;
    assert!(told.starts_with("damaged: ") && told.contains("2 problems"), "{told}");
    // The one that they share.
    damage(&bench.chunk(10, "frozen.safetensors", 0));
    bench.ends(6, &["verify", "@run"]);
}

#[test]
fn without_its_root_a_run_can_be_read_and_not_changed() {
    for lost in [false, true] {
        let bench = Bench::with(&[10, 20], 20);
        let root = bench.run().join("checkpoints/index.json");
        if lost {
            std::fs::remove_file(&root).unwrap();
        } else {
            std::fs::write(&root, "{").unwrap();
        }
        let told = bench.coffer(&["restore", "@latest", "there"]);
        let errors = crate::support::text(&told.stderr);
        assert!(told.status.success() && errors.contains(&root.display().to_string()), "{errors}");
        assert_eq!(std::fs::read(bench.path("there/state.json")).unwrap(), b"{\"step\":20}");
        assert_eq!(bench.json(&["ls", "@run"]).len(), 2);
        bench.ends(0, &["show", "@best"]);
        bench.ends(6, &["verify", "@run", "--all"]);
        let before = bench.stored();
        let code = if lost { 3 } else { 6 };
        bench.ends(code, &["prune", "@run", "--keep-last", "1"]);
        bench.ends(code, &["pin", "@latest"]);
        assert_eq!(bench.stored(), before);
    }
}

#[test]
fn a_manifest_that_is_damaged_does_not_hide_the_others() {
    let bench = Bench::with(&[10, 20], 0);
    let rows = bench.json(&["ls", "@run"]);
    let save = rows[0]["save"].as_str().unwrap();
    damage(&bench.run().join(format!("checkpoints/saves/{save}/manifest.json")));
    let output = bench.coffer(&["ls", "@run", "--json"]);
    assert!(output.status.success());
    let rows = values(&crate::support::text(&output.stdout));
    assert_eq!((rows.len(), &rows[0]["new_bytes"]), (2, &json!(null)));
    assert!(crate::support::text(&output.stderr).contains(save));
    bench.ends(6, &["show", "@step-10"]);
    bench.ends(0, &["restore", "@step-20", "there"]);
}
