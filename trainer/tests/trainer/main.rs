//! The trainer end to end on a small drawn dataset, over stores in memory and on disk.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod checkpoints;
mod convergence;
mod kill;
mod parallel;
mod resume;
mod serve;
mod shards;
mod streaming;
mod support;
mod transfer;
mod watching;
