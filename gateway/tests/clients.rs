//! Unmodified S3 clients against a cluster in one process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use coffer_gateway::run::Embedded;
use std::process::Command;

/// The Python with the clients in it, or `None`, said aloud, where there is none.
fn python() -> Option<String> {
    let python = std::env::var("COFFER_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let probe = Command::new(&python).args(["-c", "import boto3"]).output();
    let found = probe.is_ok_and(|p| p.status.success());
    let aws = Command::new("aws").arg("--version").output().is_ok_and(|p| p.status.success());
    if found && aws {
        return Some(python);
    }
    assert!(
        std::env::var_os("COFFER_REQUIRE_CLIENTS").is_none(),
        "boto3 or aws-cli is missing, and COFFER_REQUIRE_CLIENTS is set"
    );
    println!("SKIPPED: boto3 or aws-cli is not installed (deploy/run-tests installs them)");
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_and_aws_cli_pass() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let work = tempfile::tempdir().unwrap();
    let cluster = Embedded::start(dir.path(), Default::default()).await.unwrap();
    let key = cluster.root_key();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/compat.py");
    let mut command = Command::new(python);
    command
        .arg(script)
        .env("ENDPOINT", cluster.endpoint())
        .env("AWS_ACCESS_KEY_ID", &key.access_key)
        .env("AWS_SECRET_ACCESS_KEY", key.secret_key.as_str())
        .env("AWS_CA_BUNDLE", cluster.ca_file())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("WORK", work.path());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let tail: Vec<&str> = text.lines().rev().take(5).collect();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tail:#?}\n{errors}");
    println!("{}", tail[0]);
    cluster.stop().await;
}
