//! Checkpoints over stores in memory and on disk: whole or not there, stored once, never raced.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that panics has failed"
)]

mod damage;
#[path = "../support/hooked.rs"]
mod hooked;
mod interleaved;
mod stored_once;
mod support;
mod writer;
