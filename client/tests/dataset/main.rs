//! Datasets end to end, over a store that counts reads and breaks them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

#[path = "../support/store.rs"]
mod store;

mod damage;
mod download;
mod loading;
mod packing;
mod support;
