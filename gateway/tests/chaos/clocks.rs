//! Clocks that jump, by libfaketime where it is installed.

use super::support::processes::Member;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The clocks of all processes: for each a file that says how far it is off.
#[derive(Debug, Clone)]
pub(crate) struct Clocks {
    library: Option<PathBuf>,
    dir: PathBuf,
}

impl Clocks {
    /// Right clocks, told of in `dir`.
    pub(crate) fn new(dir: &Path) -> Self {
        let library = library();
        if library.is_none() {
            println!("libfaketime is not installed (Debian: faketime): no clock jumps");
        }
        std::fs::create_dir_all(dir).unwrap();
        Self { library, dir: dir.to_owned() }
    }

    pub(crate) fn can_jump(&self) -> bool {
        self.library.is_some()
    }

    /// Has a process that is about to be started go by its own clock.
    pub(crate) fn dress(&self, member: Member, command: &mut Command) {
        let Some(library) = &self.library else { return };
        let file = self.file(member);
        if !file.exists() {
            self.set(member, 0);
        }
        command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", file);
        // Only the time of day jumps, and soon after it was told to.
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("NO_FAKE_STAT", "1");
        command.env("FAKETIME_CACHE_DURATION", "1");
    }

    /// Puts a clock ahead by so many seconds, or back.
    pub(crate) fn set(&self, member: Member, seconds: i64) {
        // So that nobody reads half a file.
        let new = self.file(member).with_extension("new");
        std::fs::write(&new, format!("{seconds:+}\n")).unwrap();
        std::fs::rename(new, self.file(member)).unwrap();
    }

    fn file(&self, member: Member) -> PathBuf {
        self.dir.join(format!("{member:?}"))
    }
}

/// What libfaketime leaves behind of processes that are killed. It is deleted with this.
#[derive(Debug, Default)]
pub(crate) struct Leftovers(Vec<u32>);

impl Leftovers {
    /// Takes note of a process that was started.
    pub(crate) fn runs_as(&mut self, pid: u32) {
        self.0.push(pid);
    }
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        for pid in &self.0 {
            for name in ["faketime_shm", "sem.faketime_sem"] {
                let _ = std::fs::remove_file(format!("/dev/shm/{name}_{pid}"));
            }
        }
    }
}

fn library() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let places = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    places.into_iter().find(|path| path.exists())
}
