//! `coffer-sim`: runs seeds of the simulator, one or many.

use clap::Parser;
use coffer_sim::trace::Counts;
use coffer_sim::{Mutation, Options, run};
use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Runs Coffer's cluster in simulation. One seed is one run; a seed that fails does so again.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Run this seed only.
    #[arg(long, conflicts_with_all = ["seeds", "time"])]
    seed: Option<u64>,
    /// Run the seeds from A to B - 1.
    #[arg(long, value_name = "A..B", value_parser = parse_range, default_value = "0..1000")]
    seeds: Range<u64>,
    /// Go on with further seeds for this long, for instance 2h.
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    time: Option<Duration>,
    /// Seeds that run at the same time; by default one per CPU core.
    #[arg(long)]
    threads: Option<usize>,
    /// Print what happens.
    #[arg(long)]
    verbose: bool,
    /// Plant a bug, to see it found.
    #[arg(long, value_enum)]
    mutation: Option<Mutation>,
}

fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let parts = text.split_once("..").ok_or("write it as A..B")?;
    match (parts.0.parse(), parts.1.parse()) {
        (Ok(a), Ok(b)) if a < b => Ok(a..b),
        _ => Err("A and B are numbers, and A is less than B".into()),
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let options = Options { verbose: args.verbose, mutation: args.mutation };
    let seeds = match (args.seed, args.time) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(_)) => args.seeds.start..u64::MAX,
        (None, None) => args.seeds,
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if args.verbose { 1 } else { args.threads.unwrap_or(cores) };
    let (begun, next) = (Instant::now(), AtomicU64::new(seeds.start));
    let (runs, steps, failed) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let counts = Mutex::new(Counts::new());
    let work = || {
        while args.time.is_none_or(|t| begun.elapsed() < t) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            match run(seed, options) {
                Ok(summary) => {
                    steps.fetch_add(summary.steps, Ordering::Relaxed);
                    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
                    for (what, times) in summary.counts {
                        *counts.entry(what).or_default() += times;
                    }
                }
                Err(violation) => {
                    failed.fetch_add(1, Ordering::Relaxed);
                    eprintln!("{violation}");
                }
            }
            runs.fetch_add(1, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(work);
        }
    });
    let (runs, steps, failed) = (runs.into_inner(), steps.into_inner(), failed.into_inner());
    let seconds = begun.elapsed().as_secs_f64();
    for (what, times) in counts.into_inner().unwrap_or_else(PoisonError::into_inner) {
        println!("{times:>10} {what}");
    }
    println!("{runs} seeds, {failed} failed, {steps} steps, {seconds:.1} s");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
