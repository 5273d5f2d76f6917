//! The training loop, shared by all models.

mod attempt;
mod config;
mod epoch;
mod error;
mod patience;
mod pictures;
mod record;
mod run;

pub use config::{ModelConfig, TrainConfig};
pub use epoch::PassError;
pub use error::RunError;
pub use patience::Patience;
pub(crate) use record::decimals;
pub use record::{EpochRecord, Losses, Timing};
pub use run::{Ending, Event, Init, Outcome, Resume, Run, Saving};
