//! Which disks a directory lies on, by Linux's sysfs.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// How deep volumes may be stacked (LVM over RAID over crypt over ...).
const MAX_DEPTH: u32 = 8;

/// The names of the whole disks under `dir`, such as `sda`; several for a RAID. None for file
/// systems without a device of their own (overlay, tmpfs, network) and for btrfs, which hides it.
pub(super) fn disks_under(dir: &Path, sys: &Path) -> io::Result<Vec<String>> {
    let device = rustix::fs::stat(dir)?.st_dev;
    disks_of(rustix::fs::major(device), rustix::fs::minor(device), sys)
}

fn disks_of(major: u32, minor: u32, sys: &Path) -> io::Result<Vec<String>> {
    let mut disks = BTreeSet::new();
    match sys.join(format!("dev/block/{major}:{minor}")).canonicalize() {
        Ok(block) => descend(&block, 0, &mut disks)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(disks.into_iter().collect())
}

fn descend(block: &Path, depth: u32, disks: &mut BTreeSet<String>) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Ok(());
    }
    // A partition lies in the directory of its disk.
    let whole = match block.parent() {
        Some(disk) if block.join("partition").exists() => disk,
        _ => block,
    };
    let mut below = 0;
    if let Ok(slaves) = std::fs::read_dir(whole.join("slaves")) {
        for slave in slaves {
            below += 1;
            descend(&slave?.path().canonicalize()?, depth + 1, disks)?;
        }
    }
    if below == 0 {
        disks.extend(whole.file_name().map(|name| name.to_string_lossy().into_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn partitions_and_stacks_lead_to_whole_disks() {
        let sys = tempfile::tempdir().unwrap();
        let at = |path: &str| sys.path().join(path);
        for dir in ["dev/block", "devices/sda/sda1", "devices/sdb/slaves", "devices/dm-0/slaves"] {
            std::fs::create_dir_all(at(dir)).unwrap();
        }
        std::fs::write(at("devices/sda/sda1/partition"), "1").unwrap();
        symlink(at("devices/sda/sda1"), at("devices/dm-0/slaves/sda1")).unwrap();
        symlink(at("devices/sdb"), at("devices/dm-0/slaves/sdb")).unwrap();
        for (number, name) in [("8:1", "sda/sda1"), ("8:16", "sdb"), ("253:0", "dm-0")] {
            symlink(at("devices").join(name), at("dev/block").join(number)).unwrap();
        }
        let disks = |major, minor| disks_of(major, minor, sys.path()).unwrap();
        assert_eq!(disks(8, 1), ["sda"]);
        assert_eq!(disks(8, 16), ["sdb"]);
        assert_eq!(disks(253, 0), ["sda", "sdb"]);
        assert!(disks(0, 42).is_empty());
        // Wherever this runs, it is no error.
        assert!(disks_under(sys.path(), Path::new("/sys")).is_ok());
    }

    #[test]
    fn a_stack_that_stands_on_itself_comes_to_an_end() {
        let sys = tempfile::tempdir().unwrap();
        let block = sys.path().join("devices/dm-0");
        std::fs::create_dir_all(block.join("slaves")).unwrap();
        std::fs::create_dir_all(sys.path().join("dev/block")).unwrap();
        symlink(&block, block.join("slaves/dm-0")).unwrap();
        symlink(&block, sys.path().join("dev/block/253:0")).unwrap();
        assert!(disks_of(253, 0, sys.path()).unwrap().is_empty());
    }
}
