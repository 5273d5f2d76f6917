//! `coffer checkpoint` and checkpoints saved through a real gateway.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/processes.rs"]
mod processes;
#[path = "support/run.rs"]
mod run;

use coffer_client::checkpoint::{Checkpoints, Selector};
use coffer_client::place::Place;
use coffer_gateway::run::Embedded;
use futures::TryStreamExt;
use object_store::path::Path as Name;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use processes::binary;
use run::{RUN, parts, place, save, saver};
use serde_json::Value;
use std::path::Path;
use std::process::Output;
use tokio::process::Command;

/// A cluster, a run on it, and a folder to work in.
struct Fixture {
    dir: tempfile::TempDir,
    cluster: Embedded,
    run: Place,
}

impl Fixture {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cluster = Embedded::start(&dir.path().join("data"), Default::default()).await.unwrap();
        let run = place(&cluster).await;
        Self { dir, cluster, run }
    }

    /// Runs `coffer checkpoint`.
    async fn coffer(&self, args: &[&str]) -> Output {
        let command = Command::new(binary("coffer"))
            .env_clear()
            .arg("--config")
            .arg(self.cluster.client_profile())
            .arg("checkpoint")
            .args(args)
            .current_dir(self.dir.path())
            .kill_on_drop(true)
            .output();
        command.await.unwrap()
    }

    /// Runs a command that must end with `code`; what it printed as JSON, and its errors.
    async fn ends(&self, code: i32, args: &[&str]) -> (Vec<Value>, String) {
        let output = self.coffer(&[args, &["--json"]].concat()).await;
        let (told, errors) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{args:?}: {told}\n{errors}");
        (told.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), errors)
    }

    /// Names, sizes and entity tags of everything that is stored of the run.
    async fn stored(&self) -> Vec<(String, u64, Option<String>)> {
        let objects: Vec<ObjectMeta> = self.run.store().list(None).try_collect().await.unwrap();
        let objects = objects.into_iter().map(|o| (o.location.to_string(), o.size, o.e_tag));
        let mut objects: Vec<_> = objects.collect();
        objects.sort();
        objects
    }
}

fn text(data: &[u8]) -> String {
    String::from_utf8(data.to_vec()).unwrap()
}

