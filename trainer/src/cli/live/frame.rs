//! What the view shows of a run: a pure function of its state.

use std::time::Duration;

use coffer_train::checkpoint::Activity;
use coffer_train::telemetry::{Level, Telemetry};
use ratatui_core::layout::{Alignment, Constraint, Layout, Rect};
use ratatui_core::style::{Color, Modifier, Style, Stylize};
use ratatui_core::terminal::Frame;
use ratatui_core::text::{Line, Span};
use ratatui_widgets::block::Block;
use ratatui_widgets::gauge::LineGauge;
use ratatui_widgets::paragraph::{Paragraph, Wrap};

use super::{chart, words};

/// Lines of messages that are shown.
const MESSAGES: u16 = 3;

/// What the keys have been used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    /// Nothing yet.
    Free,
    /// The run was asked to end.
    Ending,
}

/// Draws `state` as it is `now`, the time since the run's start.
pub(super) fn draw(frame: &mut Frame<'_>, state: &Telemetry, now: Duration, keys: Keys) {
    let figures = figures(state, now);
    let rows = u16::try_from(figures.len()).unwrap_or(u16::MAX);
    let lines = [
        Constraint::Length(1),
        Constraint::Min(4),
        Constraint::Length(1),
        Constraint::Length(rows),
        Constraint::Length(MESSAGES),
        Constraint::Length(1),
    ];
    let [head, plot, bar, table, said, foot] = Layout::vertical(lines).areas(frame.area());
    title(frame, head, state);
    let block = Block::bordered().title(format!(" loss per image, {} ", state.about.unit));
    chart::render(frame, plot, block, &chart::curves(state), state.about.epochs);
    progress(frame, bar, state);
    frame.render_widget(Paragraph::new(figures), table);
    messages(frame, said, state);
    let help = match keys {
        Keys::Free => "q or Ctrl-C ends the run, which can be resumed",
        Keys::Ending => "ending; q again gives the terminal back at once",
    };
    frame.render_widget(Line::from(help).dim(), foot);
}

fn title(frame: &mut Frame<'_>, area: Rect, state: &Telemetry) {
    let about = &state.about;
    let left = vec![about.model.bold(), format!(" at {} on {}", about.run, about.devices).into()];
    frame.render_widget(Line::from(left), area);
    let left = state.eta().map_or("unknown".to_owned(), words::time);
    let time = format!(" {}, {left} left", state.phase.name());
    frame.render_widget(Line::from(time).alignment(Alignment::Right), area);
}

fn progress(frame: &mut Frame<'_>, area: Rect, state: &Telemetry) {
    let total = state.about.samples.max(1);
    let label = format!("epoch {}/{}", state.epoch, state.about.epochs);
    let samples = state.samples.min(total);
    let label = format!("{label}  {}/{}", words::count(samples as f64), words::count(total as f64));
    let gauge = LineGauge::default()
        .ratio(samples as f64 / total as f64)
        .label(label)
        .filled_style(Style::new().fg(Color::Blue).add_modifier(Modifier::BOLD))
        .unfilled_style(Style::new().add_modifier(Modifier::DIM));
    frame.render_widget(gauge, area);
}

/// One line for each thing that is known.
fn figures(state: &Telemetry, now: Duration) -> Vec<Line<'static>> {
    let line = |name: &str, text: String| {
        Line::from(vec![Span::from(format!("{name:<12}")).bold(), Span::from(text)])
    };
    let last = state.history.last();
    let loss = state.losses.as_ref().map(ToString::to_string);
    let test = last.map(|record| {
        let accuracy = record.confusion.as_ref().map(|confusion| confusion.scores().accuracy);
        let accuracy = accuracy.map_or(String::new(), |share| format!(", accuracy {share:.4}"));
        let held = record.validation.as_ref();
        let held = held.map_or(String::new(), |losses| format!("validation {losses}, "));
        format!("{held}test {}{accuracy}", record.test)
    });
    let speed = state.rates().map(|rates| {
        format!(
            "{} samples/s, {:.1} steps/s, {:.1} % of the time waiting for data",
            words::count(rates.samples_per_second),
            rates.steps_per_second,
            100.0 * rates.wait_share
        )
    });
    let energy = if state.energy.is_empty() {
        "unavailable".to_owned()
    } else {
        let epoch = last.map(|record| record.timing.energy).filter(|energy| !energy.is_empty());
        let epoch =
            epoch.map_or(String::new(), |energy| format!("; last epoch's training {energy}"));
        format!("{}{epoch}", state.energy)
    };
    let none = || "none yet".to_owned();
    vec![
        line("loss", loss.unwrap_or_else(none)),
        line("judged", test.unwrap_or_else(none)),
        line("speed", speed.unwrap_or_else(none)),
        line("checkpoint", checkpoint(state, now)),
        line("energy", energy),
    ]
}

fn checkpoint(state: &Telemetry, now: Duration) -> String {
    let figures = &state.checkpoints;
    let mut parts = Vec::new();
    match &figures.status.activity {
        Activity::Idle => (),
        Activity::Writing { checkpoint, written, bytes } => {
            let (written, bytes) = (words::bytes(*written), words::bytes(*bytes));
            parts.push(format!("{checkpoint} is being written, {written} of {bytes}"));
        }
        Activity::Failed(error) => parts.push(format!("failed: {error}")),
    }
    if let Some(last) = &figures.last {
        let ago = words::time(now.saturating_sub(last.at).as_secs_f64());
        let size = words::bytes(last.bytes);
        parts.push(format!("{} {ago} ago, {size} in {:.1} s", last.id, last.seconds));
    }
    if figures.stalled_seconds >= 0.05 {
        parts.push(format!("training stood still for {:.1} s", figures.stalled_seconds));
    }
    if parts.is_empty() { "none yet".to_owned() } else { parts.join("; ") }
}

fn messages(frame: &mut Frame<'_>, area: Rect, state: &Telemetry) {
    let shown = usize::from(MESSAGES).min(state.messages.len());
    let lines: Vec<Line<'_>> = state
        .messages
        .range(state.messages.len() - shown..)
        .map(|message| match message.level {
            Level::Note => Line::from(message.text.as_str()).dim(),
            Level::Warning => Line::from(format!("warning: {}", message.text)).yellow(),
        })
        .collect();
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: true }), area);
}
