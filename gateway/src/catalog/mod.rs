//! The catalog on disk: sled below, sealed values, one writer that commits in groups.
//!
//! * [`sled_kv`]: the store;
//! * [`handle`]: the single writer and consistent reads beside it.

pub mod handle;
pub mod sled_kv;

pub use handle::CatalogHandle;
