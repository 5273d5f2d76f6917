//! `coffer admin`: operating the cluster.

use clap::{Args, Subcommand};
use coffer_client::Endpoint;
use std::ffi::OsString;
use std::str::FromStr;
use std::time::Duration;

const HEALTH_HELP: &str = "\
Exits with 8 when something needs an operator. The gateway that answers tells what it sees itself;
only the one that leads knows of the journal.";

/// A pause of at least a second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seconds(pub(crate) Duration);

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(seconds @ 1..=86_400) => Ok(Self(Duration::from_secs(seconds))),
            _ => Err("it must be a number of seconds from 1 to 86400".to_owned()),
        }
    }
}

const FSCK_HELP: &str = "\
How a part of an object is, by the worst of its chunks:
  whole        all its shards are sound
  degraded     some are not, and it would survive the loss of more
  at risk      it can be read, and one more loss would end that
  unavailable  it can't be read until nodes that can't be asked now come back
  lost         too few shards are left

Exit codes, beside the common ones:
  0  all is whole
  6  something is degraded or at risk, all can be read
  7  something is unavailable or lost";

#[derive(Debug, Subcommand)]
pub(crate) enum Admin {
    /// The gateways: those that serve S3 and keep the catalog
    #[command(subcommand)]
    Gateway(Gateway),
    /// The storage nodes: those that hold the shards
    #[command(subcommand)]
    Node(Node),
    /// Show how well nodes, disks, gateways and redundancy are, and what to do
    #[command(after_help = HEALTH_HELP)]
    Health {
        /// Show it again every so many seconds, until interrupted
        #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "5")]
        watch: Option<Seconds>,
    },
    /// Show what has happened: changes of health, space, leadership and redundancy
    Events {
        /// Only those after the one of this number
        #[arg(long, value_name = "ID", default_value_t = 0)]
        since: u64,
        /// Go on with what happens, until interrupted
        #[arg(long)]
        follow: bool,
    },
    /// Show how far repair is: what waits, the pass over all blobs, and what was done
    Repair,
    /// With all catalogs lost, make one anew from the storage nodes and the master key
    ///
    /// No gateway can be asked for that. It has to be done on the machine of one, while none runs:
    /// this runs `coffer-gateway rebuild-catalog`, which is looked for beside `coffer` and in PATH.
    RebuildCatalog {
        /// What `coffer-gateway rebuild-catalog` is to be given, such as --data DIR; --help shows it
        #[arg(
            value_name = "ARGS",
            required = true,
            trailing_var_arg = true,
            allow_hyphen_values = true
        )]
        args: Vec<OsString>,
    },
    /// Compare the catalog with what the storage nodes hold, both ways
    #[command(after_help = FSCK_HELP)]
    Fsck {
        /// Only the objects and uploads of this bucket; what no object needs is not looked for
        #[arg(long, value_name = "NAME")]
        bucket: Option<String>,
        /// Tell repair of what is lost or damaged. Nothing is changed without it
        #[arg(long)]
        repair: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Node {
    /// List them, with how they are and what they hold
    Ls,
    /// Add one that was made by `coffer-gateway new-node` and runs
    Add {
        #[command(flatten)]
        node: NewNodeArgs,
    },
    /// Change its failure domain or its share of the data
    Set {
        /// Its name or its id
        name: String,
        /// Its failure domain: ZONE/RACK/HOST, or fewer names
        #[arg(long)]
        domain: Option<String>,
        /// Its share of the data, relative to the other nodes
        #[arg(long)]
        weight: Option<f64>,
    },
    /// Have it give its shards to other nodes
    Drain {
        /// Its name or its id
        name: String,
    },
    /// Have it keep its shards after all
    Undrain {
        /// Its name or its id
        name: String,
    },
    /// Give one up that is lost, and add another in its place
    Replace {
        /// The name or the id of the one that is lost
        name: String,
        #[command(flatten)]
        node: NewNodeArgs,
    },
    /// Give one up. What it holds is rebuilt from other nodes
    Remove {
        /// Its name or its id
        name: String,
        /// Even if it was not drained
        #[arg(long)]
        force: bool,
    },
}

/// A storage node that is to be added.
#[derive(Debug, Args)]
pub(crate) struct NewNodeArgs {
    /// The node_id in its node.toml
    pub(crate) id: String,
    /// Where its shard service listens: HOST:PORT
    pub(crate) address: String,
    /// What it is to be called
    #[arg(long = "name", id = "new-name", value_name = "NAME")]
    pub(crate) node_name: String,
    /// Its failure domain: ZONE/RACK/HOST, or fewer names
    #[arg(long, default_value = "")]
    pub(crate) domain: String,
    /// Its share of the data, relative to the other nodes
    #[arg(long, default_value_t = 1.0)]
    pub(crate) weight: f64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Gateway {
    /// List them, with what they do and how far they are
    Ls,
    /// Add one that was made by `coffer-gateway init-gateway` and runs, or say where one has moved
    Add {
        /// Its number
        id: u64,
        /// Where other gateways reach it: HOST:PORT (TCP)
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
