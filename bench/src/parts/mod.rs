//! Coffer's parts, each beside its physical limit in the same run.
//!
//! A part and its limits are done in turns ([`turns`](self::turns)), so that a busy machine slows
//! all of them down alike; what counts is their ratio. What only computes is measured by processor
//! time ([`clock`](self::clock)). Each part's work is checked once before it is measured: what was
//! sealed opens again, what was stored is read back.
//!
//! | module | parts |
//! |---|---|
//! | `data_path` | what a chunk goes through: sealing, coding, hashing, all of it |
//! | `decisions` | placement, manifests, tokens |
//! | `disk` | a node's volumes and index, the catalog's log |
//! | `network` | the shard service and HTTP/3, beside bare streams (`tls`, `stream`) |

mod clock;
mod data_path;
mod decisions;
mod disk;
mod network;
mod report;
mod stream;
mod tls;
mod turns;

pub use report::{Clock, FORMAT, Line, Report, Unit};
pub use turns::Effort;

use crate::measure::Machine;
use anyhow::Context;
use clap::ValueEnum;
use std::fmt;
use std::path::Path;

/// A part that can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Sealing, coding and hashing of a chunk, and all of it beside the harmonic limit
    Pipeline,
    /// Sealing and opening of a chunk
    Seal,
    /// Erasure coding: parity, and lost shards rebuilt
    Erasure,
    /// BLAKE3 of a chunk's blocks
    Hash,
    /// The choice of nodes for a chunk
    Placement,
    /// Manifests: encoded and sealed, opened and decoded
    Manifest,
    /// Access tokens: verified, known from before, and their checks for a request
    Token,
    /// A node's index
    Index,
    /// A node's volumes: appending with group commit
    Volume,
    /// The catalog: groups of objects committed
    Catalog,
    /// The shard service, and TLS over TCP beside QUIC
    Shards,
    /// GET and PUT over HTTP/3
    Http3,
}

impl Part {
    fn measure(self, effort: Effort, dir: &Path) -> anyhow::Result<Vec<Line>> {
        match self {
            Self::Pipeline => data_path::pipeline(effort),
            Self::Seal => data_path::seal(effort),
            Self::Erasure => data_path::erasure(effort),
            Self::Hash => data_path::hash(effort),
            Self::Placement => decisions::placement(effort),
            Self::Manifest => decisions::manifest(effort),
            Self::Token => decisions::token(effort),
            Self::Index => disk::index(effort, dir),
            Self::Volume => disk::volume(effort, dir),
            Self::Catalog => disk::catalog(effort, dir),
            Self::Shards => network::shards(effort, dir),
            Self::Http3 => network::http3(effort, dir),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().as_ref().map_or("", |value| value.get_name()))
    }
}

/// Measures `parts`, or all if none is named. What they store goes to a new directory in `dir`, or
/// where the system keeps such, and is deleted afterwards. `tell` is told what is measured now.
///
/// # Errors
/// If a part does not work.
pub fn measure(
    parts: &[Part],
    effort: Effort,
    dir: Option<&Path>,
    tell: impl Fn(Part),
) -> anyhow::Result<Report> {
    let parts = if parts.is_empty() { Part::value_variants() } else { parts };
    let machine = Machine::here();
    let mut lines = Vec::new();
    for part in parts {
        tell(*part);
        let scratch = dir.map_or_else(tempfile::tempdir, tempfile::tempdir_in);
        let scratch = scratch.context("no directory can be made for what the parts store")?;
        lines.extend(part.measure(effort, scratch.path())?);
    }
    Ok(Report {
        format: FORMAT.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        machine,
        rounds: effort.rounds.max(1),
        slice_s: effort.slice.as_secs_f64(),
        lines,
    })
}
