//! What is measured: latencies, volumes, errors; processor time and disk space of the server.

mod disk;
mod failure;
mod machine;
mod meter;
mod process;
mod record;

pub use disk::allocated;
pub use failure::Failure;
pub use machine::Machine;
pub use meter::{Meter, MeterError, Reading, Sources};
pub use process::{Stat, tree};
pub use record::{Done, Latencies, Moved, Operation, Part, Recorder, Second, Tally};
