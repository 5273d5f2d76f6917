//! The catalog's state machine: against a model, and case by case.

#![allow(clippy::unwrap_used, clippy::panic)]

mod blobs;
mod conditions;
mod lock;
mod model;
mod support;
mod uploads;
