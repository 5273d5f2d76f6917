//! The engine against a model, on a disk that crashes: what was acknowledged is there, what was
//! deleted stays deleted, and what was neither is the old or the new, never garbage. Volumes are
//! compacted all the while.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

#[path = "common/setup.rs"]
mod setup;
#[path = "common/shards.rs"]
mod shards;

use coffer_core::shard::{BlockRange, ShardError, ShardStore};
use coffer_node::index::{Index, MemoryIndex, Usage};
use coffer_node::testing::{FakeClock, FaultyDisk};
use coffer_node::{NodeEngine, NodeOptions, ScrubOptions};
use proptest::prelude::*;
use setup::{NODE, options, runtime};
use shards::{key, open, read, shard};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The time that a round of scrubbing takes.
const ROUND: Duration = Duration::from_secs(10);
/// Shards that the model has.
const KEYS: u8 = 6;

/// What is left of the index at a start.
#[derive(Debug, Clone, Copy)]
enum Left {
    All,
    /// What was flushed.
    Flushed,
    Nothing,
}

/// How a process ends, and what the next finds.
#[derive(Debug, Clone, Copy)]
struct End {
    /// A power cut, with a seed for what is lost; otherwise `kill -9`, where what was written stays.
    power_cut: Option<u64>,
    index: Left,
}

#[derive(Debug, Clone)]
enum Op {
    Put(u8),
    Delete(u8),
    /// The next fsync fails and loses what the seed says.
    FailSync(u64),
    /// The next sync of the directory fails.
    FailDirSync,
    /// The index does not take the next changes.
    FailIndex,
    Compact,
    /// Puts and deletes meanwhile.
    CompactBeside(Vec<(bool, u8)>),
    /// The end comes after so many changes to the disk.
    CompactUntil(u64, End),
    End(End),
    Close,
}

fn end() -> impl Strategy<Value = End> {
    let left = prop_oneof![Just(Left::All), Just(Left::Flushed), Just(Left::Nothing)];
    (any::<Option<u64>>(), left).prop_map(|(power_cut, index)| End { power_cut, index })
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let beside = prop::collection::vec((any::<bool>(), 0..KEYS), 1..8);
    let op = prop_oneof![
        20 => (0..KEYS).prop_map(Op::Put),
        10 => (0..KEYS).prop_map(Op::Delete),
        1 => any::<u64>().prop_map(Op::FailSync),
        1 => Just(Op::FailDirSync),
        1 => Just(Op::FailIndex),
        3 => Just(Op::Compact),
        2 => beside.prop_map(Op::CompactBeside),
        4 => (0u64..24, end()).prop_map(|(after, end)| Op::CompactUntil(after, end)),
        4 => end().prop_map(Op::End),
        1 => Just(Op::Close),
    ];
    proptest::collection::vec(op, 1..80)
}

/// What each shard may hold: the number of its content, or nothing. More than one where an
/// operation failed.
#[derive(Debug)]
struct Model(BTreeMap<u8, BTreeSet<Option<u64>>>);

impl Model {
    fn new() -> Self {
        Self((0..KEYS).map(|k| (k, BTreeSet::from([None]))).collect())
    }

    fn note(&mut self, k: u8, content: Option<u64>, acknowledged: bool) {
        let may = self.0.get_mut(&k).unwrap();
        if acknowledged {
            may.clear();
        }
        may.insert(content);
    }
}

/// A node and all around it.
struct Bed {
    disk: FaultyDisk,
    index: Arc<MemoryIndex>,
    clock: Arc<FakeClock>,
    /// `None` between two runs.
    node: Option<NodeEngine>,
    model: Model,
}

impl Bed {
    fn new() -> Self {
        let (disk, clock) = (FaultyDisk::new(), Arc::default());
        let mut bed = Self { disk, index: Arc::default(), clock, node: None, model: Model::new() };
        bed.start();
        bed
    }

    /// With a scrub that goes on when the clock does.
    fn start(&mut self) {
        let scrub = ScrubOptions { round: ROUND, max_bytes_per_second: u64::MAX };
        let options = NodeOptions { scrub, clock: self.clock.clone(), ..options() };
        let (disk, index) = (Arc::new(self.disk.clone()), self.index.clone());
        // A node that can't open is started again and again; that is not what is tested here.
        self.disk.fail_syncs(0, 0);
        self.disk.fail_dir_syncs(0);
        self.index.fail_applies(0);
        self.node = Some(NodeEngine::open_on(NODE, disk, index, options).unwrap());
    }

