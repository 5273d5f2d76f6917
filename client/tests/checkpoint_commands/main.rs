//! `coffer checkpoint` as a user or a script sees it, on runs in local directories, and the parts of
//! the library that it alone uses.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

mod compare;
mod damage;
#[path = "../support/hooked.rs"]
mod hooked;
mod prune;
mod read;
mod restore;
mod support;
