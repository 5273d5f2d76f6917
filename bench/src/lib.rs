//! Load generator for S3 stores, and benchmarks of Coffer's parts.
//!
//! | module | what |
//! |---|---|
//! | [`data`] | sizes, names and contents of objects, all from a seed |
//! | [`load`] | when operations begin, what they are, and who carries them out |
//! | [`s3`] | the store that is measured, and single requests to it |
//! | [`measure`] | latencies, volumes, errors; processor time and disk space of the server |
//! | [`report`] | JSON, tables, pictures, comparisons |
//! | [`session`] | rounds of runs on one target, or on two in turns |
//! | [`parts`] | Coffer's parts on one core, each beside its physical limit |
//!
//! Machines are noisy: what counts is the ratio between two runs in turns, not a figure by itself.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::cast_possible_truncation
    )
)]

pub mod data;
pub mod load;
pub mod measure;
pub mod parts;
pub mod report;
pub mod s3;
pub mod session;
