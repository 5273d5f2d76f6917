//! `coffer dataset` as a user or a script sees it: output and exit codes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

mod support {
    pub(crate) mod place;
    pub(crate) mod s3;
}

use serde_json::Value;
use support::place::{Place, text};

const DATA: &str = "s3://data/flowers";

/// Six pictures in three folders, and a note that belongs to none.
fn with_files() -> Place {
    let place = Place::new();
    for (at, class) in ["rose", "aster", "rose", "tulip", "aster", "rose"].iter().enumerate() {
        place.write(&format!("flowers/{class}/{at}.jpg"), format!("picture {at}").as_bytes());
        place.write(&format!("flowers/{class}/{at}.note.txt"), &vec![b'x'; 600 * at]);
    }
    place.write("flowers/README", b"not a sample");
    place
}

fn lines(output: &str) -> Vec<Value> {
    output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

const PACK: [&str; 8] =
    ["dataset", "pack", "flowers", DATA, "--labels-from-folders", "--shard-samples", "2", "--json"];

#[test]
fn a_dataset_from_files_to_samples() {
    let place = with_files();
    let packed = place.run(&[
        "dataset",
        "pack",
        "flowers",
        DATA,
        "--labels-from-folders",
        "--shard-samples",
        "2",
    ]);
    assert!(packed.status.success(), "{}", text(&packed.stderr));
    assert!(text(&packed.stderr).contains("passing over 1 files"), "{}", text(&packed.stderr));
    assert!(text(&packed.stdout).contains("6 train samples into 3 shards"));

    let stat = &lines(&place.ok(&["dataset", "stat", DATA, "--json"]))[0];
    assert_eq!(stat["fields"], serde_json::json!(["cls", "jpg", "note.txt"]));
    assert_eq!(stat["meta"]["classes"], serde_json::json!(["aster", "rose", "tulip"]));
    assert_eq!(stat["splits"]["train"]["samples"], 6);
    assert_eq!(stat["source"], "flowers");
    assert!(place.ok(&["dataset", "stat", DATA]).contains("train: 6 samples in 3 shards"));

    let shards = lines(&place.ok(&["dataset", "ls", DATA, "--split", "train", "--json"]));
    let names: Vec<&str> = shards.iter().map(|shard| shard["shard"].as_str().unwrap()).collect();
    assert_eq!(names, ["train-000000.tar", "train-000001.tar", "train-000002.tar"]);
    let samples = lines(&place.ok(&["dataset", "ls", DATA, "--samples", names[1], "--json"]));
    assert_eq!(samples[0]["key"], "rose/0");
    assert_eq!(samples[1]["fields"], serde_json::json!({"cls": 1, "jpg": 9, "note.txt": 1200}));
    let told = place.ok(&["dataset", "ls", DATA, "--samples", names[0]]);
    assert!(told.starts_with("aster/1  cls 1, jpg 9, note.txt 600\n"), "{told}");

    let sound = lines(&place.ok(&["dataset", "verify", DATA, "--json"]));
    assert_eq!(sound.len(), 4);
    assert_eq!((&sound[0]["state"], &sound[3]["not_sound"]), (&"sound".into(), &0.into()));

    // The same data elsewhere, and again, is the same version.
    let again = |target: &str, more: &[&str]| {
        let mut args = PACK.to_vec();
        args[3] = target;
        args.extend(more);
        lines(&place.ok(&args))[0]["version"].clone()
    };
    let local = format!("file://{}/local", place.folder.path().display());
    assert_eq!(again(&local, &[]), stat["version"]);
    assert_eq!(again(DATA, &["--replace", "--parallel", "1"]), stat["version"]);
    assert_ne!(again(DATA, &["--replace", "--shuffle-seed", "1"]), stat["version"]);
    assert_eq!(place.code(&["dataset", "verify", &local]), 0);
}

#[test]
fn splits_are_packed_side_by_side() {
    let place = Place::new();
    place.write("a/1.txt", b"1");
    place.write("b/2.txt", b"22");
    place.write("3.txt", b"333");
    place.ok(&[
        "dataset",
        "pack",
        DATA,
        "--split",
        "train=a",
        "--split",
        "test=b",
        "--split",
        "test=3.txt",
    ]);
    let shards = lines(&place.ok(&["dataset", "ls", DATA, "--json"]));
    let of = |at: usize| (shards[at]["split"].as_str().unwrap(), shards[at]["samples"].clone());
    assert_eq!([of(0), of(1)], [("test", 2.into()), ("train", 1.into())]);
}

#[test]
fn damage_is_named_and_has_its_exit_code() {
    let place = with_files();
    place.ok(&PACK);
    {
        let mut state = place.server.state();
        let of = |number: u8| ("data".to_owned(), format!("flowers/train-00000{number}.tar"));
        let mut wrong = state.objects[&of(0)].data.to_vec();
        wrong[700] ^= 1;
        state.objects.get_mut(&of(0)).unwrap().data = wrong.into();
        state.objects.remove(&of(2));
    }
    let checked = place.run(&["dataset", "verify", DATA]);
    assert_eq!(checked.status.code(), Some(6));
    let told = text(&checked.stdout);
    assert!(told.contains("corrupt shard s3://data/flowers/train-000000.tar"), "{told}");
    assert!(told.contains("missing shard s3://data/flowers/train-000002.tar"), "{told}");
    assert!(told.contains("2 NOT sound"), "{told}");
    let states = lines(&text(&place.run(&["dataset", "verify", DATA, "--json"]).stdout));
    let states: Vec<_> = states.iter().filter_map(|line| line["state"].as_str()).collect();
    assert_eq!(states, ["damaged", "sound", "missing"]);
    assert_eq!(place.code(&["dataset", "ls", DATA, "--samples", "train-000000.tar"]), 6);

    place.server.put("data", "flowers/index.json", "{");
    for command in ["verify", "ls", "stat"] {
        assert_eq!(place.code(&["dataset", command, DATA]), 6, "{command}");
    }
}

#[test]
fn exit_codes_and_errors_are_as_documented() {
    let place = with_files();
    place.ok(&PACK);
    let before = place.server.get("data", "flowers/index.json").unwrap().etag;
    let again = place.run(&PACK);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("--replace"), "{}", text(&again.stderr));
    assert_eq!(place.server.get("data", "flowers/index.json").unwrap().etag, before);
    for (args, code) in [
        (&["dataset", "pack", "s3://data/x"][..], 2),
        (&["dataset", "pack", "nowhere", "s3://data/x"], 3),
        (&["dataset", "pack", "flowers/README", "s3://data/x", "--labels-from-folders"], 2),
        (&["dataset", "pack", "flowers", "flowers/rose", "--split", "a b=x"], 2),
        (&["dataset", "verify", "s3://data/nope"], 3),
        (&["dataset", "stat", "s3://nope/nope"], 3),
        (&["dataset", "stat", "file:///nonexistent"], 3),
        (&["dataset", "ls", DATA, "--split", "nope"], 2),
        (&["dataset", "ls", DATA, "--samples", "nope.tar"], 2),
        (&["dataset", "pack", "--help"], 0),
    ] {
        assert_eq!(place.code(args), code, "{args:?}");
    }
    place.server.state().faults =
        vec![("GET /data/flowers/index.json".to_owned(), 403, "AccessDenied")];
    assert_eq!(place.code(&["dataset", "stat", DATA]), 4);
}

/// Local datasets need no gateway, and so no configuration.
#[test]
fn local_datasets_need_no_profile() {
    let place = with_files();
    let local = format!("file://{}/local", place.folder.path().display());
    for args in [&["dataset", "pack", "flowers", &local][..], &["dataset", "verify", &local]] {
        let output =
            place.command(args).env_remove("COFFER_CONFIG").env("HOME", "/nonexistent").output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
}
