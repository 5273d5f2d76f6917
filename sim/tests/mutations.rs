//! Bugs that are planted are found: the simulator would have found them had someone written them.

use clap::ValueEnum;
use coffer_sim::{Mutation, Options, run};

/// Seeds within which each bug must be found.
const SEEDS: u64 = 500;

#[test]
fn every_planted_bug_is_found() {
    let mut missed = Vec::new();
    for mutation in Mutation::value_variants() {
        let options = Options { mutation: Some(*mutation), ..Options::default() };
        let found = (0..SEEDS).find_map(|seed| run(seed, options).err());
        match found {
            Some(v) => {
                println!("{mutation:?}: seed {}, step {}: {}", v.seed, v.step, v.invariant);
                let again = run(v.seed, options).err().map(|v| v.to_string());
                assert_eq!(again, Some(v.to_string()), "a seed that fails does so again");
            }
            None => missed.push(mutation),
        }
    }
    assert!(missed.is_empty(), "not found within {SEEDS} seeds: {missed:?}");
}
