//! Coffer's parts on one core, each beside its physical limit in the same run.

mod pipeline;
mod stopwatch;

pub use pipeline::{Report, measure};
