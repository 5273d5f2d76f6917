//! Running the program.

use coffer_bench::report::{Measured, Report};
use std::process::Output;
use std::time::Duration;

/// How long a small run may take on a busy machine until it counts as hung.
const PATIENCE: Duration = Duration::from_secs(300);

/// Runs the program and waits for it.
pub(crate) async fn bench(args: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_coffer-bench"));
    // Nothing that is set here may decide what is measured.
    for name in ["COFFER_CONFIG", "COFFER_PROFILE", "COFFER_ENDPOINT", "AWS_ACCESS_KEY_ID"] {
        command.env_remove(name);
    }
    command.args(args).kill_on_drop(true);
    tokio::time::timeout(PATIENCE, command.output()).await.expect("it hangs").unwrap()
}

/// Runs the program with `--json`, which must end with `code`.
pub(crate) async fn report(args: &[&str], code: i32) -> Report {
    let args: Vec<&str> = args.iter().copied().chain(["--json", "--warm-up", "0s"]).collect();
    let output = bench(&args).await;
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{args:?}: {out}{err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
}

/// One operation of the only run.
pub(crate) fn only<'a>(report: &'a Report, operation: &str) -> &'a Measured {
    assert_eq!(report.runs.len(), 1);
    report.runs[0].operations.get(operation).unwrap_or_else(|| panic!("{report:?}"))
}
