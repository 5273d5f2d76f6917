//! Drawn digits that stand in for MNIST where its files aren't at hand: enough to try every part
//! of the trainer, not to compare losses with published ones.

use rand_chacha::ChaCha8Rng;

use super::picture::{distance, grey};
use super::{CLASSES, PIXELS, SIDE, Sample};
use crate::seeded::{Purpose, stream, uniform};

type Point = (f32, f32);

/// Strokes of each digit in the unit square, y downwards; each is a line through its points.
const STROKES: [&[&[Point]]; CLASSES as usize] = [
    &[&[(0.5, 0.0), (0.15, 0.2), (0.1, 0.7), (0.5, 1.0), (0.85, 0.75), (0.85, 0.25), (0.5, 0.0)]],
    &[&[(0.3, 0.2), (0.55, 0.0), (0.55, 1.0)]],
    &[&[(0.1, 0.2), (0.4, 0.0), (0.85, 0.15), (0.8, 0.45), (0.1, 1.0), (0.9, 1.0)]],
    &[&[(0.1, 0.05), (0.8, 0.05), (0.45, 0.4), (0.85, 0.65), (0.6, 1.0), (0.1, 0.9)]],
    &[&[(0.3, 0.0), (0.1, 0.55), (0.9, 0.55)], &[(0.7, 0.25), (0.65, 1.0)]],
    &[&[(0.85, 0.0), (0.25, 0.0), (0.2, 0.4), (0.7, 0.4), (0.85, 0.75), (0.5, 1.0), (0.1, 0.9)]],
    &[&[(0.7, 0.0), (0.25, 0.4), (0.15, 0.8), (0.5, 1.0), (0.85, 0.75), (0.5, 0.5), (0.2, 0.7)]],
    &[&[(0.1, 0.0), (0.9, 0.0), (0.4, 1.0)]],
    &[&[
        (0.5, 0.45),
        (0.2, 0.2),
        (0.5, 0.0),
        (0.8, 0.2),
        (0.5, 0.45),
        (0.15, 0.75),
        (0.5, 1.0),
        (0.85, 0.75),
        (0.5, 0.45),
    ]],
    &[&[(0.8, 0.3), (0.5, 0.5), (0.2, 0.25), (0.5, 0.0), (0.8, 0.2), (0.75, 0.6), (0.6, 1.0)]],
];

/// Sample `at` of the endless set named by `seed`; labels take turns.
pub fn draw(seed: u64, at: u32) -> Sample {
    let mut rng = stream(seed, Purpose::Synthetic, &[u64::from(at)]);
    let label = u8::try_from(at % u32::from(CLASSES)).unwrap_or_default();
    let strokes = STROKES.get(usize::from(label)).copied().unwrap_or_default();
    let pen = Pen::random(&mut rng);
    let lines: Vec<Vec<Point>> =
        strokes.iter().map(|s| s.iter().map(|p| pen.place(*p, &mut rng)).collect()).collect();
    let mut pixels = Box::new([0; PIXELS]);
    for (i, pixel) in pixels.iter_mut().enumerate() {
        let centre = ((i % SIDE) as f32 + 0.5, (i / SIDE) as f32 + 0.5);
        let distance = lines
            .iter()
            .flat_map(|line| line.windows(2))
            .map(|ends| match ends {
                [from, to] => distance(centre, *from, *to),
                _ => f32::MAX,
            })
            .fold(f32::MAX, f32::min);
        *pixel = grey((pen.width - distance + 0.5).clamp(0.0, 1.0));
    }
    Sample { pixels, label }
}

/// How one sample is written: size, slant, place and width of the line.
struct Pen {
    size: Point,
    origin: Point,
    slant: f32,
    width: f32,
}

impl Pen {
    fn random(rng: &mut ChaCha8Rng) -> Self {
        let mut between = |low: f32, high: f32| low + (high - low) * uniform(rng);
        let size = (between(10.0, 15.0), between(16.0, 20.0));
        let middle = (14.0 + between(-1.5, 1.5), 14.0 + between(-1.5, 1.5));
        Self {
            size,
            origin: (middle.0 - size.0 / 2.0, middle.1 - size.1 / 2.0),
            slant: between(-0.3, 0.3),
            width: between(0.7, 1.5),
        }
    }

    /// Puts a point of the unit square on the picture, a little beside its place.
    fn place(&self, point: Point, rng: &mut ChaCha8Rng) -> Point {
        let mut shaken = |x: f32| x + 0.08 * (uniform(rng) - 0.5);
        let (x, y) = (shaken(point.0), shaken(point.1));
        (
            self.origin.0 + self.size.0 * (x + self.slant * (0.5 - y)),
            self.origin.1 + self.size.1 * y,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_reproducible_different_and_drawn_within_the_frame() {
        for at in 0..40 {
            let sample = draw(3, at);
            assert_eq!(sample, draw(3, at));
            assert_ne!(sample.pixels, draw(3, at + 10).pixels, "same digit, other hand");
            assert_eq!(u32::from(sample.label), at % 10);
            let ink = sample.pixels.iter().filter(|p| **p > 127).count();
            assert!((20..300).contains(&ink), "{ink} dark pixels for {}", sample.label);
        }
    }
}
