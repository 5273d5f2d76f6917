//! The program as its users run it: against a gateway of Coffer, and against a server that misbehaves.
//! Counts and errors are asserted, never speed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

mod faults;
mod gateway;
mod parts;
mod reports;
mod server;
mod support;
