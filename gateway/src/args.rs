//! What can be said on the command line.

use anyhow::Context;
use clap::{Parser, Subcommand};
use coffer_gateway::journal::command::NodeAddress;
use coffer_gateway::setup::gateways::GatewayAddress;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Serve S3 over HTTPS and HTTP/3 before a cluster of Coffer storage nodes.
///
/// Exit codes: 0 stopped as asked, 1 an error, 2 wrong usage.
#[derive(Debug, Parser)]
#[command(version, name = "coffer-gateway")]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
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
    /// Make the directories of a cluster of processes: DIR/gateway (of several: DIR/gateway-1,
    /// DIR/gateway-2, …), DIR/node-1, DIR/node-2, …
    Init {
        /// Where to make them.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Where the gateway will serve.
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
        listen: SocketAddr,
        /// How many gateways: 1, 3 or 5. Several are on this machine, on ports from --listen's on.
        #[arg(long, default_value_t = 1, conflicts_with = "gateway_addresses")]
        gateways: u16,
        /// The first of several gateways' TCP port for the other gateways.
        #[arg(long, default_value_t = 9200)]
        peer_port: u16,
        /// Where a gateway of several will serve S3 and, after a comma, the other gateways (TCP);
        /// once for each gateway.
        #[arg(long = "gateway-address", value_name = "ADDR,ADDR")]
        gateway_addresses: Vec<GatewayAddress>,
        /// Host names and addresses that the gateways' certificates are for, beside this machine's.
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
    /// Make the directory of one more gateway for a cluster that serves already, with the secrets
    /// of one that is there.
    InitGateway {
        /// The directory of a gateway of the cluster.
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
        /// The directory to make.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Its number, which no gateway of the cluster has or had.
        #[arg(long)]
        id: u64,
        /// Where it will serve S3 and, after a comma, the other gateways (TCP).
        #[arg(long = "gateway-address", value_name = "ADDR,ADDR")]
        address: GatewayAddress,
        /// Host names and addresses that its certificate is for, beside this machine's.
        #[arg(long = "host", value_name = "NAME")]
        hosts: Vec<String>,
    },
    /// Make the directory of one more storage node for a cluster that serves already.
    NewNode {
        /// The directory of a gateway that has ca.key.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// The directory to make; the node is called as it is.
        #[arg(long, value_name = "DIR")]
        node_dir: PathBuf,
        /// Where the node will listen.
        #[arg(long, value_name = "ADDR")]
        address: SocketAddr,
    },
    /// Make the lost catalog of a gateway anew, from the journal on the storage nodes and the master
    /// key. Only when no gateway of the cluster has its catalog any more: otherwise start it with an
    /// empty one, and the others send it theirs.
    RebuildCatalog {
        /// The gateway's directory, with its keys. No gateway may be running.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// If there is a catalog, move it aside.
        #[arg(long)]
        replace: bool,
        /// Leave out what can't be found, instead of refusing.
        #[arg(long)]
        accept_loss: bool,
        /// A storage node that cluster.json does not list, or that has moved; once for each.
        #[arg(long = "node-address", value_name = "ID=ADDR")]
        node_addresses: Vec<NodeAddress>,
        /// Print one line of JSON.
        #[arg(long)]
        json: bool,
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

/// Addresses on this machine, with ports from `first` on.
pub(crate) fn on_this_machine(first: u16, count: u16) -> anyhow::Result<Vec<SocketAddr>> {
    from_port(IpAddr::V4(Ipv4Addr::LOCALHOST), first, count)
}

/// Where `count` gateways on one machine serve: S3 from `listen` on, each other from `peer_port` on.
pub(crate) fn gateways_on_one_machine(
    listen: SocketAddr,
    peer_port: u16,
    count: u16,
) -> anyhow::Result<Vec<GatewayAddress>> {
    let listen = from_port(listen.ip(), listen.port(), count)?;
    let peers = on_this_machine(peer_port, count)?;
    Ok(listen
        .into_iter()
        .zip(peers)
        .map(|(listen, peer)| GatewayAddress { listen, peer })
        .collect())
}

fn from_port(ip: IpAddr, first: u16, count: u16) -> anyhow::Result<Vec<SocketAddr>> {
    let last = first.checked_add(count.saturating_sub(1));
    let last = last.with_context(|| format!("{count} ports from {first} reach beyond 65535"))?;
    Ok((first..=last).map(|port| SocketAddr::from((ip, port))).collect())
}
