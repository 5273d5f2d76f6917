//! `admin`.

mod gateway;

use crate::args::Admin;
use crate::exit::Failure;
use crate::session::Session;

pub(crate) async fn run(session: &Session<'_>, command: Admin) -> Result<(), Failure> {
    match command {
        Admin::Gateway(command) => gateway::run(session, command).await,
    }
}
