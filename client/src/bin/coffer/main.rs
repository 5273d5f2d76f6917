//! `coffer`: the command line of the Coffer object store.

mod args;
mod bars;
mod commands;
mod exit;
mod output;
mod session;

use args::{Admin, Cli, Command};
use clap::{CommandFactory, Parser};
use coffer_client::RetryPolicy;
use exit::Failure;
use output::Output;
use session::{Places, Session};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(cli.global.verbose);
    let output = Output::new(&cli.global);
    let result = match cli.command {
        Command::Completions { shell } => completions(shell),
        Command::Admin(Admin::RebuildCatalog { args }) => {
            commands::admin::rebuild::run(&args, &output)
        }
        command => serve(command, &cli.global, &output),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            failure.exit_code()
        }
    }
}

fn serve(command: Command, global: &args::Global, output: &Output) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| coffer_client::Error::Stream { action: "start", source })?;
    // A transfer should outlive the restart of a gateway; a question should not keep one waiting.
    let retry = match command {
        Command::Cp(_) | Command::Cat { .. } => RetryPolicy::default(),
        Command::Checkpoint(ref command) if command.is_long() => RetryPolicy::default(),
        Command::Dataset(ref command) if command.is_long() => RetryPolicy::default(),
        _ => RetryPolicy::brief(),
    };
    let result = runtime.block_on(async {
        let command = match command {
            Command::Checkpoint(command) => {
                let run =
                    async |session: &Places<'_>| commands::checkpoint::run(session, command).await;
                return on_places(global, output, retry, run).await;
            }
            Command::Dataset(command) => {
                let run =
                    async |session: &Places<'_>| commands::dataset::run(session, command).await;
                return on_places(global, output, retry, run).await;
            }
            other => other,
        };
        let session = Session::start(global, output, retry)?;
        let result = commands::run(command, &session).await;
        session.client.close().await;
        // Whatever a signal cut short, it is the signal that ended the program.
        session.interrupted().map_or(result, Err)
    });
    // A thread that waits for standard input can't be stopped, only left behind.
    runtime.shutdown_timeout(Duration::from_millis(50));
    result
}

/// Serves a command on places, which may be local directories.
async fn on_places(
    global: &args::Global,
    output: &Output,
    retry: RetryPolicy,
    run: impl AsyncFnOnce(&Places<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let session = Session::for_places(global, output, retry)?;
    let result = run(&session).await;
    session.client.close().await;
    session.interrupted().map_or(result, Err)
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "coffer", &mut script);
    output::write_stdout(&script)
}

/// Warnings go to standard error; `COFFER_LOG` or `--verbose` shows more.
fn start_log(verbose: bool) {
    let default = if verbose { "coffer_client=debug,object_store=debug" } else { "warn" };
    let filter = tracing_subscriber::EnvFilter::try_from_env("COFFER_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(verbose)
        .without_time()
        .init();
}
