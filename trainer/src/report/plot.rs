//! Loss curves.

use super::canvas::{Canvas, Color, TextSize};
use crate::dataset::picture::PictureError;
use crate::train::decimals;

const WIDTH: usize = 960;
const HEIGHT: usize = 600;
/// Space around the axes: left, right, top, bottom.
const MARGINS: (f32, f32, f32, f32) = (90.0, 30.0, 60.0, 70.0);
const INK: Color = [40, 40, 40];
const GRID: Color = [225, 225, 225];
/// Colours of the curves, told apart by people with any common kind of colour vision.
const CURVES: [Color; 4] = [[0, 114, 178], [213, 94, 0], [0, 158, 115], [204, 121, 167]];

/// One curve: its name and its values at epochs 1, 2, ...
#[derive(Debug, Clone, PartialEq)]
pub struct Curve<'a> {
    /// Name in the legend.
    pub name: &'a str,
    /// One value per epoch.
    pub values: Vec<f64>,
}

/// Plots `curves` over the epoch, with `unit` at the vertical axis, as PNG.
///
/// # Errors
/// If it can't be encoded.
pub fn loss_plot(title: &str, unit: &str, curves: &[Curve<'_>]) -> Result<Vec<u8>, PictureError> {
    let mut canvas = Canvas::new(WIDTH, HEIGHT);
    let axes = Axes::around(curves);
    axes.draw(&mut canvas, title, unit);
    for (curve, color) in curves.iter().zip(CURVES.iter().cycle()) {
        let points: Vec<_> = curve
            .values
            .iter()
            .enumerate()
            .map(|(at, value)| axes.place(at as f64 + 1.0, *value))
            .collect();
        for ends in points.windows(2) {
            if let [from, to] = ends {
                canvas.line(*from, *to, 2.5, *color);
            }
        }
        points.iter().for_each(|point| canvas.dot(*point, 7.0, *color));
    }
    legend(&mut canvas, curves);
    canvas.png()
}

/// Ranges and steps of both axes.
struct Axes {
    epochs: (f64, f64, f64),
    values: (f64, f64, f64),
}

impl Axes {
    fn around(curves: &[Curve<'_>]) -> Self {
        let all = || curves.iter().flat_map(|curve| &curve.values).copied();
        let low = all().fold(f64::INFINITY, f64::min);
        let high = all().fold(f64::NEG_INFINITY, f64::max);
        let (low, high) =
            if low.is_finite() && high.is_finite() { (low, high) } else { (0.0, 1.0) };
        let room = if high > low { (high - low) * 0.05 } else { 0.5 };
        let longest = curves.iter().map(|curve| curve.values.len()).max().unwrap_or(0);
        let last = (longest as f64).max(2.0);
        Self {
            epochs: (1.0, last, step(last - 1.0).max(1.0)),
            values: (low - room, high + room, step(high - low + 2.0 * room)),
        }
    }

    /// The point on the canvas of a value at an epoch.
    fn place(&self, epoch: f64, value: f64) -> (f32, f32) {
        let (left, right, top, bottom) = MARGINS;
        let share = |(low, high, _): (f64, f64, f64), x: f64| narrow((x - low) / (high - low));
        let (width, height) = (WIDTH as f32 - left - right, HEIGHT as f32 - top - bottom);
        (
            left + width * (0.02 + 0.96 * share(self.epochs, epoch)),
            top + height * (1.0 - share(self.values, value)),
        )
    }

    fn draw(&self, canvas: &mut Canvas, title: &str, unit: &str) {
        let (left, right, top, bottom) = MARGINS;
        let (far, low) = (WIDTH as f32 - right, HEIGHT as f32 - bottom);
        for value in ticks(self.values) {
            let (_, y) = self.place(1.0, value);
            canvas.line((left, y), (far, y), 1.0, GRID);
            let label = label(value, self.values.2);
            let (width, height) = TextSize::Normal.measure(&label);
            let at = (left - 10.0 - width, y - height / 2.0);
            canvas.text(at, &label, TextSize::Normal, INK);
        }
        for epoch in ticks(self.epochs) {
            let (x, _) = self.place(epoch, self.values.0);
            canvas.line((x, top), (x, low), 1.0, GRID);
            let label = label(epoch, self.epochs.2);
            let (width, _) = TextSize::Normal.measure(&label);
            canvas.text((x - width / 2.0, low + 8.0), &label, TextSize::Normal, INK);
        }
        canvas.line((left, top), (left, low), 1.5, INK);
        canvas.line((left, low), (far, low), 1.5, INK);
        canvas.text((left, 16.0), title, TextSize::Large, INK);
        canvas.text((14.0, top - 22.0), unit, TextSize::Normal, INK);
        let (width, height) = TextSize::Normal.measure("epoch");
        let at = ((left + far - width) / 2.0, HEIGHT as f32 - height - 14.0);
        canvas.text(at, "epoch", TextSize::Normal, INK);
    }
}

fn legend(canvas: &mut Canvas, curves: &[Curve<'_>]) {
    for (place, (curve, color)) in curves.iter().zip(CURVES.iter().cycle()).enumerate() {
        let last = curve.values.last().map_or(String::new(), |value| {
            let decimals = decimals(*value);
            format!("{value:.decimals$}")
        });
        let text = format!("{:<10}{last:>8}", curve.name);
        let (width, height) = TextSize::Normal.measure(&text);
        let x = WIDTH as f32 - MARGINS.1 - width - 10.0;
        let y = MARGINS.2 + 10.0 + place as f32 * (height + 6.0);
        canvas.line((x - 34.0, y + height / 2.0), (x - 10.0, y + height / 2.0), 2.5, *color);
        canvas.text((x, y), &text, TextSize::Normal, INK);
    }
}

/// A step of 1, 2 or 5 times a power of ten that cuts `range` into at most ten.
fn step(range: f64) -> f64 {
    let rough = (range / 10.0).max(1e-9);
    let power = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= rough);
    factor.unwrap_or(10.0) * power
}

/// The multiples of the step within a range.
fn ticks((low, high, step): (f64, f64, f64)) -> impl Iterator<Item = f64> {
    let first = (low / step).ceil();
    (0u32..).map(move |at| (first + f64::from(at)) * step).take_while(move |tick| *tick <= high)
}

/// A tick's number, with as many decimals as the step between ticks needs.
fn label(value: f64, step: f64) -> String {
    let mut decimals = 0;
    let mut unit = 1.0;
    // A little less than the unit will do: steps are computed.
    while step < 0.999 * unit && decimals < 9 {
        unit /= 10.0;
        decimals += 1;
    }
    format!("{value:.decimals$}")
}

#[expect(clippy::cast_possible_truncation, reason = "a place on the canvas needs no f64")]
fn narrow(share: f64) -> f32 {
    share as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(step(9.0), 1.0);
        assert_eq!(step(55.0), 10.0);
        assert_eq!(step(0.9), 0.1);
        let (low, high) = (98.3, 151.2);
        let found: Vec<f64> = ticks((low, high, step(high - low))).collect();
        assert_eq!(found, [100.0, 110.0, 120.0, 130.0, 140.0, 150.0]);
        let labels: Vec<String> = [10.0, 1.0, 0.5, 0.02, 0.005].map(|s| label(0.12, s)).into();
        assert_eq!(labels, ["0", "0", "0.1", "0.12", "0.120"]);
    }

    #[test]
    fn axes_hold_every_value() {
        let curve = |values: &[f64]| Curve { name: "test", values: values.to_vec() };
        for values in [&[][..], &[5.0], &[164.0, 120.5, 106.1], &[-3.0, 0.0]] {
            let curves = [curve(values)];
            let axes = Axes::around(&curves);
            for (at, value) in values.iter().enumerate() {
                let (x, y) = axes.place(at as f64 + 1.0, *value);
                assert!((MARGINS.0..=WIDTH as f32 - MARGINS.1).contains(&x), "{x}");
                assert!((MARGINS.2..=HEIGHT as f32 - MARGINS.3).contains(&y), "{y}");
            }
            assert!(loss_plot("title", "nats", &curves).unwrap().starts_with(b"\x89PNG"));
        }
    }
}
