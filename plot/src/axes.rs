//! The axes of a panel.

use crate::canvas::{Canvas, Color, TextSize};
use crate::panel::Panel;
use crate::scale::Scale;

pub(crate) const INK: Color = [40, 40, 40];
const GRID: Color = [225, 225, 225];
/// Space around the axes: left, right, top, bottom.
const MARGINS: (f32, f32, f32, f32) = (90.0, 30.0, 60.0, 70.0);
/// Marks within a decade.
const MARKS: [f64; 3] = [1.0, 2.0, 5.0];

/// A part of the canvas, in pixels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Area {
    pub(crate) top: f32,
    pub(crate) width: f32,
    pub(crate) height: f32,
}

/// One axis. Its ends are places on its scale.
#[derive(Debug, Clone, Copy)]
struct Axis {
    ends: (f64, f64),
    scale: Scale,
}

impl Axis {
    /// How far along the axis a value is: 0 is its beginning, 1 its end.
    fn share(&self, value: f64) -> f32 {
        let (low, high) = self.ends;
        narrow((self.scale.place(value) - low) / (high - low))
    }

    /// The values that get a line and a label: about `parts` of them, at least `least` apart where
    /// the scale is linear.
    fn marks(&self, parts: f64, least: f64) -> Vec<(f64, String)> {
        let (low, high) = self.ends;
        match self.scale {
            Scale::Linear => {
                let step = step(high - low, parts).max(least);
                ticks(self.ends, step).map(|value| (value, label(value, step))).collect()
            }
            Scale::Log => {
                let decades = ticks((low.floor(), high.ceil()), 1.0);
                // Where there are many decades, each has room for one mark only.
                let marks = if high - low > 4.0 { &MARKS[..1] } else { &MARKS[..] };
                decades
                    .flat_map(|decade| marks.iter().map(move |mark| mark * 10f64.powf(decade)))
                    .filter(|value| (low..=high).contains(&value.log10()))
                    .map(|value| (value, label(value, value)))
                    .collect()
            }
        }
    }
}

/// Both axes of a panel.
pub(crate) struct Axes {
    area: Area,
    across: Axis,
    up: Axis,
}

impl Axes {
    pub(crate) fn around(panel: &Panel<'_>, area: Area) -> Self {
        let points = || panel.curves.iter().flat_map(|curve| &curve.points);
        let values = || points().map(|(_, y)| *y);
        let up = if panel.from_zero {
            let (_, high) = Scale::Linear.range(values().chain([0.0]), 0.05);
            Axis { ends: (0.0, high), scale: Scale::Linear }
        } else {
            let scale = Scale::of(values());
            Axis { ends: scale.range(values(), 0.05), scale }
        };
        let scale = panel.across.scale;
        let across = Axis { ends: scale.range(points().map(|(x, _)| *x), 0.02), scale };
        Self { area, across, up }
    }

    /// Left, right, top and bottom end of the axes.
    pub(crate) fn ends(&self) -> (f32, f32, f32, f32) {
        let (left, right, top, bottom) = MARGINS;
        let Area { top: begin, width, height } = self.area;
        (left, width - right, begin + top, begin + height - bottom)
    }

    /// The point on the canvas.
    pub(crate) fn place(&self, (x, y): (f64, f64)) -> (f32, f32) {
        let (left, right, top, bottom) = self.ends();
        let (across, up) = (self.across.share(x), self.up.share(y));
        (left + (right - left) * across, top + (bottom - top) * (1.0 - up))
    }

