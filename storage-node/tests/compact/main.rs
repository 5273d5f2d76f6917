//! Compaction gives space back, keeps to its bounds, and leaves alone what it must not touch.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

mod bed;
mod beside;
#[path = "../common/setup.rs"]
mod setup;
mod space;
mod trouble;
