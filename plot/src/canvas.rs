//! A small RGB canvas: anti-aliased lines and dots, and text in a font that is compiled in, so
//! that no font has to be installed.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

/// Why a picture can't be made.
pub type PlotError = png::EncodingError;

/// A colour as red, green, blue.
pub(crate) type Color = [u8; 3];

/// Size of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextSize {
    /// 16 pixels per line.
    Normal,
    /// 20 pixels per line.
    Large,
}

impl TextSize {
    fn raster(self) -> RasterHeight {
        match self {
            Self::Normal => RasterHeight::Size16,
            Self::Large => RasterHeight::Size20,
        }
    }

    /// Width and height of `text` in pixels.
    pub(crate) fn measure(self, text: &str) -> (f32, f32) {
        let height = self.raster();
        let width = get_raster_width(FontWeight::Regular, height) * text.chars().count();
        (width as f32, height.val() as f32)
    }
}

/// The canvas; the origin is its upper left corner, units are pixels.
pub(crate) struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Canvas {
    /// A white canvas.
    pub(crate) fn new(width: usize, height: usize) -> Self {
        Self { width, height, pixels: vec![255; 3 * width * height] }
    }

    /// Draws a line of `thickness` with round ends.
    pub(crate) fn line(&mut self, from: (f32, f32), to: (f32, f32), thickness: f32, color: Color) {
        let reach = thickness / 2.0 + 1.0;
        let columns = span(from.0.min(to.0) - reach, from.0.max(to.0) + reach, self.width);
        let rows = span(from.1.min(to.1) - reach, from.1.max(to.1) + reach, self.height);
        for y in rows {
            for x in columns.clone() {
                let centre = (x as f32 + 0.5, y as f32 + 0.5);
                let cover = thickness / 2.0 - distance(centre, from, to) + 0.5;
                self.blend(x, y, cover, color);
            }
        }
    }

    /// Draws a filled dot.
    pub(crate) fn dot(&mut self, at: (f32, f32), diameter: f32, color: Color) {
        self.line(at, at, diameter, color);
    }

    /// Writes `text` with its upper left corner at `at`.
    pub(crate) fn text(&mut self, at: (f32, f32), text: &str, size: TextSize, color: Color) {
        let (left, top) = (whole(at.0), whole(at.1));
        let advance = get_raster_width(FontWeight::Regular, size.raster());
        for (place, letter) in text.chars().enumerate() {
            let Some(glyph) = get_raster(letter, FontWeight::Regular, size.raster()) else {
                continue;
            };
            for (y, row) in glyph.rows().enumerate() {
                for (x, cover) in row.iter().enumerate() {
                    let column = left + place * advance + x;
                    self.blend(column, top + y, f32::from(*cover) / 255.0, color);
                }
            }
        }
    }

    /// The canvas as PNG. The same canvas gives the same bytes.
    pub(crate) fn png(&self) -> Result<Vec<u8>, PlotError> {
        let size = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, size(self.width), size(self.height));
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.pixels)?;
        writer.finish()?;
        Ok(out)
    }

    fn blend(&mut self, x: usize, y: usize, cover: f32, color: Color) {
        if x >= self.width || cover <= 0.0 {
            return;
        }
        let start = 3 * (y * self.width + x);
        let Some(pixel) = self.pixels.get_mut(start..start + 3) else { return };
        let cover = cover.min(1.0);
        for (channel, ink) in pixel.iter_mut().zip(color) {
            let level = f32::from(*channel) * (1.0 - cover) + f32::from(ink) * cover;
            *channel = tone(level);
        }
    }
}

/// The pixels between two coordinates, within `0..limit`.
fn span(low: f32, high: f32, limit: usize) -> std::ops::Range<usize> {
    whole(low)..whole(high.max(0.0) + 1.0).min(limit)
}

/// The pixel of a coordinate; those left of or above the canvas count as its edge.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
fn whole(coordinate: f32) -> usize {
    coordinate.clamp(0.0, 65_535.0) as usize
}

/// A channel's value from 0 to 255.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=255")]
fn tone(level: f32) -> u8 {
    level.round().clamp(0.0, 255.0) as u8
}

/// Distance from `point` to the line from `a` to `b`.
fn distance(point: (f32, f32), a: (f32, f32), b: (f32, f32)) -> f32 {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let (px, py) = (point.0 - a.0, point.1 - a.1);
    let along = ((px * dx + py * dy) / (dx * dx + dy * dy).max(1e-9)).clamp(0.0, 1.0);
    (px - along * dx).hypot(py - along * dy)
}
