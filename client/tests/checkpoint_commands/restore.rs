//! `restore`: what it writes, what it leaves alone, and what it never leaves half done.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use coffer_client::checkpoint::restore::{State, survey};
use coffer_client::checkpoint::{Checkpoints, Cut, Selector};
use coffer_client::place::Place;
use futures::FutureExt;
use object_store::memory::InMemory;
use serde_json::json;

use crate::hooked::{Fate, Hook, Hooked, Request};
use crate::support::{Bench, damage, files, parts, snapshot};

#[test]
fn all_files_come_and_only_those_that_lack_come_again() {
    let bench = Bench::with(&[10, 20], 0);
    let told = bench.json(&["restore", "@step-10", "deep/there"]);
    assert_eq!(told.len(), 3);
    assert!(told.iter().all(|line| line["op"] == "restore" && line["fetched"] == true));
    let there = bench.path("deep/there");
    let expected: Vec<_> = parts(10).into_iter().map(|(name, c)| (there.join(name), c)).collect();
    assert!(files(&there).into_iter().eq(expected.iter().map(|(n, c)| (n.clone(), c.to_vec()))));
    // As any program's files, not as secrets.
    let mode = std::fs::metadata(there.join("state.json")).unwrap().mode();
    assert_eq!(mode & 0o400, 0o400);

    // What is right is not fetched: its chunks could not be.
    std::fs::remove_file(bench.chunk(10, "frozen.safetensors", 1)).unwrap();
    std::fs::remove_file(there.join("state.json")).unwrap();
    let told = bench.json(&["restore", "@step-10", "deep/there"]);
    let fetched: Vec<_> = told.iter().map(|line| json!([line["part"], line["fetched"]])).collect();
    let expected =
        [("frozen.safetensors", false), ("model.safetensors", false), ("state.json", true)];
    assert_eq!(fetched, expected.map(|(part, fetched)| json!([part, fetched])));
    assert!(bench.ok(&["restore", "@step-10", "deep/there"]).contains("there already: "));
}

#[test]
fn files_of_others_are_left_alone_unless_forced() {
    let bench = Bench::with(&[10, 20], 0);
    bench.ok(&["restore", "@step-10", "there", "--part", "state.json"]);
    let there = bench.path("there");
    assert_eq!(files(&there).len(), 1);
    let before = files(&there);
    let (told, errors) = bench.ends(1, &["restore", "@step-20", "there"]);
    assert!(errors.contains("state.json") && errors.contains("--force"), "{errors}");
    assert_eq!((told.as_str(), files(&there)), ("", before));
    bench.ok(&["restore", "@step-20", "there", "--force"]);
    assert_eq!(files(&there).len(), 3);
    assert_eq!(std::fs::read(there.join("state.json")).unwrap(), b"{\"step\":20}");

    std::fs::remove_file(there.join("state.json")).unwrap();
    std::fs::create_dir(there.join("state.json")).unwrap();
    let (_, errors) = bench.ends(1, &["restore", "@step-20", "there", "--force"]);
    assert!(errors.contains("no file, and in the way"), "{errors}");
    let (_, errors) = bench.ends(2, &["restore", "@step-20", "there", "--part", "modle"]);
    assert!(errors.contains("no part `modle`") && errors.contains("model.safetensors"), "{errors}");
}

#[test]
fn what_is_damaged_is_named_and_not_written() {
    let bench = Bench::with(&[10], 0);
    let chunk = bench.chunk(10, "frozen.safetensors", 1);
    damage(&chunk);
    std::fs::create_dir(bench.path("there")).unwrap();
    std::fs::write(bench.path("there/frozen.safetensors"), "old").unwrap();
    let (_, errors) = bench.ends(6, &["restore", "@run", "there", "--force"]);
    assert!(errors.contains(&format!("file://{}", chunk.display())), "{errors}");
    // What was there is as it was, and nothing else was left.
    assert_eq!(std::fs::read(bench.path("there/frozen.safetensors")).unwrap(), b"old");
    assert!(files(&bench.path("there")).keys().all(|file| !file.ends_with(".part")));
    bench.ok(&["restore", "@run", "other", "--part", "model.safetensors"]);
}

/// Names come from whoever wrote the manifest.
#[test]
fn no_part_leads_out_of_the_folder() {
    let bench = Bench::with(&[], 0);
    let mut odd = snapshot(1);
    odd.parts.insert("../outside".to_owned(), "x".into());
    bench.save([odd]);
    let (_, errors) = bench.ends(2, &["restore", "@run", "there"]);
    assert!(errors.contains("../outside"), "{errors}");
    assert!(!bench.path("outside").exists() && !bench.path("there").exists());
}

#[tokio::test]
async fn a_store_that_fails_on_the_way_leaves_no_file_and_what_is_right_stays() {
    let inner = Arc::new(InMemory::new());
    let whole =
        Place::new(Arc::clone(&inner) as Arc<dyn object_store::ObjectStore>, "memory://run");
    let (mut saver, _) = Checkpoints::open(&whole).resume().await.unwrap();
    saver.save(&Cut::of(snapshot(10)), &|_| ()).await.unwrap();
    let sound = Checkpoints::open(&whole);
    let entry = sound.find(Selector::Latest).await.unwrap();
    let manifest = sound.manifest(&entry).await.unwrap();
    let second = manifest.parts["frozen.safetensors"].chunks[1].blake3.to_string();
    let hook: Hook = Arc::new(move |request, name, _| {
        let fails = request == Request::Get && name.ends_with(&second);
        let broken = || object_store::Error::Generic { store: "test", source: "broken".into() };
        async move { if fails { Err(broken()) } else { Ok(Fate::Answered) } }.boxed()
    });
    let broken = Place::new(Arc::new(Hooked::new(inner, hook)), "memory://run");
    let broken = Checkpoints::open(&broken);

    let dir = tempfile::tempdir().unwrap();
    let (mut failed, mut done) = (0, 0);
    for target in survey(&manifest, dir.path(), |_| true).await.unwrap() {
        assert_eq!(target.state, State::Absent);
        match broken.restore(&target, &()).await {
            Ok(()) => done += 1,
            Err(error) => {
                assert!(error.to_string().contains("memory://run/checkpoints/saves"), "{error}");
                failed += 1;
            }
        }
    }
    assert_eq!((failed, done, files(dir.path()).len()), (1, 2, 2));
    let again = survey(&manifest, dir.path(), |_| true).await.unwrap();
    for target in again.iter().filter(|target| target.state != State::Right) {
        assert_eq!(target.name, "frozen.safetensors");
        // Somebody else makes a file of this name meanwhile: it isn't overwritten.
        std::fs::write(&target.file, "mine").unwrap();
        assert!(sound.restore(target, &()).await.is_err());
        assert_eq!(std::fs::read(&target.file).unwrap(), b"mine");
        std::fs::remove_file(&target.file).unwrap();
        sound.restore(target, &()).await.unwrap();
    }
    let found = survey(&manifest, dir.path(), |_| true).await.unwrap();
    assert!(found.iter().all(|target| target.state == State::Right));
    assert_eq!(files(dir.path()).len(), 3);
}
