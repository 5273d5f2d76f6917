//! The training loop, shared by all models.

mod config;
mod epoch;
mod error;
mod patience;
mod record;
mod run;

pub use config::{ModelConfig, TrainConfig};
pub use epoch::PassError;
pub use error::RunError;
pub use patience::Patience;
pub(crate) use record::decimals;
pub use record::{EpochRecord, Losses, Timing};
pub use run::{Event, Init, Outcome, Resume, Run};
