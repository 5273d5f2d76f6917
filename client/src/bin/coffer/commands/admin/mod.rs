//! `admin`.

mod events;
mod fsck;
mod gateway;
mod health;
mod node;
pub(crate) mod rebuild;
mod repair;

use super::table::table;
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
