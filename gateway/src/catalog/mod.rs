//! The catalog on disk: sled below, sealed values, one writer that commits in groups.
//!
//! * [`sled_kv`]: the store;
//! * [`raft`]: what gateways replicate it by;
//! * [`handle`]: the single writer and consistent reads beside it.

pub mod handle;
pub mod raft;
pub mod sled_kv;

pub use handle::CatalogHandle;
