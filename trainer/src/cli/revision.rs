//! The source that the program was started beside.

use std::process::{Command, Stdio};

use coffer_train::checkpoint::Revision;

/// What is checked out in the working directory; none outside of a git repository, or without git.
pub(super) fn revision() -> Option<Revision> {
    let commit = git(&["rev-parse", "--verify", "HEAD"])?.trim().to_owned();
    // Files that git doesn't know may be anything: pictures, data.
    let dirty = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    (!commit.is_empty()).then_some(Revision { commit, dirty })
}

fn git(args: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    command.args(args).env("GIT_OPTIONAL_LOCKS", "0").stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}