    pub(crate) fn draw(&self, canvas: &mut Canvas, panel: &Panel<'_>) {
        let (left, right, top, bottom) = self.ends();
        for (value, label) in self.up.marks(f64::from(bottom - top) / 45.0, 0.0) {
            let y = top + (bottom - top) * (1.0 - self.up.share(value));
            canvas.line((left, y), (right, y), 1.0, GRID);
            let (width, height) = TextSize::Normal.measure(&label);
            let at = (left - 10.0 - width, y - height / 2.0);
            canvas.text(at, &label, TextSize::Normal, INK);
        }
        // Epochs and seconds are whole.
        for (value, label) in self.across.marks(10.0, 1.0) {
            let x = left + (right - left) * self.across.share(value);
            canvas.line((x, top), (x, bottom), 1.0, GRID);
            let (width, _) = TextSize::Normal.measure(&label);
            canvas.text((x - width / 2.0, bottom + 8.0), &label, TextSize::Normal, INK);
        }
        canvas.line((left, top), (left, bottom), 1.5, INK);
        canvas.line((left, bottom), (right, bottom), 1.5, INK);
        canvas.text((left, top - 44.0), panel.title, TextSize::Large, INK);
        canvas.text((14.0, top - 22.0), panel.unit, TextSize::Normal, INK);
        let (width, _) = TextSize::Normal.measure(panel.across.label);
        let at = ((left + right - width) / 2.0, bottom + 34.0);
        canvas.text(at, panel.across.label, TextSize::Normal, INK);
    }
}

/// A step of 1, 2 or 5 times a power of ten that cuts `range` into at most `parts`.
fn step(range: f64, parts: f64) -> f64 {
    let rough = (range / parts).max(1e-9);
    let power = 10f64.powf(rough.log10().floor());
    let factor = MARKS.into_iter().find(|factor| factor * power >= rough);
    factor.unwrap_or(10.0) * power
}

/// The multiples of `step` within a range.
fn ticks((low, high): (f64, f64), step: f64) -> impl Iterator<Item = f64> {
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
    use crate::{Across, Curve};

    const AREA: Area = Area { top: 0.0, width: 960.0, height: 600.0 };

    fn axes(values: &[f64], from_zero: bool) -> Axes {
        let points = (1u32..).map(f64::from).zip(values.iter().copied()).collect();
        let curves = vec![Curve { name: "test".into(), note: String::new(), points }];
        let across = Across { label: "epoch", scale: Scale::Linear };
        Axes::around(&Panel { title: "title", unit: "nats", across, from_zero, curves }, AREA)
    }

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(step(9.0, 10.0), 1.0);
        assert_eq!(step(55.0, 10.0), 10.0);
        assert_eq!(step(0.9, 10.0), 0.1);
        let (low, high) = (98.3, 151.2);
        let found: Vec<f64> = ticks((low, high), step(high - low, 10.0)).collect();
        assert_eq!(found, [100.0, 110.0, 120.0, 130.0, 140.0, 150.0]);
        let labels: Vec<String> = [10.0, 1.0, 0.5, 0.02, 0.005].map(|s| label(0.12, s)).into();
        assert_eq!(labels, ["0", "0", "0.1", "0.12", "0.120"]);
    }

    #[test]
    fn decades_are_marked_by_round_values() {
        let labels = |values: &[f64]| -> Vec<String> {
            axes(values, false).up.marks(10.0, 0.0).into_iter().map(|(_, label)| label).collect()
        };
        assert_eq!(labels(&[0.03, 2.1]), ["0.05", "0.1", "0.2", "0.5", "1", "2"]);
        assert_eq!(labels(&[0.9, 200_000.0]), ["1", "10", "100", "1000", "10000", "100000"]);
    }

    #[test]
    fn axes_hold_every_value() {
        for values in [&[][..], &[5.0], &[164.0, 120.5, 106.1], &[0.0, 0.3], &[200.0, 0.1]] {
            for from_zero in [false, true] {
                let axes = axes(values, from_zero);
                let (left, right, top, bottom) = axes.ends();
                for (at, value) in (1u32..).zip(values) {
                    let (x, y) = axes.place((f64::from(at), *value));
                    assert!((left..=right).contains(&x), "{x}");
                    assert!((top..=bottom).contains(&y), "{y}");
                }
            }
        }
    }
}
