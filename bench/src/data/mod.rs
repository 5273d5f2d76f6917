//! What is stored: sizes, names and contents, all of which follow from a seed, so that whoever reads
//! an object knows what it must hold and nothing has to be remembered.

mod content;
mod dice;
mod order;
mod population;
mod shard;
mod size;

pub use content::{Check, Content};
pub use dice::{Dice, mix};
pub use order::Epochs;
pub use population::Population;
pub use shard::{Sample, Shard};
pub use size::{Size, Sizes, SizesError};
