//! What was measured, as a table and as JSON.

use crate::measure::Machine;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The form of the JSON object; another number is another form.
pub const FORMAT: &str = "coffer-bench-parts/1";

/// Parts beside their limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: String,
    /// The version of this program.
    pub version: String,
    /// What it ran on.
    pub machine: Machine,
    /// Turns of each work; figures are medians over them.
    pub rounds: usize,
    /// How long a turn was at least, in seconds.
    pub slice_s: f64,
    /// The parts, each beside a limit.
    pub lines: Vec<Line>,
}

/// A part beside one of its limits. All rates: more is better.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The part, and what it is given to do.
    pub part: String,
    /// What is counted.
    pub unit: Unit,
    /// Per second of what.
    pub clock: Clock,
    /// The median of the part's rates, in units per second.
    pub figure: f64,
    /// What it is compared with.
    pub limit: String,
    /// The median of the limit's rates, likewise.
    pub limit_figure: f64,
    /// The median of the rounds' ratios: the part's rate by the limit's.
    pub ratio: f64,
    /// The least ratio of a round.
    pub least_ratio: f64,
    /// The greatest.
    pub greatest_ratio: f64,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Mebibytes.
    #[serde(rename = "MiB")]
    Bytes,
    /// Operations.
    #[serde(rename = "op")]
    Operations,
}

/// Per second of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clock {
    /// Time as it passes: for what waits for a disk or for others.
    Wall,
    /// Processor time of the thread that does it: for what only computes.
    Own,
    /// Processor time of all threads but the client's: what it costs the server.
    Server,
}

impl Unit {
    /// How many of what is counted while measuring are one of these.
    pub(super) fn size(self) -> f64 {
        match self {
            Self::Bytes => f64::from(1 << 20),
            Self::Operations => 1.0,
        }
    }
}

impl Line {
    fn per(&self) -> String {
        let unit = match self.unit {
            Unit::Bytes => "MiB",
            Unit::Operations => "op",
        };
        let clock = match self.clock {
            Clock::Wall => "s",
            Clock::Own => "CPU-s",
            Clock::Server => "server CPU-s",
        };
        format!("{unit}/{clock}")
    }
}

/// At most five digits, three of them with a meaning.
fn number(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["part", "", "per", "beside", "", "ratio", "of all rounds"].map(str::to_owned);
        let row = |line: &Line| {
            [
                line.part.clone(),
                number(line.figure),
                line.per(),
                line.limit.clone(),
                number(line.limit_figure),
                number(line.ratio),
                format!("{} to {}", number(line.least_ratio), number(line.greatest_ratio)),
            ]
        };
        let rows: Vec<[String; 7]> =
            std::iter::once(head).chain(self.lines.iter().map(row)).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
        let widths: [usize; 7] = std::array::from_fn(|column| width(column).unwrap_or(0));
        for row in &rows {
            for (column, (text, width)) in row.iter().zip(widths).enumerate() {
                match column {
                    1 | 4 | 5 => write!(f, "{text:>width$}  ")?,
                    6 => writeln!(f, "{text}")?,
                    _ => write!(f, "{text:<width$}  ")?,
                }
            }
        }
        writeln!(f, "medians of {} rounds in turns", self.rounds)
    }
}
