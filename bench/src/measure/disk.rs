//! Space on disk.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bytes that the file system has allocated for all that is in `dirs`: holes take nothing, files
/// with several names count once. Files that go away meanwhile do not count.
///
/// # Errors
/// If a directory can't be read.
pub fn allocated(dirs: &[PathBuf]) -> io::Result<u64> {
    let mut seen = HashSet::new();
    let mut sum = 0;
    for dir in dirs {
        fs::read_dir(dir)?;
        add(dir, &mut seen, &mut sum)?;
    }
    Ok(sum)
}

fn add(path: &Path, seen: &mut HashSet<(u64, u64)>, sum: &mut u64) -> io::Result<()> {
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let meta = match fs::symlink_metadata(path) {
        Err(error) if gone(&error) => return Ok(()),
        meta => meta?,
    };
    if seen.insert((meta.dev(), meta.ino())) {
        // In units of 512 bytes, whatever the file system's are.
        *sum += meta.blocks() * 512;
    }
    if meta.is_dir() {
        let entries = match fs::read_dir(path) {
            Err(error) if gone(&error) => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            add(&entry?.path(), seen, sum)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_free_and_links_count_once() {
        let dir = tempfile::tempdir().unwrap();
        let size = || allocated(&[dir.path().to_owned()]).unwrap();
        let empty = size();
        let file = fs::File::create(dir.path().join("hole")).unwrap();
        file.set_len(1 << 30).unwrap();
        assert!(size() - empty < 1 << 20);
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("sub/data"), vec![7; 1 << 20]).unwrap();
        fs::File::open(dir.path().join("sub/data")).unwrap().sync_all().unwrap();
        let once = size();
        assert!(once - empty >= 1 << 20);
        fs::hard_link(dir.path().join("sub/data"), dir.path().join("again")).unwrap();
        assert!(size() - once < 1 << 16);
        assert!(allocated(&[dir.path().join("none")]).is_err());
    }
}
