//! The `coffer-train` program.

mod args;
mod chosen;
mod defaults;
mod exit;
mod grid;
mod live;
mod log;
mod observe;
mod pack;
mod progress;
mod revision;
mod serve;
mod signals;
mod train;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use coffer_client::place::Opener;
use coffer_client::{InFull, ProfileOptions};
use tokio::runtime::Runtime;

use args::{Cli, Command, Global};
use progress::Output;

/// What every command needs.
struct Session {
    runtime: Runtime,
    opener: Opener,
    output: Output,
}

impl Session {
    fn start(global: &Global) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("can't start the runtime")?;
        let opener = Opener::new(ProfileOptions {
            config: global.config.clone(),
            profile: global.profile.clone(),
            endpoint: global.endpoint.clone(),
        });
        let output = Output::new(global.json, global.quiet);
        log::start(&output);
        Ok(Self { runtime, opener, output })
    }
}

/// Runs the program on the process's arguments.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = Session::start(&cli.global).and_then(|session| {
        let outcome = match &cli.command {
            Command::Pack(args) => pack::run(&session, args),
            Command::Vae(args) => train::vae(&session, args),
            Command::Classifier(args) => train::classifier(&session, args),
            Command::Gan(args) => train::gan(&session, args),
            Command::Linear(args) => train::linear(&session, args),
            Command::Grid(args) => grid::run(&session, args),
            Command::Serve(args) => serve::run(&session, args),
        };
        session.runtime.block_on(session.opener.close());
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("coffer-train: {}", InFull(error.as_ref()));
            exit::code(&error)
        }
    }
}
