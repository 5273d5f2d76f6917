use super::*;
use crate::ids::NodeId;
use crate::shard::Latencies;
use proptest::prelude::*;

const MINUTE: u64 = 60_000;

fn stat() -> NodeStat {
    NodeStat {
        total_bytes: 1 << 40,
        free_bytes: 1 << 39,
        ..NodeStat::idle(NodeId::from_bytes([1; 16]))
    }
}

/// Samples a minute apart; `change` makes each from the one before.
fn history(n: u64, mut change: impl FnMut(u64, &mut NodeStat)) -> Vec<Sample> {
    let mut now = stat();
    (0..n)
        .map(|i| {
            change(i, &mut now);
            Sample { at_ms: i * MINUTE, stat: now.clone() }
        })
        .collect()
}

fn took(latencies: &mut Latencies, operations: u64, us: u64) {
    latencies.counts[Latencies::bucket(us)] += operations;
    latencies.total_us += operations * us;
}

fn reads_of(us: u64) -> Vec<Sample> {
    history(20, |_, stat| took(&mut stat.io.reads.latencies, 100, us))
}

fn verdict(samples: &[Sample]) -> Verdict {
    assess(samples, &[]).verdict
}

#[test]
fn a_quiet_node_is_healthy_and_so_is_one_that_nobody_saw() {
    for samples in [vec![], history(1, |_, _| ()), history(20, |_, _| ()), reads_of(5000)] {
        let health = assess(&samples, &[MeanLatency::of(&reads_of(4000)); 5]);
        assert_eq!((health.score, health.verdict, health.reasons), (100, Verdict::Healthy, vec![]));
    }
}

#[test]
fn ten_times_slower_than_its_peers_is_to_be_watched_and_peers_are_needed_to_say_so() {
    let slow = reads_of(50_000);
    let peers = [4000, 5000, 5500, 6000].map(|us| MeanLatency::of(&reads_of(us)));
    let health = assess(&slow, &peers);
    let expected = Reason::SlowerThanPeers { operation: Operation::Read, times: 9 };
    assert_eq!(health.reasons, [expected]);
    let health = assess(&reads_of(60_000), &peers);
    assert_eq!((health.score, health.verdict), (50, Verdict::Watch));
    assert_eq!(assess(&slow, &peers[..2]).score, 100);
    // Caches differ by more than this.
    assert_eq!(assess(&reads_of(900), &[MeanLatency::of(&reads_of(10)); 5]).score, 100);
}

#[test]
fn latency_that_drifts_up_is_told_and_a_restart_is_no_drift() {
    let drift = history(20, |i, stat| {
        took(&mut stat.io.syncs.latencies, 100, if i <= 15 { 10_000 } else { 200_000 });
    });
    let health = assess(&drift, &[]);
    assert_eq!(health.reasons, [Reason::LatencyDrift { operation: Operation::Sync, times: 20 }]);
    let restarted = history(20, |i, stat| {
        if i == 16 {
            stat.io = Default::default();
            stat.started = 1;
        }
        took(&mut stat.io.syncs.latencies, 100, 10_000);
    });
    assert_eq!(assess(&restarted, &[]).score, 100);
}

#[test]
fn a_disk_that_hangs_and_one_that_says_so_itself_are_failing() {
    let hangs = history(4, |_, stat| stat.io.reads.in_flight = 3);
    assert_eq!(
        assess(&hangs, &[]).reasons,
        [Reason::Stalled { operation: Operation::Read, seconds: 180 }]
    );
    assert_eq!(verdict(&hangs), Verdict::Failing);
    let busy = history(4, |_, stat| {
        stat.io.reads.in_flight = 3;
        took(&mut stat.io.reads.latencies, 1, 1_000_000);
    });
    assert_eq!(verdict(&busy), Verdict::Healthy);
    let says = DiskReport { device: "sda".into(), passed: Some(false), ..DiskReport::default() };
    assert_eq!(verdict(&history(1, |_, stat| stat.disks = vec![says.clone()])), Verdict::Failing);
}

#[test]
fn errors_count_while_they_are_in_sight() {
    let ops = |stat: &mut NodeStat| took(&mut stat.io.reads.latencies, 100, 5000);
    let old = history(20, |i, stat| {
        stat.io.reads.errors = 5;
        let _ = (i, ops(stat));
    });
    assert_eq!(assess(&old, &[]).score, 100);
    let new = history(20, |i, stat| {
        stat.io.reads.errors += u64::from(i == 10);
        ops(stat);
    });
    assert_eq!(verdict(&new), Verdict::Watch);
    let many = history(20, |_, stat| {
        stat.io.reads.errors += 5;
        ops(stat);
    });
    assert_eq!(verdict(&many), Verdict::Failing);
}

