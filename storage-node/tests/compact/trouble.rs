//! Damage, full disks, failures and crashes.

use crate::bed::{Bed, content, info, key, start};
use crate::setup::options;
use coffer_core::shard::{BlockRange, Damage, ShardError, ShardStore};
use coffer_node::NodeOptions;
use std::sync::Arc;

#[tokio::test]
async fn an_index_that_a_crash_has_thrown_back_knows_of_no_volume_that_is_gone() {
    let mut bed = Bed::new();
    // Volume 1 and half of volume 2; the index is flushed when the node stops.
    for n in 0..6 {
        bed.put(n, 5000).await;
    }
    drop(bed.node);
    bed.node = start(&bed.disk, &bed.index, options());
    for n in 6..11 {
        bed.put(n, 5000).await;
    }
    // These tombstones are in volume 3. With volume 1 they are needless, and go with volume 3.
    for n in [0, 1, 2, 3, 8, 9, 10] {
        bed.delete(n).await;
    }
    for n in 11..20 {
        bed.put(n, 5000).await;
    }
    bed.delete(11).await;
    bed.node.compact().await;
    let volumes = bed.volumes();
    assert!(volumes.contains(&"vol-00000002.cfv".to_owned()), "{volumes:?}");
    assert!(!volumes.contains(&"vol-00000001.cfv".to_owned()), "{volumes:?}");
    assert!(!volumes.contains(&"vol-00000003.cfv".to_owned()), "{volumes:?}");
    bed.disk = bed.disk.crash(1);
    bed.index = Arc::new(bed.index.as_flushed());
    bed.node = start(&bed.disk, &bed.index, options());
    for n in [0, 1, 2, 3, 8, 9, 10, 11] {
        let gone = bed.node.get(key(n), BlockRange { first: 0, count: 1 }).await;
        assert_eq!(gone, Err(ShardError::NotFound));
    }
    bed.check().await;
}

#[tokio::test]
async fn a_volume_with_a_damaged_record_is_left_alone_until_the_shard_is_stored_anew() {
    let mut bed = Bed::new();
    for n in 0..4 {
        bed.put(n, 5000).await;
    }
    bed.put(9, 100).await;
    for n in 0..3 {
        bed.delete(n).await;
    }
    let victim = "vol-00000001.cfv";
    // In the payload of shard 3, the last of the first volume.
    let at = bed.disk.content(victim).len() - 3000;
    assert!(bed.disk.flip(victim, at, 1));
    bed.node.compact().await;
    assert!(bed.volumes().contains(&victim.to_owned()));
    let found = bed.node.findings(None, 10).await.unwrap();
    assert!(
        matches!(found[..], [ref f] if f.key == key(3) && matches!(f.damage, Damage::BadBlock { .. }))
    );
    bed.node.compact().await;
    let stat = bed.compaction().await;
    assert_eq!((stat.volumes, stat.held_back), (0, 1));
    let all = BlockRange { first: 0, count: 5 };
    assert!(matches!(bed.node.get(key(3), all).await, Err(ShardError::Corrupt { .. })));

    bed.put(3, 5000).await;
    bed.node.compact().await;
    assert!(!bed.volumes().contains(&victim.to_owned()));
    assert_eq!(bed.compaction().await.held_back, 0);
    bed.restart(options());
    bed.check().await;
}

#[tokio::test]
async fn bytes_that_may_have_been_a_tombstone_hold_their_volume_back_while_there_are_older_ones() {
    let mut bed = Bed::new();
    // Volume 1 stays, and has a dead record whose tombstone is the first record of volume 2.
    for n in 0..4 {
        bed.put(n, 5000).await;
    }
    bed.delete(0).await;
    for n in 4..8 {
        bed.put(n, 5000).await;
    }
    for n in 4..8 {
        bed.delete(n).await;
    }
    bed.disk.flip("vol-00000002.cfv", 64 + 20, 1);
    bed.node.compact().await;
    assert!(bed.volumes().contains(&"vol-00000002.cfv".to_owned()));
    assert_eq!(bed.compaction().await.volumes, 0);
    // Nothing older is left: whatever it killed is gone.
    for n in 1..4 {
        bed.delete(n).await;
    }
    bed.node.compact().await;
    bed.node.compact().await;
    assert_eq!(bed.volumes(), ["vol-00000003.cfv"]);
}

