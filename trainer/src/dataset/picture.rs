//! PNG, the form of a picture inside a shard and in reports, and the basics of drawing.

use std::io::Cursor;

/// Why bytes aren't the PNG that was expected.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The PNG is damaged.
    #[error("broken PNG: {0}")]
    Decode(#[from] png::DecodingError),
    /// The picture couldn't be written as PNG.
    #[error("can't encode PNG: {0}")]
    Encode(#[from] png::EncodingError),
    /// A sound PNG, but of another size or kind.
    #[error("PNG of {width}x{height} pixels ({kind}), wanted {side}x{side} in 8-bit grey")]
    Kind {
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
        /// Its colour type and depth.
        kind: String,
        /// The side length wanted.
        side: usize,
    },
}

/// Encodes `pixels` (row by row, `width` each) as 8-bit grey PNG. The same pixels give the same
/// bytes.
///
/// # Errors
/// If `pixels` isn't `width * height` long.
pub fn encode_grey(pixels: &[u8], width: u32, height: u32) -> Result<Vec<u8>, PictureError> {
    encode(pixels, width, height, png::ColorType::Grayscale)
}

/// Encodes `pixels` (red, green, blue; row by row) as 8-bit RGB PNG.
///
/// # Errors
/// If `pixels` isn't `3 * width * height` long.
pub fn encode_rgb(pixels: &[u8], width: u32, height: u32) -> Result<Vec<u8>, PictureError> {
    encode(pixels, width, height, png::ColorType::Rgb)
}

fn encode(
    pixels: &[u8],
    width: u32,
    height: u32,
    color: png::ColorType,
) -> Result<Vec<u8>, PictureError> {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, width, height);
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(out)
}

/// Decodes a square 8-bit grey PNG into `pixels`, whose length is `side * side`.
///
/// # Errors
/// If the PNG is damaged or isn't of that size and kind.
pub fn decode_grey(png: &[u8], side: usize, pixels: &mut [u8]) -> Result<(), PictureError> {
    let mut reader = png::Decoder::new(Cursor::new(png)).read_info()?;
    let info = reader.info();
    let (width, height) = (info.width, info.height);
    let fits = [width, height].map(usize::try_from) == [Ok(side), Ok(side)];
    let grey =
        (info.color_type, info.bit_depth) == (png::ColorType::Grayscale, png::BitDepth::Eight);
    if !(fits && grey) {
        let kind = format!("{:?}, {:?} bits", info.color_type, info.bit_depth);
        return Err(PictureError::Kind { width, height, kind, side });
    }
    reader.next_frame(pixels)?;
    Ok(())
}

/// A grey level from a number in `[0, 1]`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=255")]
pub fn grey(level: f32) -> u8 {
    (level * 255.0).round().clamp(0.0, 255.0) as u8
}

/// Distance from `point` to the line from `a` to `b`, for drawing.
pub fn distance(point: (f32, f32), a: (f32, f32), b: (f32, f32)) -> f32 {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let (px, py) = (point.0 - a.0, point.1 - a.1);
    let along = ((px * dx + py * dy) / (dx * dx + dy * dy).max(1e-9)).clamp(0.0, 1.0);
    (px - along * dx).hypot(py - along * dy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grey_round_trip_and_refusals() {
        let pixels: Vec<u8> = (0..=255).cycle().take(28 * 28).collect();
        let png = encode_grey(&pixels, 28, 28).unwrap();
        let mut back = vec![0; 28 * 28];
        decode_grey(&png, 28, &mut back).unwrap();
        assert_eq!(back, pixels);

        let small = encode_grey(&pixels[..100], 10, 10).unwrap();
        assert!(decode_grey(&small, 28, &mut back).unwrap_err().to_string().contains("10x10"));
        let rgb = encode_rgb(&[0; 3 * 28 * 28], 28, 28).unwrap();
        assert!(matches!(decode_grey(&rgb, 28, &mut back), Err(PictureError::Kind { .. })));
        assert!(decode_grey(&png[..png.len() / 2], 28, &mut back).is_err());
        assert!(encode_grey(&pixels, 28, 27).is_err());
    }
}
