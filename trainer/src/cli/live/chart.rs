//! The loss over the epochs, as a chart of letters.

use coffer_plot::Scale;
use coffer_train::telemetry::Telemetry;
use coffer_train::train::{EpochRecord, Losses, decimals};
use ratatui_core::style::{Color, Style};
use ratatui_core::symbols::Marker;
use ratatui_core::text::Line;
use ratatui_widgets::block::Block;
use ratatui_widgets::chart::{Axis, Chart, Dataset, GraphType};

type Points = Vec<(f64, f64)>;

/// The curves that there is anything of: name, colour, values over the epochs.
pub(super) fn curves(state: &Telemetry) -> Vec<(&'static str, Color, Points)> {
    // Within epochs where this process saw them, and their means where it didn't.
    let begin = state.curve.points().first().map_or(f64::INFINITY, |point| point.0);
    let means =
        state.history.iter().map(|record| (record.epoch as f64 - 0.5, record.train.total()));
    let train = means.filter(|point| point.0 < begin).chain(state.curve.points().iter().copied());
    let judged = |losses: fn(&EpochRecord) -> Option<&Losses>| {
        let of = |record: &EpochRecord| Some((record.epoch as f64, losses(record)?.total()));
        state.history.iter().filter_map(of).collect()
    };
    let mut curves = vec![
        ("train", Color::Blue, train.collect()),
        ("validation", Color::Yellow, judged(|record| record.validation.as_ref())),
        ("test", Color::Green, judged(|record| Some(&record.test))),
    ];
    curves.retain(|(_, _, points): &(_, _, Points)| !points.is_empty());
    curves
}

/// Draws them in `block`, which is `rows` high; on a logarithmic scale where the loss spans decades.
pub(super) fn render<'a>(
    frame: &mut ratatui_core::terminal::Frame<'_>,
    area: ratatui_core::layout::Rect,
    block: Block<'a>,
    curves: &[(&'static str, Color, Points)],
    epochs: u64,
) {
    let values = || curves.iter().flat_map(|(_, _, points)| points).map(|point| point.1);
    let scale = Scale::of(values());
    let scaled: Vec<Points> = curves
        .iter()
        .map(|(_, _, points)| points.iter().map(|point| (point.0, scale.place(point.1))).collect())
        .collect();
    let (low, high) = scale.range(values(), 0.05);
    let datasets = curves.iter().zip(&scaled).map(|((name, color, _), points)| {
        let dataset = Dataset::default().name(*name).marker(Marker::Braille);
        dataset.graph_type(GraphType::Line).style(Style::new().fg(*color)).data(points)
    });
    let labels = [0.0, 0.5, 1.0].map(|share| {
        let value = scale.value(low + share * (high - low));
        let decimals = decimals(value);
        Line::from(format!("{value:.decimals$}"))
    });
    let end = epochs.max(1);
    let epochs = [0.0, end as f64];
    let ends = [Line::from("0"), Line::from("epoch"), Line::from(end.to_string())];
    let chart = Chart::new(datasets.collect())
        .block(block)
        .x_axis(Axis::default().bounds(epochs).labels(ends))
        .y_axis(Axis::default().bounds([low, high]).labels(labels));
    frame.render_widget(chart, area);
}
