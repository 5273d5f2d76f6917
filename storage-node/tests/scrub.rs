//! The scrub finds what is damaged, only that, at its pace, and goes on where it was.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

use bytes::Bytes;
use coffer_core::erasure::Code;
use coffer_core::ids::{BlobId, NodeId};
use coffer_core::shard::{Damage, NodeStat, ShardInfo, ShardKey, ShardStore};
use coffer_node::index::{Index, Location, MemoryIndex};
use coffer_node::testing::{FakeClock, FaultyDisk};
use coffer_node::{CompactOptions, NodeEngine, NodeOptions, ScrubOptions};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const NODE: NodeId = NodeId::from_bytes([9; 16]);
const SECOND: Duration = Duration::from_secs(1);

/// A node whose clock and disk are the test's.
struct Bed {
    disk: FaultyDisk,
    index: Arc<MemoryIndex>,
    clock: Arc<FakeClock>,
    node: Arc<NodeEngine>,
}

impl Bed {
    /// A node that scrubs all that it has in `round`, in volumes of `volume_size` bytes.
    fn new(round: Duration, volume_size: u64) -> Self {
        let (disk, index) = (FaultyDisk::new(), Arc::new(MemoryIndex::default()));
        Self::open(disk, index, round, volume_size)
    }

    fn open(disk: FaultyDisk, index: Arc<MemoryIndex>, round: Duration, volume_size: u64) -> Self {
        let clock = Arc::new(FakeClock::default());
        let options = NodeOptions {
            volume_size,
            reserve_bytes: 0,
            scrub: ScrubOptions { round, max_bytes_per_second: u64::MAX },
            // The clock is one thread's.
            compact: CompactOptions::OFF,
            clock: clock.clone(),
            ..NodeOptions::default()
        };
        let node =
            NodeEngine::open_on(NODE, Arc::new(disk.clone()), index.clone(), options).unwrap();
        clock.settle();
        Self { disk, index, clock, node: Arc::new(node) }
    }

    /// As a restart; the scrub begins to wait anew.
    fn restart(self, round: Duration, volume_size: u64) -> Self {
        let Self { disk, index, node, .. } = self;
        drop(node);
        Self::open(disk, index, round, volume_size)
    }

    async fn put(&self, k: ShardKey, n: u64, len: u32) {
        let info = ShardInfo { code: Code::DEFAULT, block_size: 1040, len };
        let mut bytes = vec![0; len as usize];
        blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof().fill(&mut bytes);
        self.node.put(k, info, Bytes::from(bytes)).await.unwrap();
    }

    async fn stat(&self) -> NodeStat {
        self.node.stat().await.unwrap()
    }

    /// Lets rounds pass until `rounds` are completed.
    async fn rounds(&self, rounds: u64) {
        for _ in 0..1000 {
            if self.stat().await.scrub.rounds >= rounds {
                return;
            }
            self.clock.advance(SECOND * 20);
        }
        panic!("the scrub does not get on: {:?}", self.stat().await.scrub);
    }

    async fn found(&self) -> BTreeMap<ShardKey, Damage> {
        let open = self.node.findings(None, 1000).await.unwrap();
        open.into_iter().map(|f| (f.key, f.damage)).collect()
    }

    fn locations(&self) -> Vec<(ShardKey, Location)> {
        self.index.scan(None, 1000).unwrap()
    }
}

fn key(n: u8) -> ShardKey {
    ShardKey { blob: BlobId::from_bytes([n; 16]), chunk: 0, index: n, generation: 1 }
}

/// Bytes of the record's header, table and payload.
fn extent(location: &Location) -> std::ops::Range<u64> {
    let head = 96 + 32 * u64::from(location.info.blocks());
    location.offset..location.offset + head + u64::from(location.info.len)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_bit_that_flips_in_a_live_shard_is_found_and_no_other_shard_is_accused(
        ops in prop::collection::vec((0u8..8, any::<bool>(), 1u32..9000), 4..30),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0u8..8), 1..4),
        restart: bool,
    ) {
        runtime().block_on(async {
            let mut bed = Bed::new(SECOND * 100, 20_000);
            // An empty node has no rounds.
            bed.put(key(8), 1000, 500).await;
            for (n, (k, delete, len)) in (0u64..).zip(ops) {
                if delete { bed.node.delete(vec![key(k)]).await.unwrap() } else { bed.put(key(k), n, len).await }
            }
            if restart {
                bed = bed.restart(SECOND * 100, 20_000);
            }
            let live = bed.locations();
            let mut flipped = BTreeSet::new();
            for (volume, at, bit) in flips {
                let volume = 1 + volume.index(8) as u32;
                let name = format!("vol-{volume:08}.cfv");
                // The volume's own header is no shard's.
                let len = bed.disk.content(&name).len();
                if len > 64 {
                    let at = 64 + at.index(len - 64);
                    // The same bit twice is none.
                    if flipped.insert((volume, at as u64)) {
                        bed.disk.flip(&name, at, 1 << bit);
                    }
                }
            }
            // Two rounds: after a restart the first may have begun before the bits flipped.
            bed.rounds(2).await;
            let damaged = |(_, l): &&(ShardKey, Location)| {
                flipped.iter().any(|(volume, at)| *volume == l.volume && extent(l).contains(at))
            };
            let expected: BTreeSet<_> = live.iter().filter(damaged).map(|(k, _)| *k).collect();
            let found = bed.found().await;
            assert_eq!(found.keys().copied().collect::<BTreeSet<_>>(), expected);
            for (k, location) in live.iter().filter(damaged) {
                let head = extent(location).start..extent(location).end - u64::from(location.info.len);
                let in_head = flipped.iter().any(|(v, at)| *v == location.volume && head.contains(at));
                assert_eq!(found[k] == Damage::BadRecord, in_head, "{k}: {}", found[k]);
            }
            assert_eq!(bed.stat().await.corrupt, expected.len() as u64, "each counts once");
        });
    }
}

