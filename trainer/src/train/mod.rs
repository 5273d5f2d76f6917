//! The training loop, shared by all models.

mod config;
mod epoch;
mod record;
mod run;

pub use config::{ModelConfig, TrainConfig};
pub use epoch::PassError;
pub(crate) use record::decimals;
pub use record::{EpochRecord, Losses, Timing};
pub use run::{Event, Outcome, Resume, Run, RunError};
