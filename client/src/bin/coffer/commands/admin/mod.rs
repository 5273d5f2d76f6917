//! `admin`.

mod events;
mod fsck;
mod gateway;
mod health;
mod node;
pub(crate) mod rebuild;
mod repair;

use crate::args::Admin;
use crate::exit::Failure;
use crate::session::Session;

pub(crate) async fn run(session: &Session<'_>, command: Admin) -> Result<(), Failure> {
    match command {
        Admin::Gateway(command) => gateway::run(session, command).await,
        Admin::Node(command) => node::run(session, command).await,
        Admin::Fsck { bucket, repair } => fsck::run(session, bucket, repair).await,
        Admin::Health { watch } => health::run(session, watch).await,
        Admin::Events { since, follow } => events::run(session, since, follow).await,
        Admin::Repair => repair::run(session).await,
        // Served before there is a session: it asks no gateway.
        Admin::RebuildCatalog { .. } => Ok(()),
    }
}

/// Columns side by side, each as wide as it must be.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
