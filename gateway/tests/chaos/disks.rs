//! The nodes' disks: small file systems that fill up, and bytes that change by themselves.

use super::support::dice::Dice;
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes of a node's file system.
const SIZE: u64 = 256 << 20;

/// File systems of their own for some directories, where this process may mount any.
#[derive(Debug)]
pub(crate) struct Disks(Vec<PathBuf>);

impl Disks {
    /// Puts each directory, with all that is in it, on a file system of its own; all or none.
    pub(crate) fn mount(dirs: impl Iterator<Item = PathBuf>) -> Self {
        let mut disks = Self(Vec::new());
        for dir in dirs {
            let files: Vec<_> = std::fs::read_dir(&dir).unwrap().flatten().collect();
            let files: Vec<_> = files
                .iter()
                .map(|f| (f.path(), f.metadata().unwrap(), std::fs::read(f.path()).unwrap()))
                .collect();
            let options = format!("size={SIZE},mode=700");
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&dir);
            if !mount.output().is_ok_and(|done| done.status.success()) {
                println!("no file system can be mounted here: no disk fills up");
                return Self(Vec::new());
            }
            disks.0.push(dir);
            for (path, metadata, bytes) in files {
                std::fs::write(&path, bytes).unwrap();
                std::fs::set_permissions(&path, metadata.permissions()).unwrap();
            }
        }
        disks
    }

    pub(crate) fn can_fill(&self) -> bool {
        !self.0.is_empty()
    }

    /// Leaves so many bytes free.
    pub(crate) fn fill(&self, node: usize, free: u64) {
        let file = std::fs::File::create(self.filler(node)).unwrap();
        let piece = vec![0; 64 << 10];
        let mut at = 0;
        while let Ok(written) = file.write_at(&piece, at) {
            at += written as u64;
        }
        file.set_len(at.saturating_sub(free)).unwrap();
    }

    pub(crate) fn free(&self, node: usize) {
        std::fs::remove_file(self.filler(node)).unwrap();
    }

    fn filler(&self, node: usize) -> PathBuf {
        self.0[node].join("filler")
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        for dir in &self.0 {
            // Whoever still has a file open there does not keep it.
            let _ = Command::new("umount").arg("--lazy").arg(dir).status();
        }
    }
}

/// The files of a node's volumes, and how long they are.
pub(crate) type Lengths = BTreeMap<PathBuf, u64>;

pub(crate) fn lengths(node: &Path) -> Lengths {
    let files = std::fs::read_dir(node.join("volumes")).unwrap().flatten();
    files.filter_map(|file| Some((file.path(), file.metadata().ok()?.len()))).collect()
}

/// Flips a bit in each of so many bytes of these files, as far as they still exist. Returns how many
/// there were.
pub(crate) fn flip(files: &Lengths, bytes: u64, dice: &mut Dice) -> u64 {
    let files: Vec<_> = files.iter().filter(|(_, len)| **len > 0).collect();
    let mut flipped = 0;
    for _ in 0..if files.is_empty() { 0 } else { bytes } {
        let (path, len) = *dice.pick(&files);
        let (at, bit) = (dice.below(*len), dice.below(8));
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path);
        let mut byte = [0];
        if let Ok(file) = file
            && file.read_exact_at(&mut byte, at).is_ok()
        {
            byte[0] ^= 1 << bit;
            // A hole can't be filled on a disk that is full.
            flipped += u64::from(file.write_all_at(&byte, at).is_ok());
        }
    }
    flipped
}
