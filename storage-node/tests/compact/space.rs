//! How much is given back.

use crate::bed::{Bed, VOLUME_SIZE, key};
use crate::setup::options;
use coffer_core::shard::ShardStore;

#[tokio::test]
async fn after_most_is_deleted_the_volumes_take_at_most_twice_what_is_live() {
    for holes in [false, true] {
        let mut bed = Bed::new();
        bed.disk.refuse_holes(!holes);
        for n in 0..400 {
            bed.put(n, 100 + n * 977 % 8000).await;
        }
        for n in (0..400).filter(|n| n % 10 != 3) {
            bed.delete(n).await;
        }
        let (before, live) = (bed.disk.used(), bed.live_bytes());
        bed.node.compact().await;
        let (after, stat) = (bed.disk.used(), bed.compaction().await);
        println!("holes {holes}: {live} bytes live, {before} on disk, then {after}: {stat:?}");
        // The volume that is written to is left as it is.
        assert!(after <= 2 * live + VOLUME_SIZE + 10_000, "{after} for {live}");
        assert_eq!(stat.dead_bytes, after - live);
        assert!(stat.volumes > 0 && stat.freed_bytes >= before - after);
        // Tombstones and each survivor once or twice.
        assert!(stat.copied_bytes <= 2 * live + 400 * 96, "{}", stat.copied_bytes);
        bed.check().await;
        bed.restart(options());
        bed.check().await;

        for n in bed.live.clone().into_keys() {
            bed.delete(n).await;
        }
        bed.node.compact().await;
        assert!(bed.disk.used() <= VOLUME_SIZE + 10_000, "{:?}", bed.volumes());
        bed.restart(options());
        bed.check().await;
    }
}

#[tokio::test]
async fn what_a_start_reads_and_the_disk_holds_follows_from_what_is_live_not_from_what_was() {
    let mut figures = Vec::new();
    for rounds in [10, 100] {
        let mut bed = Bed::new();
        // Cold shards at the very begin, which are never worth moving, must not pin the tombstones.
        for n in 0..10 {
            bed.put(n, 6000).await;
        }
        for round in 0..rounds {
            let first = 100 + round * 40;
            for n in first..first + 40 {
                bed.put(n, 300 + n % 700).await;
            }
            for n in first..first + 40 {
                bed.delete(n).await;
                // Deleting what is gone costs nothing.
                bed.node.delete(vec![key(n), key(n - 50)]).await.unwrap();
            }
            bed.node.compact().await;
        }
        let (used, volumes) = (bed.disk.used(), bed.volumes().len());
        let read = bed.restart(options());
        bed.check().await;
        println!(
            "{} shards live of {} put: {used} bytes in {volumes} volumes, a start without an index reads {read}",
            bed.live.len(),
            10 + rounds * 40,
        );
        figures.push((used, volumes as u64, read));
    }
    let [(used, volumes, read), (used_later, volumes_later, read_later)] = figures[..] else {
        panic!("{figures:?}")
    };
    assert!(used_later <= used + VOLUME_SIZE && volumes_later <= volumes + 1, "{figures:?}");
    assert!(read_later <= read + 2 * VOLUME_SIZE, "{figures:?}");
}
