//! The training loop, shared by all models.

mod attempt;
mod config;
mod epoch;
mod error;
mod patience;
mod pictures;
mod progress;
mod record;
mod run;
mod stopwatch;

pub use config::{ModelConfig, TrainConfig};
pub use epoch::PassError;
pub use error::RunError;
pub use patience::Patience;
pub use progress::Progress;
pub use record::{EpochRecord, Losses, Timing, decimals};
pub use run::{Ending, Event, Init, Outcome, Resume, Run, Saving};
