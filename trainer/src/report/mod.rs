//! Pictures of a run: its loss curves and the digits that it generates, as PNG.

mod canvas;
mod grid;
mod plot;
mod table;

pub use grid::{GRID_SIDE, grid};
pub use plot::{Curve, loss_plot};
pub use table::score_table;