#[test]
fn nothing_is_reported_while_shards_are_replaced_and_deleted() {
    runtime().block_on(async {
        // Large enough that the payloads of dead records are punched out.
        let bed = Arc::new(Bed::new(SECOND, 200_000));
        for k in 0..8 {
            bed.put(key(k), u64::from(k), 20_000).await;
        }
        let writer = bed.clone();
        let writing = tokio::spawn(async move {
            for n in 0..400u64 {
                let k = key((n * 5 % 8) as u8);
                if n % 3 == 0 {
                    writer.node.delete(vec![k]).await.unwrap();
                }
                writer.put(k, n, 15_000 + n as u32 * 7).await;
            }
        });
        let scrubbing = bed.clone();
        let done = tokio::task::spawn_blocking(move || {
            while !writing.is_finished() {
                scrubbing.clock.advance(SECOND / 10);
            }
        });
        done.await.unwrap();
        bed.rounds(bed.stat().await.scrub.rounds + 1).await;
        let stat = bed.stat().await;
        assert_eq!((stat.corrupt, stat.findings, stat.shards), (0, 0, 8));
        println!("{} rounds beside 400 writes", stat.scrub.rounds);
    });
}

#[test]
fn the_pace_is_kept_and_a_round_takes_its_time() {
    runtime().block_on(async {
        let bed = Bed::new(SECOND * 1000, 1 << 30);
        for k in 0..200 {
            bed.put(key(k), u64::from(k), 50_000).await;
        }
        let largest = 60_000;
        // It looks again once a minute whether there is something to do.
        bed.clock.advance(SECOND * 60);
        let (base, rate) = (bed.disk.bytes_read(), bed.stat().await.scrub.bytes_per_second);
        assert_eq!(rate, 10_001);
        for passed in 1..=95u64 {
            bed.clock.advance(SECOND * 10);
            let read = bed.disk.bytes_read() - base;
            let due = rate * passed * 10;
            assert!(read <= due + largest, "{read} of {due} bytes after {passed} steps");
            assert!(read + largest >= due, "{read} of {due} bytes after {passed} steps");
            let scrub = bed.stat().await.scrub;
            assert_eq!((scrub.rounds, scrub.total_bytes), (0, 10_000_000));
            assert!(scrub.verified_bytes.abs_diff(read) <= read / 20 + largest);
        }
        // Headers and tables are some percent more.
        bed.clock.advance(SECOND * 200);
        assert_eq!(bed.stat().await.scrub.rounds, 1);
    });
}

#[test]
fn a_restart_goes_on_where_the_scrub_was() {
    runtime().block_on(async {
        let (round, mib) = (SECOND * 400, 1 << 20);
        let mut bed = Bed::new(round, 1 << 30);
        for k in 0..40 {
            bed.put(key(k), 7, mib as u32).await;
        }
        let began = |stat: &NodeStat| stat.scrub.began;
        bed.clock.advance(SECOND * 60);
        let first = began(&bed.stat().await);
        assert_eq!(first, Some(60_000));
        bed.clock.advance(SECOND * 250);
        let before = bed.stat().await.scrub.verified_bytes;
        assert!(before > 20 * mib, "{before}");
        bed = bed.restart(round, 1 << 30);
        let base = bed.disk.bytes_read();
        assert!(bed.stat().await.scrub.verified_bytes >= before - 16 * mib);
        assert_eq!(began(&bed.stat().await), first);
        bed.rounds(1).await;
        let read = bed.disk.bytes_read() - base;
        assert!(read < 40 * mib, "{read} bytes were read again");
        assert!(bed.stat().await.scrub.rounds == 1);
    });
}

#[test]
fn what_could_not_be_read_for_a_while_is_a_finding_only_for_that_while() {
    runtime().block_on(async {
        let bed = Bed::new(SECOND * 100, 1 << 30);
        for k in 0..3 {
            bed.put(key(k), 1, 3000).await;
        }
        bed.disk.fail_reads("vol-00000001.cfv", true);
        bed.rounds(1).await;
        let found = bed.found().await;
        assert!(found.len() == 3 && found.values().all(|d| matches!(d, Damage::Unreadable(_))));
        bed.disk.fail_reads("vol-00000001.cfv", false);
        bed.rounds(3).await;
        assert_eq!(bed.found().await, BTreeMap::new());
        assert_eq!(bed.stat().await.corrupt, 3);
    });
}
