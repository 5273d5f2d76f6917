//! Lifecycle rules: how they are set and shown, and what the worker makes of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod served;
#[path = "../support/signed.rs"]
mod signed;
mod store;
mod worker;
