//! `coffer-node`: a storage node as a process.

use anyhow::Context;
use clap::{Parser, Subcommand};
use coffer_node::config::{NodeConfig, NodeDir};
use coffer_node::disk::DirDisk;
use coffer_node::rpc::MutualTls;
use coffer_node::service::serve;
use coffer_node::{NodeEngine, engine};
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Keep sealed, erasure-coded shards for a Coffer cluster.
///
/// The directory is made by `coffer-gateway init`. Exit codes: 0 stopped as asked, 1 an error, and
/// for `check` something is damaged, 2 wrong usage.
#[derive(Debug, Parser)]
#[command(version, name = "coffer-node")]
struct Args {
    /// The node's directory.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Listen here instead of where node.toml says.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Verify every byte that is stored, while the node is stopped; prints what is found as JSON.
    Check,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("COFFER_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match run(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("coffer-node: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let dir = NodeDir::new(&args.data);
    let config = NodeConfig::load(&dir)?;
    let node = config.id(&dir)?;
    if let Some(Command::Check) = args.command {
        let disk = DirDisk::open(&dir.volumes(), &dir.lock()).with_context(|| {
            format!("{} can't be opened; is the node running?", args.data.display())
        })?;
        let report = engine::check(node, &disk)?;
        println!("{}", serde_json::to_string(&report)?);
        return Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let tls = MutualTls::load(&args.data, "node")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let engine = Arc::new(NodeEngine::open(&args.data, node, config.options())?);
        let listen = args.listen.unwrap_or(config.listen);
        let service =
            serve(engine.clone(), &tls, listen).with_context(|| format!("can't listen on {listen}"))?;
        tracing::info!(%node, listen = %service.local_addr(), data = %args.data.display(), "storage node is serving");
        stop_signal().await?;
        tracing::info!("stopping");
        service.stop().await;
        drop(engine);
        Ok(ExitCode::SUCCESS)
    })
}

async fn stop_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        outcome = tokio::signal::ctrl_c() => outcome,
    }
}
