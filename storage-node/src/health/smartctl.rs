//! Running `smartctl`: rarely, with a time-out, and with a bound on what it may say.

use crate::clock::Stop;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long a disk may take to answer.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How often is looked whether the node is stopping.
const LOOK: Duration = Duration::from_millis(100);
/// The longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 1 << 20;

/// Why a disk gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// There is no such program.
    #[error("smartctl is not installed")]
    NotInstalled,
    /// It could not be run.
    #[error("smartctl can't be run: {0}")]
    Io(#[from] io::Error),
    /// It took too long, or the node is stopping.
    #[error("smartctl did not answer in time")]
    TimedOut,
}

/// What `program` says of a disk, as JSON. A disk that sleeps is not woken. The exit code is not
/// looked at: its bits tell of the disk's state what the answer tells too.
pub(super) fn ask(program: &OsStr, disk: &str, stop: &Stop) -> Result<Vec<u8>, AskError> {
    // In sysfs a slash within a device's name is spelt so.
    let device = format!("/dev/{}", disk.replace('!', "/"));
    let mut child = Command::new(program)
        .args(["--json=c", "--nocheck=standby", "--info", "--health", "--attributes", &device])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => AskError::NotInstalled,
            _ => AskError::Io(e),
        })?;
    let answer = read_answer(&mut child, stop);
    // It has ended, or it is to end.
    let _ = child.kill();
    let _ = child.wait();
    answer
}

fn read_answer(child: &mut Child, stop: &Stop) -> Result<Vec<u8>, AskError> {
    let Some(output) = child.stdout.take() else { return Err(AskError::TimedOut) };
    let (send, receive) = mpsc::channel();
    // The thread ends when the program does, at the latest when it is killed.
    std::thread::Builder::new().name("smartctl".into()).spawn(move || {
        let mut answer = Vec::new();
        let read = output.take(MAX_ANSWER).read_to_end(&mut answer);
        // Nobody may be waiting any more.
        let _ = send.send(read.map(|_| answer));
    })?;
    let begin = Instant::now();
    while begin.elapsed() < TIMEOUT && !stop.is_raised() {
        match receive.recv_timeout(LOOK) {
            Ok(answer) => return Ok(answer?),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    Err(AskError::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn script(dir: &tempfile::TempDir, body: &str) -> std::path::PathBuf {
        let path = dir.path().join("smartctl");
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    // One test, not two: a script can't be run while a process that another thread is just starting
    // holds it open for writing.
    #[test]
    fn the_answer_is_read_and_a_disk_that_gives_none_holds_nobody_up_who_wants_to_stop() {
        let dir = tempfile::tempdir().unwrap();
        let path = script(&dir, "echo \"$@\"; exit 64");
        let answer = ask(path.as_os_str(), "cciss!c0d0", &Stop::default()).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.contains("--json=c") && answer.trim_end().ends_with("/dev/cciss/c0d0"));
        let missing = ask(dir.path().join("none").as_os_str(), "sda", &Stop::default());
        assert!(matches!(missing, Err(AskError::NotInstalled)));

        let path = script(&dir, "exec sleep 600");
        let stop = Stop::default();
        stop.raise();
        assert!(matches!(ask(path.as_os_str(), "sda", &stop), Err(AskError::TimedOut)));
    }
}
