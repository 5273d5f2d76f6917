//! Small plots as PNG, with a font that is compiled in: [`draw`] makes a picture of [`Panel`]s.

mod axes;
mod canvas;
mod panel;
mod scale;

pub use canvas::PlotError;
pub use panel::{Across, Curve, Panel, draw};
pub use scale::Scale;
