//! Load: when operations begin, what they are, and the workers that carry them out.

mod choose;
mod driver;
mod large;
mod make;
mod mix;
mod pace;
mod work;

pub use choose::{One, Ready};
pub use driver::{Clock, End, Live, Load, Plan, SystemClock, run};
pub use make::{Objects, prepare};
pub use mix::{Mix, MixError};
pub use pace::{Arrivals, Pace, Spacing, pacer};
pub use work::{Work, Workload};
