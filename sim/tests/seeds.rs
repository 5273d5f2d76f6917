//! A bounded number of seeds passes, and a seed is a run.

use coffer_sim::{Options, run};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// More are run by `coffer-sim`.
const SEEDS: u64 = 1000;

#[test]
fn a_thousand_seeds_pass() {
    let (next, broken) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= SEEDS {
                return;
            }
            if let Err(violation) = run(seed, Options::default()) {
                broken.lock().unwrap().push(violation.to_string());
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let broken = broken.into_inner().unwrap();
    assert!(broken.is_empty(), "{} of {SEEDS} seeds:\n{}", broken.len(), broken.join("\n\n"));
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..20 {
        let first = run(seed, Options::default()).unwrap();
        assert_eq!(run(seed, Options::default()).unwrap(), first);
        let other = run(seed + 1000, Options::default()).unwrap();
        assert_ne!(other.hash, first.hash);
    }
}
