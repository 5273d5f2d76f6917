//! The catalog of a cluster's gateways: one state machine, fed by a replicated log.
//!
//! * [`handle`]: the door for the rest of the gateway;
//! * [`raft`]: the log, replicated among the gateways;
//! * [`store`]: the log and the state on disk.

pub mod handle;
pub mod raft;
pub mod store;

pub use handle::CatalogHandle;

#[cfg(test)]
mod tests;