    fn node(&self) -> &NodeEngine {
        self.node.as_ref().unwrap()
    }

    fn end(&mut self, End { power_cut, index }: End) {
        self.disk = match power_cut {
            Some(seed) => self.disk.crash(seed),
            None => self.disk.kill(),
        };
        // Taken before the old process, which can do no more harm, says farewell.
        let flushed = Arc::new(self.index.as_flushed());
        drop(self.node.take());
        self.index = match index {
            Left::All => self.index.clone(),
            Left::Flushed => flushed,
            Left::Nothing => Arc::default(),
        };
        self.start();
    }

    async fn put(&mut self, k: u8, n: u64) {
        let (info, bytes) = shard(n);
        let outcome = self.node().put(key(k), info, bytes).await;
        self.model.note(k, Some(n), outcome.is_ok());
    }

    async fn delete(&mut self, k: u8) {
        let outcome = self.node().delete(vec![key(k)]).await;
        self.model.note(k, None, outcome.is_ok());
    }

    async fn apply(&mut self, n: u64, op: Op) {
        match op {
            Op::Put(k) => self.put(k, n).await,
            Op::Delete(k) => self.delete(k).await,
            Op::FailSync(seed) => self.disk.fail_syncs(1, seed),
            Op::FailDirSync => self.disk.fail_dir_syncs(1),
            Op::FailIndex => self.index.fail_applies(1),
            Op::Compact => self.node().compact().await,
            Op::CompactBeside(ops) => {
                let node = self.node.take().unwrap();
                let mut writes = Vec::new();
                let compaction = node.compact();
                let writing = async {
                    for (i, (put, k)) in (0u64..).zip(ops) {
                        let content = put.then_some(n * 1000 + i);
                        let outcome = match content.map(shard) {
                            Some((info, bytes)) => node.put(key(k), info, bytes).await,
                            None => node.delete(vec![key(k)]).await,
                        };
                        writes.push((k, content, outcome.is_ok()));
                    }
                };
                futures::join!(compaction, writing);
                self.node = Some(node);
                for (k, content, acknowledged) in writes {
                    self.model.note(k, content, acknowledged);
                }
            }
            Op::CompactUntil(changes, end) => {
                self.disk.stop_after(changes);
                self.node().compact().await;
                self.end(end);
            }
            Op::End(end) => self.end(end),
            Op::Close => {
                drop(self.node.take());
                self.start();
            }
        }
    }

    async fn check(&self) {
        let node = self.node();
        let (mut shards, mut live_bytes) = (0, 0);
        for (k, may) in &self.model.0 {
            let mut held = None;
            for n in may.iter().flatten() {
                if read(node, key(*k), *n).await.is_ok_and(|bytes| bytes == shard(*n).1) {
                    held = Some(*n);
                }
            }
            if let Some(n) = held {
                shards += 1;
                live_bytes += u64::from(shard(n).0.len);
            } else {
                let gone = node.get(key(*k), BlockRange { first: 0, count: 1 }).await;
                assert!(may.contains(&None), "shard {k} should hold {may:?}: {gone:?}");
                assert_eq!(gone, Err(ShardError::NotFound), "shard {k}");
            }
        }
        let stat = node.stat().await.unwrap();
        assert_eq!((stat.shards, stat.live_bytes), (shards, live_bytes));
        assert_eq!(node.list(None, 100).await.unwrap().len() as u64, shards);
        assert_eq!(node.findings(None, 100).await.unwrap(), []);
        assert_eq!((stat.corrupt, stat.damaged_stretches), (0, 0));
        assert_eq!(self.counted(), self.listed());
    }

    /// What volumes hold of live records, as the index has counted it.
    fn counted(&self) -> BTreeMap<u32, Usage> {
        let rows = self.index.usage().unwrap().into_iter();
        let live = rows.map(|(no, usage)| (no, Usage { tombstones: 0, ..usage }));
        live.filter(|(_, usage)| usage.records > 0).collect()
    }

