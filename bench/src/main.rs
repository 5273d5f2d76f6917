//! Benchmarks of Coffer's parts, each beside its physical limit in the same run.
//!
//! Machines are noisy: what counts is the ratio between two lines of one run, not a line by itself.

mod pipeline;
mod stopwatch;

use clap::{Parser, Subcommand};

/// Measure Coffer's parts against their limits.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Print one JSON object instead of a table.
    #[arg(long, global = true)]
    json: bool,
    /// How often each part is measured; the median counts.
    #[arg(long, global = true, default_value_t = 7)]
    runs: usize,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Sealing, erasure coding and hashing of 4 MiB chunks on one core, beside memcpy.
    Pipeline,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    match args.what {
        What::Pipeline => {
            let report = pipeline::measure(args.runs)?;
            if args.json {
                println!("{}", serde_json::to_string(&report)?);
            } else {
                print!("{report}");
            }
        }
    }
    Ok(())
}
