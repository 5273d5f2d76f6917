//! What is told of runs: as JSON, as tables, as pictures, and side by side.

mod compare;
mod plots;
mod summary;
mod table;

pub use compare::{Comparison, compare};
pub use plots::plot;
pub use summary::{Config, FORMAT, Measured, Quantiles, Report, Run, TargetInfo};
pub use table::table;