#[tokio::test]
async fn on_a_full_disk_it_takes_what_fits_and_lives_off_the_reserve() {
    let mut bed = Bed::with(NodeOptions { reserve_bytes: 16_000, ..options() });
    bed.disk.refuse_holes(true);
    for n in 0..40 {
        bed.put(n, 5000).await;
    }
    // Of the first volume a quarter is live, of the others nearly half.
    for n in [0, 1, 2] {
        bed.delete(n).await;
    }
    for volume in 1..9 {
        bed.delete(4 * volume).await;
        bed.delete(4 * volume + 1).await;
        bed.put(4 * volume + 2, 3500).await;
    }
    let used = bed.disk.used();
    // Not even half of the reserve is free: nothing may be begun.
    bed.disk.set_capacity(Some(used + 12_000));
    bed.node.compact().await;
    assert_eq!(bed.disk.used(), used);
    assert!(bed.compaction().await.short_of_space);
    let refused = bed.node.put(key(99), info(100), content(99, 100)).await;
    assert_eq!(refused, Err(ShardError::Full));
    assert!(!bed.stat().await.writable);
    // Half of it and one record are: from one volume to the next all of it is done.
    bed.disk.set_capacity(Some(used + 14_000));
    bed.node.compact().await;
    let stat = bed.compaction().await;
    assert!(stat.volumes >= 5 && !stat.short_of_space, "{stat:?}");
    assert!(bed.stat().await.writable);
    bed.put(99, 100).await;
    bed.check().await;
    bed.restart(options());
    bed.check().await;
}

#[tokio::test]
async fn what_fails_in_the_middle_changes_nothing_for_readers_and_is_tried_again() {
    let mut bed = Bed::new();
    for n in 0..8 {
        bed.put(n, 5000).await;
    }
    for n in [0, 1, 2, 4, 5] {
        bed.delete(n).await;
    }
    let volumes = bed.volumes();
    bed.disk.fail_syncs(1, 3);
    bed.node.compact().await;
    bed.check().await;
    // The other volumes went on meanwhile.
    assert!(bed.volumes().contains(&volumes[0]) || bed.volumes().contains(&volumes[1]));
    bed.node.compact().await;
    assert!(!bed.volumes().contains(&volumes[0]) && !bed.volumes().contains(&volumes[1]));
    bed.check().await;
    bed.restart(options());
    bed.check().await;
}

#[tokio::test]
async fn what_a_failed_fsync_has_lost_is_not_taken_for_stored_by_the_next_start() {
    for seed in 0..8 {
        let mut bed = Bed::new();
        for n in 0..4 {
            bed.put(n, 5000).await;
        }
        // The last of volume 1 is to be replaced by the first of volume 2. Its fsync fails, and the
        // process is killed before it can cut the record off: reads still show it.
        bed.put(9, 100).await;
        bed.disk.fail_syncs(1, seed);
        bed.disk.stop_after(2);
        let failed = bed.node.put(key(3), info(6000), content(3, 6000)).await;
        assert!(failed.is_err());
        bed.disk = bed.disk.kill();
        bed.node = start(&bed.disk, &bed.index, options());
        for n in 0..3 {
            bed.delete(n).await;
        }
        bed.node.compact().await;
        assert_eq!(bed.compaction().await.volumes, 1);
        bed.disk = bed.disk.crash(seed);
        bed.node = start(&bed.disk, &bed.index, options());
        // Nobody was told which of the two it is.
        let [(_, info)] = bed.node.list(Some(key(2)), 1).await.unwrap()[..] else { panic!() };
        bed.live.insert(3, info.len);
        bed.check().await;
    }
}

