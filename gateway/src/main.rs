//! `coffer-gateway`: S3 before a Coffer cluster, or a whole cluster in one process.

mod args;

use anyhow::{bail, ensure};
use args::{Args, Command};
use clap::Parser;
use coffer_gateway::catalog::raft::types::GatewayId;
use coffer_gateway::journal::command::RebuildCommand;
use coffer_gateway::journal::replay::Progress;
use coffer_gateway::run::{Embedded, EmbeddedOptions, Gateway};
use coffer_gateway::setup::config::GatewayConfig;
use coffer_gateway::setup::gateways::{self, GatewayAddress};
use coffer_gateway::setup::init;
use std::path::Path;
use std::process::ExitCode;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let args = Args::parse();
    // s3s logs expected signatures at debug and every 404 as an error, openraft every message that
    // a peer does not answer: they are kept silent. What matters of them is logged where it is used.
    let filter = std::env::var("COFFER_LOG").unwrap_or_else(|_| "info,coffer::access=warn".into());
    let filter = tracing_subscriber::EnvFilter::new(format!("{filter},s3s=off,openraft=off"));
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
        Command::Init {
            data,
            listen,
            gateways,
            peer_port,
            gateway_addresses,
            hosts,
            nodes,
            base_port,
            node_addresses,
        } => {
            let nodes = if node_addresses.is_empty() {
                ensure!(nodes > 0, "--nodes must be at least 1");
                args::on_this_machine(base_port, nodes)?
            } else {
                node_addresses
            };
            ensure!(gateways > 0, "--gateways must be at least 1");
            let several = if gateways > 1 {
                args::gateways_on_one_machine(listen, peer_port, gateways)?
            } else {
                gateway_addresses
            };
            ensure!(
                several.len() != 1,
                "--gateway-address is for several gateways: give it for each"
            );
            let config = GatewayConfig { hosts, ..GatewayConfig::new(listen) };
            let made = init::init_cluster(&data, &config, &several, &nodes)?;
            print_init(&data, made.len(), nodes.len());
            Ok(())
        }
        Command::InitGateway { from, data, id, address, hosts } => {
            gateways::init_later(&from, &data, GatewayId(id), address, hosts)?;
            print_init_gateway(&data, id, address)
        }
        Command::NewNode { data, node_dir, address } => {
            let node = init::new_node(&data, &node_dir, address)?;
            println!("made {}. Start it, and then add it to the cluster:", node_dir.display());
            println!("  coffer-node --data {}", node_dir.display());
            println!("  coffer admin node add {} {address} --name {}", node.id, node.name);
            Ok(())
        }
        Command::Dev { data, listen, nodes, json } => block_on(async {
            let cluster = Embedded::start(&data, EmbeddedOptions { listen, nodes }).await?;
            print_serving(&cluster, json)?;
            stop_signal().await?;
            cluster.stop().await;
            Ok(())
        }),
        Command::RebuildCatalog { data, replace, accept_loss, node_addresses, json } => {
            let command = RebuildCommand { data, replace, accept_loss, nodes: node_addresses };
            rebuild_catalog(&command, json)
        }
        Command::Serve { data, listen, json } => block_on(async {
            let gateway = Gateway::serve(&data, listen).await?;
            print_serving(&gateway, json)?;
            // A full disk that has room again, say: only a new start can go on from there.
            tokio::select! {
                stopped = stop_signal() => stopped?,
                why = gateway.failed() => bail!("this gateway ends, to be started anew: {why}"),
            }
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

fn print_init(data: &Path, gateways: usize, nodes: usize) {
    let data = data.display();
    let (first, note) = match gateways {
        1 => ("gateway", ""),
        _ => ("gateway-1", " (and so on)"),
    };
    println!("made {gateways} gateway and {nodes} node directories under {data}. Start each:");
    println!("  coffer-node --data {data}/node-1        (and so on)");
    println!("  coffer-gateway serve --data {data}/{first}{note}");
    println!("Back up {data}/{first}/master.key: without it everything stored is lost.");
}

fn print_init_gateway(data: &Path, id: u64, address: GatewayAddress) -> anyhow::Result<()> {
    let config = GatewayConfig::load(&data.join("gateway.toml"))?;
    let (endpoint, peer) = (config.endpoint_at(address.listen), address.peer);
    println!("made {}. Start it, and then add it to the cluster:", data.display());
    println!("  coffer-gateway serve --data {}", data.display());
    println!("  coffer admin gateway add {id} {peer} {endpoint}");
    Ok(())
}

fn rebuild_catalog(command: &RebuildCommand, json: bool) -> anyhow::Result<()> {
    let told = std::sync::Mutex::new(Instant::now());
    let tell = |progress: Progress| {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() >= Duration::from_secs(1) {
            *told = Instant::now();
            let (groups, mib) = (progress.groups, progress.bytes >> 20);
            eprintln!("read {mib} MiB of the journal, applied {groups} groups of commands");
        }
    };
    let report = command.run(&tell)?;
    if json {
        println!("{}", serde_json::to_string(&report)?);
        return Ok(());
    }
    match report.snapshot {
        Some(index) => println!("snapshot: as of entry {index}"),
        None => println!("snapshot: none, from the first entry on"),
    }
    println!("groups:   {} after it, the last is entry {}", report.groups, report.last);
    println!(
        "rebuilt:  {} buckets, {} object versions, {} bytes",
        report.buckets, report.versions, report.bytes
    );
    if let Some(gap) = &report.gap {
        println!("LOST:     {gap}");
    }
    for node in &report.away {
        println!("away:     {node}");
    }
    for node in &report.not_asked {
        println!("not asked: {node} (give --node-address if objects are missing)");
    }
    if let Some(why) = &report.not_renewed {
        println!("note:     the journal begins anew when the gateway is started ({why})");
    }
    println!(
        "Start this gateway. Others follow with empty catalogs, or by: coffer admin gateway add"
    );
    Ok(())
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