fn at(selector: &str) -> String {
    format!("{RUN}@{selector}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_in_a_bucket_is_looked_after() {
    let fixture = Fixture::start().await;
    let mut writer = saver(&fixture.run).await;
    for step in [10, 20, 30] {
        save(&mut writer, step, &|_| ()).await;
    }

    let (rows, _) = fixture.ends(0, &["ls", RUN]).await;
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[2]["latest"], true);
    let (shown, _) = fixture.ends(0, &["show", &at("epoch-2"), "--lineage"]).await;
    assert_eq!(shown[0]["parts"]["model.safetensors"]["tensors"].as_array().unwrap().len(), 7);
    assert_eq!(shown[0]["ancestors"][0]["checkpoint"], "step-00000010");
    let (lines, _) = fixture.ends(1, &["diff", &at("epoch-1"), "@epoch-3", "--values"]).await;
    let large = lines.iter().find(|line| line["tensor"] == "decoder.large").unwrap();
    assert_eq!(large["greatest_difference"], 20.0);
    fixture.ends(0, &["diff", RUN, "@latest"]).await;

    fixture.ends(0, &["restore", &at("epoch-1"), "there"]).await;
    for (name, content) in parts(10) {
        let file = fixture.dir.path().join("there").join(&name);
        assert!(std::fs::read(&file).unwrap() == content, "{name}");
    }
    let (again, _) = fixture.ends(0, &["restore", &at("epoch-1"), "there"]).await;
    assert!(again.iter().all(|line| line["fetched"] == false));

    fixture.ends(0, &["pin", &at("epoch-1")]).await;
    let before = fixture.stored().await;
    let rules = ["prune", RUN, "--keep-last", "1"];
    let (would, _) = fixture.ends(0, &[&rules[..], &["--dry-run"]].concat()).await;
    assert_eq!(fixture.stored().await, before);
    let (done, _) = fixture.ends(0, &rules).await;
    let kept: Vec<_> = done[..3].iter().map(|line| line["keep"].clone()).collect();
    assert_eq!(kept, [true, false, true]);
    assert_eq!(would[3]["freed_bytes"], done[3]["freed_bytes"]);
    let size = |objects: &[(String, u64, Option<String>)]| {
        let objects = objects.iter().filter(|(name, ..)| !name.ends_with("index.json"));
        objects.map(|(_, size, _)| size).sum::<u64>()
    };
    assert_eq!(
        size(&before) - size(&fixture.stored().await),
        done[3]["freed_bytes"].as_u64().unwrap()
    );
    fixture.ends(0, &["verify", RUN, "--all"]).await;
    fixture.ends(3, &["show", &at("epoch-2")]).await;

    // What is lost is named by its address.
    let checkpoints = Checkpoints::open(&fixture.run);
    let entry = checkpoints.find(Selector::Latest).await.unwrap();
    let chunk = checkpoints.manifest(&entry).await.unwrap().parts["model.safetensors"].chunks[2];
    let name = format!("checkpoints/saves/{}/{}", chunk.save, chunk.blake3);
    fixture.run.store().delete(&Name::from(name.as_str())).await.unwrap();
    let (_, errors) = fixture.ends(6, &["verify", RUN]).await;
    assert!(errors.contains(&format!("{RUN}/{name}")), "{errors}");
    fixture.ends(6, &["restore", RUN, "other"]).await;
    assert!(!Path::new(&fixture.dir.path().join("other/model.safetensors")).exists());

    // And what was never there.
    let (_, errors) = fixture.ends(3, &["ls", "s3://training/nothing"]).await;
    assert!(errors.contains("no checkpoints at"), "{errors}");
    fixture.ends(3, &["ls", "s3://nobody/nothing"]).await;
    fixture.cluster.stop().await;
}

/// The harshest prune there is, with no grace for saves that are under way, during each save.
#[tokio::test(flavor = "multi_thread")]
async fn pruning_while_a_save_is_in_flight_harms_neither() {
    let fixture = Fixture::start().await;
    let mut writer = saver(&fixture.run).await;
    save(&mut writer, 1, &|_| ()).await;
    for step in 2..8 {
        let prune = ["prune", RUN, "--keep-last", "1", "--grace", "0s"];
        let begun = tokio::sync::Notify::new();
        let progress = |bytes| {
            if bytes > 0 {
                begun.notify_one();
            }
        };
        // A chunk of it is there, and nothing that is listed refers to it.
        let pruned = async {
            begun.notified().await;
            fixture.ends(0, &prune).await
        };
        let (saved, _) = tokio::join!(save(&mut writer, step, &progress), pruned);
        let root = Checkpoints::open(&fixture.run).root().await.unwrap().unwrap();
        assert_eq!(root.latest(), &saved.entry);
        let (whole, _) = fixture.ends(0, &["verify", RUN, "--all"]).await;
        assert_eq!(whole.len(), root.checkpoints().len());
    }
    fixture.ends(0, &["prune", RUN, "--keep-last", "1", "--grace", "0s"]).await;
    let entry = Checkpoints::open(&fixture.run).find(Selector::Latest).await.unwrap();
    // Nothing is left but the root, and the latest: a manifest and its chunks.
    let chunks = Checkpoints::open(&fixture.run).manifest(&entry).await.unwrap().parts;
    let chunks: usize = chunks.values().map(|part| part.chunks.len()).sum();
    assert_eq!(fixture.stored().await.len(), chunks + 2);
    fixture.ends(0, &["verify", RUN]).await;
    fixture.cluster.stop().await;
}
