//! `coffer-gateway`: S3 before a Coffer cluster, or a whole cluster in one process.

use anyhow::{Context, ensure};
use clap::{Parser, Subcommand};
use coffer_gateway::run::{Embedded, EmbeddedOptions, Gateway};
use coffer_gateway::setup::config::GatewayConfig;
use coffer_gateway::setup::init;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Serve S3 over HTTPS and HTTP/3 before a cluster of Coffer storage nodes.
///
/// Exit codes: 0 stopped as asked, 1 an error, 2 wrong usage.
#[derive(Debug, Parser)]
#[command(version, name = "coffer-gateway")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a gateway and storage nodes in one process; makes all that is needed on the first start.
    Dev {
        /// The directory for everything.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Where to serve: one port number for TCP and UDP.
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
        listen: SocketAddr,
        /// How many storage nodes to make on the first start.
        #[arg(long, default_value_t = 6)]
        nodes: usize,
        /// Print one line of JSON when serving, instead of help.
        #[arg(long)]
        json: bool,
    },
    /// Make the directories of a cluster of processes: DIR/gateway, DIR/node-1, DIR/node-2, …
    Init {
        /// Where to make them.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Where the gateway will serve.
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
        listen: SocketAddr,
        /// Host names and addresses that the gateway's certificate is for, beside this machine's.
        #[arg(long = "host", value_name = "NAME")]
        hosts: Vec<String>,
        /// How many storage nodes, on this machine, on ports from --base-port on.
        #[arg(long, default_value_t = 6, conflicts_with = "node_addresses")]
        nodes: u16,
        /// The first storage node's port.
        #[arg(long, default_value_t = 9100)]
        base_port: u16,
        /// Where a storage node will listen; once for each node.
        #[arg(long = "node-address", value_name = "ADDR")]
        node_addresses: Vec<SocketAddr>,
    },
    /// Run a gateway whose storage nodes are other processes.
    Serve {
        /// The gateway's directory, as made by `init`.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Serve here instead of where gateway.toml says.
        #[arg(long, value_name = "ADDR")]
        listen: Option<SocketAddr>,
        /// Print one line of JSON when serving, instead of help.
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    // s3s logs expected signatures at debug and every 404 as an error: it is kept silent.
    let filter = std::env::var("COFFER_LOG").unwrap_or_else(|_| "info,coffer::access=warn".into());
    let filter = tracing_subscriber::EnvFilter::new(format!("{filter},s3s=off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(args.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("coffer-gateway: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Init { data, listen, hosts, nodes, base_port, node_addresses } => {
            let addresses = if node_addresses.is_empty() {
                ensure!(nodes > 0, "--nodes must be at least 1");
                let last = base_port.checked_add(nodes - 1);
                let last = last.context("--base-port and --nodes reach beyond port 65535")?;
                (base_port..=last).map(|p| SocketAddr::from(([127, 0, 0, 1], p))).collect()
            } else {
                node_addresses
            };
            let config = GatewayConfig { hosts, ..GatewayConfig::new(listen) };
            init::init_cluster(&data, &config, &addresses)?;
            print_init(&data, addresses.len());
            Ok(())
        }
        Command::Dev { data, listen, nodes, json } => block_on(async {
            let cluster = Embedded::start(&data, EmbeddedOptions { listen, nodes }).await?;
            print_serving(&cluster, json)?;
            stop_signal().await?;
            cluster.stop().await;
            Ok(())
        }),
        Command::Serve { data, listen, json } => block_on(async {
            let gateway = Gateway::serve(&data, listen).await?;
            print_serving(&gateway, json)?;
            stop_signal().await?;
            gateway.stop().await;
            Ok(())
        }),
    }
}

fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

async fn stop_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        outcome = tokio::signal::ctrl_c() => outcome,
    }
}

fn print_init(data: &Path, nodes: usize) {
    let data = data.display();
    println!("made {data}/gateway and {nodes} node directories. Start each of them:");
    println!("  coffer-node --data {data}/node-1        (and so on)");
    println!("  coffer-gateway serve --data {data}/gateway");
    println!("Back up {data}/gateway/master.key: without it everything stored is lost.");
}

fn print_serving(gateway: &Gateway, json: bool) -> anyhow::Result<()> {
    let (endpoint, ca) = (gateway.endpoint(), gateway.ca_file());
    let profile = gateway.client_profile();
    if json {
        let line = serde_json::json!({
            "endpoint": endpoint,
            "ca_file": ca,
            "client_config": profile,
            "access_key": gateway.root_key().access_key,
        });
        println!("{line}");
        return Ok(());
    }
    let master = gateway.master_key_file();
    let (profile, ca, master) = (profile.display(), ca.display(), master.display());
    println!("serving S3 on {endpoint} (HTTP/1.1, HTTP/2, HTTP/3)");
    println!();
    println!("with coffer:   coffer --config {profile} mb s3://demo");
    println!("               coffer --config {profile} cp FILE s3://demo/");
    println!("with aws-cli:  export AWS_CA_BUNDLE={ca}");
    println!("               export AWS_ACCESS_KEY_ID={}", gateway.root_key().access_key);
    println!("               export AWS_SECRET_ACCESS_KEY=(secret_key in {profile})");
    println!("               aws --endpoint-url {endpoint} s3 ls");
    println!("with boto3:    the same three, and boto3.client('s3', endpoint_url='{endpoint}')");
    println!();
    println!("back up {master}: without it everything stored is lost");
    println!("stop with Ctrl-C");
    Ok(())
}
