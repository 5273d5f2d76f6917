//! Trains models on datasets that live in a Coffer store, and writes versioned checkpoints back.
//!
//! - [`dataset`]: reads MNIST, packs it into WebDataset shards
//! - [`stream`]: streams the shards back, in an order that a seed determines
//! - [`model`]: the models, in Burn, and how they learn
//! - [`metrics`]: how well a classifier does
//! - [`serve`]: inference over HTTP
//! - [`seeded`]: every random number, named by seed, purpose and position

pub mod checkpoint;
pub mod dataset;
pub mod metrics;
pub mod model;
pub mod report;
pub mod seeded;
pub mod serve;
pub mod stream;
pub mod train;
