//! The commands.

pub(crate) mod admin;
mod buckets;
mod cat;
pub(crate) mod checkpoint;
mod cp;
pub(crate) mod dataset;
mod ls;
mod quota;
mod rm;
mod stat;
mod table;
mod tally;
mod token;

use crate::args::{Command, Token};
use crate::exit::Failure;
use crate::session::Session;
use time::OffsetDateTime;
use time::macros::format_description;

/// Runs one command.
pub(crate) async fn run(command: Command, session: &Session<'_>) -> Result<(), Failure> {
    match command {
        // These wind up by themselves when a signal comes, so that uploads are aborted.
        Command::Cp(args) => cp::run(session, args).await,
        Command::Cat { objects, range } => cat::run(session, &objects, range).await,
        Command::Mb { bucket } => session.until_signal(buckets::make(session, &bucket.0)).await,
        Command::Rb { bucket, force } => {
            session.until_signal(buckets::remove(session, &bucket.0, force)).await
        }
        Command::Ls(args) => session.until_signal(ls::run(session, &args)).await,
        Command::Rm(args) => session.until_signal(rm::run(session, &args)).await,
        Command::Stat { addresses } => session.until_signal(stat::run(session, &addresses)).await,
        Command::Token(Token::Create(args)) => {
            session.until_signal(token::create(session, args)).await
        }
        Command::Quota(command) => session.until_signal(quota::run(session, &command)).await,
        Command::Admin(command) => session.until_signal(admin::run(session, command)).await,
        // Served elsewhere.
        Command::Checkpoint(_) | Command::Dataset(_) | Command::Completions { .. } => Ok(()),
    }
}

/// A time in UTC, to the second.
fn timestamp(time: Option<OffsetDateTime>) -> String {
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
    time.and_then(|time| time.to_offset(time::UtcOffset::UTC).format(form).ok())
        .unwrap_or_else(|| "-".to_owned())
}

/// A time for programs.
fn rfc3339(time: Option<OffsetDateTime>) -> Option<String> {
    time?.format(&time::format_description::well_known::Rfc3339).ok()
}

/// An entity tag without the quotes HTTP puts around it.
fn bare_etag(etag: Option<&str>) -> Option<&str> {
    etag.map(|etag| etag.trim_matches('"'))
}