#[test]
fn a_disk_that_fills_is_told_in_time_and_is_never_a_reason_to_drain() {
    let fills = history(20, |_, stat| stat.free_bytes -= 1 << 30);
    // 492 GiB are left, at 60 GiB an hour.
    let health = assess(&fills, &[]);
    assert_eq!(health.reasons, [Reason::DiskFullSoon { hours: 8 }]);
    assert_eq!(health.verdict, Verdict::Watch);
    let full = history(20, |_, stat| stat.writable = false);
    assert_eq!(
        (verdict(&full), assess(&full, &[]).reasons),
        (Verdict::Watch, vec![Reason::DiskFull])
    );
}

fn latencies() -> impl Strategy<Value = Latencies> {
    (prop::array::uniform24(0u64..1 << 40), any::<u32>())
        .prop_map(|(counts, us)| Latencies { counts, total_us: us.into() })
}

fn op() -> impl Strategy<Value = crate::shard::OpStat> {
    (latencies(), prop_oneof![Just(0u64), any::<u64>()], 0u32..3).prop_map(
        |(latencies, errors, in_flight)| crate::shard::OpStat { latencies, errors, in_flight },
    )
}

prop_compose! {
    fn disk()(passed: Option<bool>, n in prop::array::uniform7(prop_oneof![Just(None), (0u64..200).prop_map(Some), any::<Option<u64>>()])) -> DiskReport {
        DiskReport {
            device: "sda".into(),
            passed,
            reallocated_sectors: n[0], pending_sectors: n[1], uncorrectable_sectors: n[2],
            media_errors: n[3], critical_warning: n[4], percentage_used: n[5], temperature_celsius: n[6],
            ..DiskReport::default()
        }
    }
}

prop_compose! {
    fn sample()(
        at_ms in 0u64..1 << 40, started in 0u64..2, ops in (op(), op(), op()), corrupt in 0u64..500,
        findings in 0u64..50, free_bytes: u64, writable: bool, disks in prop::collection::vec(disk(), 0..3),
    ) -> Sample {
        let mut stat = NodeStat { started, corrupt, findings, free_bytes, writable, disks, ..stat() };
        (stat.io.reads, stat.io.writes, stat.io.syncs) = ops;
        Sample { at_ms, stat }
    }
}

/// Makes one figure of a sample worse.
fn worsen(stat: &mut NodeStat, what: usize, by: u64) {
    let more = |n: &mut u64| *n = n.saturating_add(by);
    if stat.disks.is_empty() {
        stat.disks.push(DiskReport { device: "sda".into(), ..DiskReport::default() });
    }
    let disk = &mut stat.disks[0];
    match what {
        0 => more(&mut stat.io.reads.errors),
        1 => more(&mut stat.io.writes.errors),
        2 => more(&mut stat.io.syncs.errors),
        3 => more(&mut stat.corrupt),
        4 => more(&mut stat.findings),
        5 => more(disk.reallocated_sectors.get_or_insert(0)),
        6 => more(disk.pending_sectors.get_or_insert(0)),
        7 => more(disk.uncorrectable_sectors.get_or_insert(0)),
        8 => more(disk.media_errors.get_or_insert(0)),
        9 => more(disk.percentage_used.get_or_insert(0)),
        10 => more(disk.temperature_celsius.get_or_insert(0)),
        11 => disk.critical_warning = Some(disk.critical_warning.unwrap_or(0) | by),
        12 => disk.passed = Some(false),
        13 => more(&mut stat.io.reads.latencies.total_us),
        14 => more(&mut stat.io.syncs.latencies.total_us),
        15 => more(&mut stat.io.scrub_reads.errors),
        16 => stat.free_bytes = stat.free_bytes.saturating_sub(by),
        _ => stat.writable = false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn worse_figures_never_give_a_better_score(
        mut samples in prop::collection::vec(sample(), 1..6), sorted: bool,
        peers in prop::collection::vec((0u64..1 << 30).prop_map(|us| MeanLatency { read_us: Some(us), sync_us: Some(us / 2), ..MeanLatency::default() }), 0..6),
        what in 0usize..18, by in prop_oneof![1u64..100, any::<u64>()],
    ) {
        if sorted {
            samples.sort_by_key(|s| s.at_ms);
        }
        let before = assess(&samples, &peers);
        prop_assert!(before.score <= 100);
        prop_assert_eq!(before.reasons.is_empty(), before.score == 100);
        let last = samples.len() - 1;
        worsen(&mut samples[last].stat, what, by);
        let after = assess(&samples, &peers);
        prop_assert!(after.score <= before.score, "{before:?} {after:?}");
        prop_assert!(after.verdict >= before.verdict, "{before:?} {after:?}");
    }
}
