//! Unmodified S3 clients against a cluster in one process: the scripts in `clients/`.
//!
//! A client that is not installed is said to be skipped, or fails its test where
//! `COFFER_REQUIRE_CLIENTS` is set. `deploy/run-tests` installs them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/processes.rs"]
mod processes;
#[path = "support/run.rs"]
mod run;

use coffer_gateway::run::Embedded;
use std::ffi::OsString;
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
