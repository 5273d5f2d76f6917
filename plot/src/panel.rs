//! Panels of curves.

use crate::axes::{Area, Axes, INK};
use crate::canvas::{Canvas, Color, PlotError, TextSize};
use crate::scale::Scale;

const WIDTH: u16 = 960;
/// Height of a panel that has the picture for itself, and of one among others.
const HEIGHT: u16 = 600;
const LOW_HEIGHT: u16 = 300;
/// Colours of the curves, told apart by people with any common kind of colour vision (Okabe and Ito).
const CURVES: [Color; 4] = [[0, 114, 178], [213, 94, 0], [0, 158, 115], [204, 121, 167]];
/// Dots closer than this, in pixels, would hide the line.
const APART: f32 = 12.0;

/// One curve.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Name in the legend.
    pub name: String,
    /// A figure beside the name; may be empty.
    pub note: String,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
}

/// The horizontal axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Across<'a> {
    /// What is said at it.
    pub label: &'a str,
    /// How values are laid out. Marks of a linear one are whole numbers.
    pub scale: Scale,
}

/// Curves with axes of their own.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel<'a> {
    /// What is shown.
    pub title: &'a str,
    /// What is said at the vertical axis.
    pub unit: &'a str,
    /// The horizontal axis.
    pub across: Across<'a>,
    /// Whether the vertical axis begins at zero; if not, it may be logarithmic.
    pub from_zero: bool,
    /// The curves.
    pub curves: Vec<Curve>,
}

/// The panels that have anything to show, one below the other, as PNG. The same panels give the same
/// bytes.
///
/// # Errors
/// If the picture can't be encoded.
pub fn draw(mut panels: Vec<Panel<'_>>) -> Result<Vec<u8>, PlotError> {
    for panel in &mut panels {
        panel.curves.retain(|curve| !curve.points.is_empty());
    }
    if panels.len() > 1 {
        panels.retain(|panel| !panel.curves.is_empty());
    }
    let height = if panels.len() > 1 { LOW_HEIGHT } else { HEIGHT };
    let rows = u16::try_from(panels.len()).unwrap_or(u16::MAX).max(1);
    let mut canvas = Canvas::new(WIDTH.into(), usize::from(height) * usize::from(rows));
    for (row, panel) in (0..rows).zip(&panels) {
        let top = f32::from(row) * f32::from(height);
        let area = Area { top, width: WIDTH.into(), height: height.into() };
        let axes = Axes::around(panel, area);
        axes.draw(&mut canvas, panel);
        for (curve, color) in panel.curves.iter().zip(CURVES.iter().cycle()) {
            curve_line(&mut canvas, &axes, curve, *color);
        }
        legend(&mut canvas, &axes, &panel.curves);
    }
    canvas.png()
}

fn curve_line(canvas: &mut Canvas, axes: &Axes, curve: &Curve, color: Color) {
    let points: Vec<_> = curve.points.iter().map(|point| axes.place(*point)).collect();
    for ends in points.windows(2) {
        if let [from, to] = ends {
            canvas.line(*from, *to, 2.5, color);
        }
    }
    let apart = points.windows(2).all(|ends| matches!(ends, [a, b] if b.0 - a.0 >= APART));
    if apart {
        points.iter().for_each(|point| canvas.dot(*point, 7.0, color));
    }
}

/// Names and figures, above the axes' upper right corner, where no curve is behind them.
fn legend(canvas: &mut Canvas, axes: &Axes, curves: &[Curve]) {
    let (_, mut x, top, _) = axes.ends();
    let colors: Vec<Color> = CURVES.iter().copied().cycle().take(curves.len()).collect();
    for (curve, color) in curves.iter().zip(colors).rev() {
        let text = format!("{} {}", curve.name, curve.note);
        let (width, height) = TextSize::Normal.measure(text.trim_end());
        x -= width;
        let y = top - height - 6.0;
        canvas.text((x, y), text.trim_end(), TextSize::Normal, INK);
        let middle = y + height / 2.0;
        canvas.line((x - 32.0, middle), (x - 10.0, middle), 2.5, color);
        canvas.dot((x - 21.0, middle), 7.0, color);
        x -= 54.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Width and height, as a PNG's head has them.
    fn size_of(png: &[u8]) -> (u32, u32) {
        let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
        (number(16), number(20))
    }

    fn panel(points: Vec<(f64, f64)>) -> Panel<'static> {
        Panel {
            title: "Loss",
            unit: "nats",
            across: Across { label: "ms", scale: Scale::Log },
            from_zero: true,
            curves: vec![Curve { name: "train".into(), note: "1.0".into(), points }],
        }
    }

    #[test]
    fn any_curve_makes_a_picture_and_empty_panels_make_none_beside_others() {
        for count in [0, 1, 2, 200u32] {
            let points: Vec<_> = (0..count).map(|x| (f64::from(x), 1.0)).collect();
            let png = draw(vec![panel(points.clone())]).unwrap();
            assert_eq!(size_of(&png), (960, 600));
            assert_eq!(draw(vec![panel(points)]).unwrap(), png);
        }
        let two = || vec![(1.0, 2.0), (3.0, 4.0)];
        assert_eq!(size_of(&draw(vec![panel(two()), panel(two())]).unwrap()), (960, 600));
        assert_eq!(size_of(&draw(vec![panel(two()), panel(vec![])]).unwrap()), (960, 600));
        assert_eq!(size_of(&draw(vec![panel(two()); 3]).unwrap()), (960, 900));
    }
}
