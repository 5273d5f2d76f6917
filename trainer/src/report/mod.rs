//! Pictures of a run: its loss curves and the digits that it generates, as PNG.

mod grid;
mod plot;
mod table;

pub use grid::{GRID_SIDE, grid};
pub use plot::{cost_plot, loss_plot};
pub use table::score_table;
