//! All catalogs are lost; the storage nodes and the master key give back what was committed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/dice.rs"]
mod dice;
#[path = "../support/processes.rs"]
mod processes;
#[path = "../support/signed.rs"]
mod signed;

mod commands;
mod damage;
mod memory;
mod real;
mod several;
