use super::FaultyDisk;
use crate::disk::{Disk, is_full};
use std::collections::BTreeSet;

#[test]
fn a_crash_keeps_synced_bytes_and_kills_old_handles() {
    let disk = FaultyDisk::new();
    let file = disk.create("a").unwrap();
    file.write_at(&[b"kept"], 0).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir().unwrap();
    file.write_at(&[&[7; 2000]], 4).unwrap();
    let after = disk.crash(3);
    assert!(file.size().is_err());
    assert!(disk.list().is_err());
    let mut buf = [0; 4];
    after.open("a").unwrap().read_at(&mut buf, 0).unwrap();
    assert_eq!(&buf, b"kept");
}

#[test]
fn crashes_lose_all_some_or_nothing_of_an_unsynced_write() {
    let mut lengths = BTreeSet::new();
    for seed in 1..60 {
        let disk = FaultyDisk::new();
        let file = disk.create("a").unwrap();
        disk.sync_dir().unwrap();
        file.write_at(&[&[7; 2048]], 0).unwrap();
        lengths.insert(disk.crash(seed).content("a").len());
    }
    assert!(lengths.contains(&0) && lengths.contains(&2048) && lengths.len() > 4);
}

#[test]
fn a_crash_may_undo_what_happened_to_names_and_a_sync_of_the_directory_settles_it() {
    let (mut seen, mut settled) = (BTreeSet::new(), BTreeSet::new());
    for seed in 1..60 {
        let disk = FaultyDisk::new();
        disk.create("old").unwrap().write_at(&[b"1"], 0).unwrap();
        disk.open("old").unwrap().sync_data().unwrap();
        disk.sync_dir().unwrap();
        let old = disk.open("old").unwrap();
        disk.create("new").unwrap();
        disk.remove("old").unwrap();
        assert_eq!(disk.list().unwrap(), ["new"]);
        assert!(disk.open("old").is_err() && disk.used() == 0);
        assert_eq!(old.read_at(&mut [0], 0).unwrap(), 1, "it is open and can still be read");
        let synced = disk.fork();
        synced.sync_dir().unwrap();
        settled.insert(synced.crash(seed).list().unwrap());
        let after = disk.crash(seed);
        seen.insert(after.list().unwrap());
        assert!(after.open("old").is_err() || after.content("old") == b"1");
    }
    assert_eq!(seen.len(), 4);
    assert_eq!(settled, BTreeSet::from([vec!["new".to_owned()]]));
}

#[test]
fn what_a_failed_sync_loses_a_later_one_does_not_bring_back() {
    let mut left = BTreeSet::new();
    for seed in 0..40 {
        let disk = FaultyDisk::new();
        let file = disk.create("a").unwrap();
        disk.sync_dir().unwrap();
        file.write_at(&[b"lost"], 0).unwrap();
        disk.fail_syncs(1, seed);
        assert!(file.sync_data().is_err());
        assert!(file.sync_data().is_ok());
        assert_eq!(disk.content("a"), b"lost");
        left.insert(disk.crash(1).content("a"));
    }
    assert!(left.contains(&b""[..]) && left.contains(&b"lost"[..]) && left.len() > 2);
}

#[test]
fn a_full_disk_writes_what_fits_and_holes_make_room() {
    let disk = FaultyDisk::new();
    disk.set_capacity(Some(10_000));
    let file = disk.create("a").unwrap();
    let error = file.write_at(&[&[1; 16_000]], 0).unwrap_err();
    assert!(is_full(&error));
    assert_eq!((file.size().unwrap(), disk.free_space().unwrap()), (10_000, 0));
    for _ in 0..2 {
        file.punch_hole(4096, 4096).unwrap();
        assert_eq!((file.allocated().unwrap(), disk.free_space().unwrap()), (5904, 4096));
    }
}

#[test]
fn after_the_power_is_cut_nothing_works_until_the_next_start() {
    let disk = FaultyDisk::new();
    let file = disk.create("a").unwrap();
    disk.stop_after(1);
    file.write_at(&[b"1"], 0).unwrap();
    assert!(!disk.has_stopped());
    assert!(file.write_at(&[b"2"], 1).is_err());
    assert!(disk.has_stopped() && file.size().is_err() && disk.list().is_err());
    assert_eq!(disk.kill().content("a"), b"1");
}
