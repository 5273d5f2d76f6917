//! The trainer end to end on a small drawn dataset, over stores in memory and on disk.

mod checkpoints;
mod resume;
mod shards;
mod streaming;
mod support;
