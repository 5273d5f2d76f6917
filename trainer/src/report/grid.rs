//! A grid of generated pictures.

use crate::dataset::SIDE;
use crate::dataset::picture::{PictureError, encode_grey};

/// Pictures per row and per column of a run's grid.
pub const GRID_SIDE: usize = 10;
/// Background between and around pictures, in pixels before magnification.
const GAP: usize = 2;
/// How often each pixel is repeated in both directions.
const ZOOM: usize = 2;

/// A grid of `side` by `side` pictures of 784 pixels each, row by row, as grey PNG with dark ink on
/// white. Places without a picture stay empty.
///
/// # Errors
/// If it can't be encoded.
pub fn grid(pictures: &[u8], side: usize) -> Result<Vec<u8>, PictureError> {
    let width = (side * (SIDE + GAP) + GAP) * ZOOM;
    let mut pixels = vec![255; width * width];
    for (y, row) in pixels.chunks_mut(width).enumerate() {
        for (x, pixel) in row.iter_mut().enumerate() {
            let ((column, dx), (line, dy)) = (cell(x / ZOOM), cell(y / ZOOM));
            if let (Some(dx), Some(dy)) = (dx, dy) {
                let at = ((line * side + column) * SIDE + dy) * SIDE + dx;
                *pixel = pictures.get(at).map_or(255, |ink| 255 - ink);
            }
        }
    }
    let width = u32::try_from(width).unwrap_or(u32::MAX);
    encode_grey(&pixels, width, width)
}

/// The cell of a coordinate, and the place within its picture unless it lies in the gap.
fn cell(at: usize) -> (usize, Option<usize>) {
    let within = at % (SIDE + GAP);
    (at / (SIDE + GAP), within.checked_sub(GAP))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::PIXELS;
    use crate::dataset::picture::decode_grey;

    #[test]
    fn pictures_land_in_their_cells() {
        let mut pictures = vec![0; GRID_SIDE * GRID_SIDE * PIXELS];
        // Lower right pixel of the picture in row 3, column 4.
        pictures[(3 * GRID_SIDE + 4) * PIXELS + PIXELS - 1] = 255;
        let width = (GRID_SIDE * (SIDE + GAP) + GAP) * ZOOM;
        let mut pixels = vec![0; width * width];
        decode_grey(&grid(&pictures, GRID_SIDE).unwrap(), width, &mut pixels).unwrap();
        let dark: Vec<(usize, usize)> = (0..pixels.len())
            .filter(|at| pixels[*at] == 0)
            .map(|at| (at / width / ZOOM, at % width / ZOOM))
            .collect();
        assert_eq!(dark, vec![(4 * (SIDE + GAP) - 1, 5 * (SIDE + GAP) - 1); ZOOM * ZOOM]);
        grid(&pictures[..PIXELS], 2).unwrap();
    }
}
