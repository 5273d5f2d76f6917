//! Trains models on datasets that live in a Coffer store, and writes versioned checkpoints back.
//!
//! - [`dataset`]: reads MNIST, packs it into WebDataset shards
//! - [`stream`]: streams the shards back, in an order that a seed determines
//! - [`model`]: the models, in Burn, and how they learn
//! - [`energy`]: what it takes, by the hardware's counters
//! - [`telemetry`]: what is known of a run while it goes on
//! - [`metrics`]: how well a classifier does
//! - [`serve`]: inference over HTTP
//! - [`seeded`]: every random number, named by seed, purpose and position

pub mod checkpoint;
pub mod dataset;
pub mod energy;
mod http;
pub mod metrics;
pub mod model;
pub mod report;
pub mod seeded;
pub mod serve;
pub mod stream;
pub mod telemetry;
pub mod train;
