//! Unmodified S3 clients against a cluster in one process: the scripts in `clients/`.
//!
//! A client that is not installed is said to be skipped, or fails its test where
//! `COFFER_REQUIRE_CLIENTS` is set. `deploy/run-tests` installs them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/processes.rs"]
mod processes;
#[path = "support/run.rs"]
mod run;

use coffer_client::ProfileOptions;
use coffer_client::dataset::pack::files::Plan;
use coffer_client::dataset::pack::{Existing, Packing, ShardLimit};
use coffer_client::place::Opener;
use coffer_client::transfer::walk;
use coffer_gateway::run::Embedded;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// A script's exit status when its client is not installed.
const MISSING: i32 = 77;
/// Under this domain, hosts name buckets.
const DOMAIN: &str = "s3.test";
/// When a script is taken to hang. None takes a tenth of that.
const PATIENCE: Duration = Duration::from_secs(600);

/// Runs a script of `clients/` against a cluster of its own; its last line tells what came of it.
async fn passes(script: &str) {
    passes_after(script, async |_| Vec::new()).await;
}

/// As [`passes`], after `prepare`, which tells the script by environment variables what it did.
async fn passes_after(
    script: &str,
    prepare: impl AsyncFnOnce(&Embedded) -> Vec<(&'static str, OsString)>,
) {
    let dir = tempfile::tempdir().unwrap();
    let work = tempfile::tempdir().unwrap();
    let config = format!("listen = \"127.0.0.1:0\"\ndomains = [\"{DOMAIN}\"]\n");
    std::fs::write(dir.path().join("gateway.toml"), config).unwrap();
    let cluster = Embedded::start(dir.path(), Default::default()).await.unwrap();
    let key = cluster.root_key();
    let prepared = prepare(&cluster).await;
    let python = std::env::var("COFFER_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let child = Command::new(python)
        // No compiled scripts beside the sources.
        .arg("-B")
        .arg(format!("{}/tests/clients/{script}.py", env!("CARGO_MANIFEST_DIR")))
        .current_dir(work.path())
        .env("ENDPOINT", cluster.endpoint())
        .env("DOMAIN", DOMAIN)
        .env("AWS_ACCESS_KEY_ID", &key.access_key)
        .env("AWS_SECRET_ACCESS_KEY", key.secret_key.as_str())
        .env("AWS_CA_BUNDLE", cluster.ca_file())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("HOME", work.path())
        .env("WORK", work.path())
        .env("DATA", dir.path())
        .envs(prepared)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let child = match child {
        Ok(child) => child,
        Err(error) => return skipped(&format!("SKIPPED: Python can't be started: {error}")),
    };
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output());
    let output = output.await.unwrap_or_else(|_| panic!("{script} hangs")).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let tail: Vec<&str> = text.lines().rev().take(5).collect();
    if output.status.code() == Some(MISSING) {
        skipped(tail[0]);
    } else {
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {tail:#?}\n{errors}");
        println!("{script}: {}", tail[0]);
    }
    cluster.stop().await;
}

fn skipped(why: &str) {
    assert!(
        std::env::var_os("COFFER_REQUIRE_CLIENTS").is_none(),
        "{why}, and COFFER_REQUIRE_CLIENTS is set"
    );
    println!("{why}");
}

/// A test for each script.
macro_rules! clients {
    ($($test:ident: $script:literal),+ $(,)?) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            passes($script).await;
        })+
    };
}

clients! {
    boto3_and_aws_cli_pass: "compat",
    boto3_sees_versions_tags_and_locks: "versions",
    boto3_in_virtual_host_style_passes: "virtual_host",
    boto3_sees_encryption_and_checksums: "encryption",
    curl_with_presigned_urls_passes: "presigned",
    duckdb_reads_and_writes_parquet: "parquet_duckdb",
    minio_py_passes: "minio_sdk",
    mint_of_minio_py_passes: "mint_minio_py",
    pyarrow_reads_and_writes_parquet: "parquet_pyarrow",
    rclone_syncs_both_ways: "rclone_sync",
    restic_backs_up_and_restores: "restic_backup",
    s3cmd_syncs_both_ways: "s3cmd_tree",
    s3fs_mounts_a_bucket: "s3fs_mount",
    torch_connector_streams_checkpoints: "torch_connector",
    webdataset_reads_shards: "webdataset_shards",
}

#[tokio::test(flavor = "multi_thread")]
async fn safetensors_reads_checkpoints() {
    let prepare = async |cluster: &Embedded| {
        let mut saver = run::saver(&run::place(cluster).await).await;
        for step in [10, 20] {
            run::save(&mut saver, step, &|_| ()).await;
        }
        vec![
            ("RUN", run::RUN.into()),
            ("COFFER", processes::binary("coffer").into()),
            ("COFFER_CONFIG", cluster.client_profile().into()),
        ]
    };
    passes_after("safetensors_checkpoint", prepare).await;
}

/// Packs a folder for each class, with odd names and fields, and has Python read all of it.
#[tokio::test(flavor = "multi_thread")]
async fn webdataset_reads_packed_files() {
    let files = tempfile::tempdir().unwrap();
    let mut splits = BTreeMap::new();
    for (split, samples) in [("train", 90), ("test", 25)] {
        let root = files.path().join(split);
        for at in 0..samples {
            let folder = root.join(["zebra", "ant", "über ant"][at % 3]);
            std::fs::create_dir_all(folder.join("deep/er")).unwrap();
            let stem = ["", "deep/er/"][at % 2].to_owned() + &format!("{at:05} {}", "n".repeat(at));
            for (field, size) in [("bin", 7000 * (at % 5)), ("seg.txt", at)] {
                std::fs::write(folder.join(format!("{stem}.{field}")), vec![b'x'; size]).unwrap();
            }
        }
        let mut found = Vec::new();
        let mut walking = walk(root.clone());
        while let Some(file) = walking.recv().await {
            found.push(file.unwrap());
        }
        splits.insert(split.parse().unwrap(), found);
    }
    let mut plan = Plan::new(splits).unwrap();
    plan.label_by_folders().unwrap();
    plan.shuffle(1);
    // What the labels must be, beside the files that were packed.
    for split in ["train", "test"] {
        for (number, class) in ["ant", "zebra", "über ant"].iter().enumerate() {
            let mut walking = walk(files.path().join(split).join(class));
            while let Some(file) = walking.recv().await {
                let path = file.unwrap().path;
                if path.extension() == Some("bin".as_ref()) {
                    std::fs::write(path.with_extension("cls"), number.to_string()).unwrap();
                }
            }
        }
    }
    let prepare = async |cluster: &Embedded| {
        let config = Some(cluster.client_profile());
        let opener = Opener::new(ProfileOptions { config, ..ProfileOptions::default() });
        let place = opener.create(&"s3://data/sets/odd".parse().unwrap()).await.unwrap();
        let packing = Packing::begin(&place, Existing::Refuse, Default::default()).await.unwrap();
        let limit = ShardLimit::Bytes((200 << 10).try_into().unwrap());
        let four = NonZeroUsize::new(4).unwrap();
        let index = plan.pack(packing, "odd", limit, four, |_, _| Ok(())).await.unwrap();
        opener.close().await;
        assert!(index.splits.values().all(|shards| shards.len() > 1));
        vec![("PLACE", "data/sets/odd".into()), ("EXPECTED", files.path().into())]
    };
    passes_after("webdataset_packed", prepare).await;
}
