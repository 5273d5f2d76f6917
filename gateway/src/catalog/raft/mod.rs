//! The catalog's replicated log.
//!
//! * [`types`]: its members and entries;
//! * [`snapshot`]: snapshots as pages of rows;
//! * [`network`]: what gateways say to each other.

pub mod network;
pub mod snapshot;
pub mod types;
