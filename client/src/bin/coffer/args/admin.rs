//! `coffer admin`: operating the cluster.

use clap::Subcommand;
use coffer_client::Endpoint;

#[derive(Debug, Subcommand)]
pub(crate) enum Admin {
    /// The gateways: those that serve S3 and keep the catalog
    #[command(subcommand)]
    Gateway(Gateway),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Gateway {
    /// List them, with what they do and how far they are
    Ls,
    /// Add one that was made by `coffer-gateway init-gateway` and runs, or say where one has moved
    Add {
        /// Its number
        id: u64,
        /// Where other gateways reach it: HOST:PORT (UDP)
        peer: String,
        /// Where it serves S3: https://HOST:PORT
        #[arg(value_name = "ENDPOINT")]
        s3: Endpoint,
        /// What it is called; gateway-ID if absent
        #[arg(long)]
        name: Option<String>,
    },
    /// Remove one
    Remove {
        /// Its number
        id: u64,
    },
}