#[tokio::test]
async fn a_put_that_failed_and_whose_shard_was_deleted_does_not_come_back() {
    let mut left_behind = 0;
    for seed in 0..60 {
        // Stored before or not, the shard is put once more, which fails; a power cut may leave that
        // record all the same, at the end of volume 2.
        for n in [0, 50] {
            let mut bed = Bed::new();
            for n in 0..5 {
                bed.put(n, 5000).await;
            }
            bed.disk.fail_syncs(1, seed);
            assert!(bed.node.put(key(n), info(900), content(n, 900)).await.is_err());
            bed.put(5, 5000).await;
            bed.disk = bed.disk.crash(seed * 7919 + 31);
            let end = bed.disk.content("vol-00000002.cfv").len();
            bed.node = start(&bed.disk, &bed.index, options());
            left_behind += u32::from(end > 64 + 5256);
            for n in [0, 1, 2, 3, 50] {
                bed.delete(n).await;
            }
            for n in 6..12 {
                bed.put(n, 5000).await;
            }
            for n in 5..8 {
                bed.delete(n).await;
            }
            // Volume 2 has to stay.
            bed.disk.flip("vol-00000002.cfv", 3000, 1);
            bed.node.compact().await;
            assert!(!bed.volumes().contains(&"vol-00000001.cfv".to_owned()));
            assert!(!bed.volumes().contains(&"vol-00000003.cfv".to_owned()));
            bed.restart(options());
            let back = bed.node.get(key(n), BlockRange { first: 0, count: 1 }).await;
            assert_eq!(back, Err(ShardError::NotFound), "shard {n}, seed {seed}");
        }
    }
    assert!(left_behind > 0);
}

#[tokio::test]
async fn a_shard_that_was_deleted_twice_stays_deleted_when_its_first_tombstone_is_gone() {
    let mut bed = Bed::new();
    // Shard 0 dies in volume 1, which stays, by a tombstone in volume 2, and lives again in 3.
    for n in 0..4 {
        bed.put(n, 5000).await;
    }
    bed.delete(0).await;
    for n in [4, 5, 6, 7, 0, 8, 9, 10] {
        bed.put(n, 5000).await;
    }
    for n in 4..8 {
        bed.delete(n).await;
    }
    bed.node.compact().await;
    assert!(!bed.volumes().contains(&"vol-00000002.cfv".to_owned()));
    bed.check().await;
    // It dies again; volume 3 goes, and so does the volume of the second tombstone.
    for n in [0, 8, 9, 10] {
        bed.delete(n).await;
    }
    for n in 11..15 {
        bed.put(n, 5000).await;
    }
    for n in 11..15 {
        bed.delete(n).await;
    }
    bed.node.compact().await;
    assert_eq!(bed.volumes(), ["vol-00000001.cfv", "vol-00000005.cfv"]);
    bed.restart(options());
    bed.check().await;
}

#[tokio::test]
async fn a_directory_that_can_t_be_synced_ends_it_until_the_next_start() {
    for seed in 0..10 {
        let mut bed = Bed::new();
        for n in 0..12 {
            bed.put(n, 5000).await;
        }
        bed.put(12, 100).await;
        for n in (0..12).filter(|n| n % 4 > 0) {
            bed.delete(n).await;
        }
        bed.disk.fail_dir_syncs(1);
        for _ in 0..2 {
            bed.node.compact().await;
            assert_eq!(bed.compaction().await.volumes, 0);
            bed.check().await;
        }
        assert_eq!(bed.volumes().len(), 3, "one was removed, the others are as they were");
        // The one may be back.
        bed.disk = bed.disk.crash(seed);
        bed.restart(options());
        bed.check().await;
        bed.node.compact().await;
        assert!(bed.compaction().await.volumes >= 2);
        bed.check().await;
    }
}