    /// The same, from the list of all shards.
    fn listed(&self) -> BTreeMap<u32, Usage> {
        let mut held: BTreeMap<u32, Usage> = BTreeMap::new();
        for (_, location) in self.index.scan(None, 100).unwrap() {
            let usage = held.entry(location.volume).or_default();
            *usage = usage.plus(Usage::of(&location));
        }
        held
    }
}

/// Cases of each property: `COFFER_MODEL_CASES`, or 96.
fn cases() -> u32 {
    std::env::var("COFFER_MODEL_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(96)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]
    #[test]
    fn acknowledged_is_kept_and_deleted_stays_deleted_through_crashes(ops in ops()) {
        runtime().block_on(async {
            let mut bed = Bed::new();
            for (n, op) in (1u64..).zip(ops) {
                bed.apply(n, op).await;
                // A scrub that sees all of it meanwhile accuses nobody.
                bed.clock.advance(2 * ROUND);
                bed.check().await;
            }
            // Whatever the index knew: the volumes say the same.
            bed.end(End { power_cut: None, index: Left::Nothing });
            bed.check().await;
        });
    }

    #[test]
    fn a_crash_in_the_middle_of_writes_leaves_old_or_new(seed: u64, lose_index: bool, puts in 1usize..12) {
        runtime().block_on(async {
            let disk = FaultyDisk::new();
            let index = Arc::new(MemoryIndex::default());
            let node = open(&disk, index.clone());
            for k in 0..6u8 {
                let (info, bytes) = shard(u64::from(k) + 1);
                node.put(key(k), info, bytes).await.unwrap();
            }
            // The fsync of what follows never succeeds, so that nothing of it is acknowledged.
            disk.fail_syncs(u64::MAX, seed);
            for i in 0..puts {
                let k = (i % 6) as u8;
                let (info, bytes) = shard(100 + u64::from(k));
                assert!(node.put(key(k), info, bytes).await.is_err());
            }
            let after = disk.crash(seed);
            drop(node);
            let index = if lose_index { Arc::new(MemoryIndex::default()) } else { index };
            let node = open(&after, index);
            old_or_new(&node).await;
            // What is written later must not vouch for what the crash has torn.
            for k in 6..12u8 {
                let (info, bytes) = shard(u64::from(k));
                node.put(key(k), info, bytes).await.unwrap();
            }
            drop(node);
            old_or_new(&open(&after, Arc::new(MemoryIndex::default()))).await;
        });
    }

    #[test]
    fn a_write_whose_fsync_failed_does_not_harm_what_it_was_to_replace(seed: u64, crash: u64, lose_index: bool) {
        runtime().block_on(async {
            let disk = FaultyDisk::new();
            let index = Arc::new(MemoryIndex::default());
            // One volume, so that the failure meets the write and not the mark at a volume's end.
            let options = NodeOptions { volume_size: 1 << 20, ..options() };
            let node =
                NodeEngine::open_on(NODE, Arc::new(disk.clone()), index.clone(), options).unwrap();
            for k in 0..6u8 {
                let (info, bytes) = shard(u64::from(k) + 1);
                node.put(key(k), info, bytes).await.unwrap();
            }
            disk.fail_syncs(1, seed);
            let (info, bytes) = shard(103);
            assert!(node.put(key(3), info, bytes).await.is_err());
            for k in 6..12u8 {
                let (info, bytes) = shard(u64::from(k));
                node.put(key(k), info, bytes).await.unwrap();
            }
            let after = disk.crash(crash);
            drop(node);
            let index = if lose_index { Arc::new(MemoryIndex::default()) } else { index };
            let node = open(&after, index);
            old_or_new(&node).await;
            for k in 6..12u8 {
                assert!(read(&node, key(k), u64::from(k)).await.unwrap() == shard(u64::from(k)).1);
            }
        });
    }
}

/// Shard `k` of the first six holds the content `k + 1`, or `100 + k`.
async fn old_or_new(node: &NodeEngine) {
    for k in 0..6u8 {
        let old = read(node, key(k), u64::from(k) + 1).await;
        let new = read(node, key(k), 100 + u64::from(k)).await;
        let fits = old.is_ok_and(|b| b == shard(u64::from(k) + 1).1)
            || new.is_ok_and(|b| b == shard(100 + u64::from(k)).1);
        assert!(fits, "shard {k} is neither old nor new");
    }
}
