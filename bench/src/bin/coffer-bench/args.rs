//! What can be said on the command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use coffer_bench::data::Size;
use coffer_bench::load::Mix;
use coffer_bench::parts::Part;
use coffer_bench::s3::{CustomerKey, Http};
use std::path::PathBuf;
use std::time::Duration;

const AFTER_HELP: &str = "\
Examples:
  coffer-bench get --config DIR/client.toml --size 16MiB --server-pid PID
  coffer-bench put --endpoint https://127.0.0.1:9000 --access-key K --secret-key S --ca ca.pem \\
      --size 1KiB..16MiB --rate 200 --duration 60s --json > a.json
  coffer-bench mixed --config DIR/client.toml --repeat 5 --against http://127.0.0.1:9100 \\
      --against-access-key K --against-secret-key S
  coffer-bench compare a.json b.json

Exit codes:
  0    all done
  1    it could not be measured
  2    wrong usage
  3    measured, but some operations failed or never began
  130  interrupted

Credentials not given here are taken from the profile, COFFER_* or AWS_* variables, as by `coffer`.";

/// Put an S3 store under load and measure it.
#[derive(Debug, Parser)]
#[command(name = "coffer-bench", version, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Store new objects
    Put(Common),
    /// Read objects
    Get(Common),
    /// Read pieces of objects
    Range {
        /// Length of the pieces: a size, or a range such as 4KiB..1MiB
        #[arg(long, value_name = "SIZES", default_value = "64KiB")]
        piece: String,
        #[command(flatten)]
        common: Common,
    },
    /// Ask after objects (HEAD)
    Stat(Common),
    /// List pages of names
    List {
        /// Names on a page
        #[arg(long, default_value_t = 1000)]
        page: u32,
        #[command(flatten)]
        common: Common,
    },
    /// Delete objects, each once: as many as --objects
    Delete(Common),
    /// Do all of that at random
    Mixed {
        /// Operations and their weights; get, range and stat go to objects that were there before,
        /// delete to those that put has stored (where there are none yet, it stores one)
        #[arg(long, default_value = "get=45,stat=30,put=15,delete=10")]
        mix: Mix,
        /// Length of the pieces that range reads
        #[arg(long, value_name = "SIZES", default_value = "64KiB")]
        piece: String,
        /// Names on a page
        #[arg(long, default_value_t = 1000)]
        page: u32,
        #[command(flatten)]
        common: Common,
    },
    /// Store new objects in parts
    Multipart {
        /// Size of a part
        #[arg(long, default_value = "8MiB")]
        part: Size,
        /// Parts of an object under way at a time
        #[arg(long, default_value_t = 4)]
        parts_at_once: usize,
        #[command(flatten)]
        common: Common,
    },
    /// Store bursts of objects as training runs do, and measure the time until all is durable
    Checkpoint {
        /// Size of a burst; it consists of objects of --size
        #[arg(long, default_value = "2GiB")]
        burst: Size,
        /// From the beginning of a burst to that of the next
        #[arg(long, value_parser = humantime::parse_duration, default_value = "60s")]
        every: Duration,
        #[command(flatten)]
        common: Common,
    },
    /// Read tar shards as many data loaders do, in another order each epoch; --concurrency readers
    Dataset {
        /// Size of a shard; it holds samples of --size
        #[arg(long, default_value = "64MiB")]
        shard: Size,
        /// Read shards whole, or their samples one by one
        #[arg(long, value_enum, default_value_t = Read::Shards)]
        read: Read,
        #[command(flatten)]
        common: Common,
    },
    /// Compare two reports, or the two targets of one, by the medians of their runs
    Compare {
        /// A report (made with --json)
        a: PathBuf,
        /// Another
        b: Option<PathBuf>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Delete what an interrupted run has left
    Clean {
        #[command(flatten)]
        target: TargetArgs,
        /// What the objects' names begin with
        #[arg(long, default_value = "coffer-bench")]
        prefix: String,
    },
    /// Measure Coffer's own parts, each beside its physical limit, in turns
    Parts {
        /// Which; all, if none is named
        parts: Vec<Part>,
        /// Turns of each part and its limits; the median counts
        #[arg(long, value_name = "N", default_value_t = 7)]
        rounds: usize,
        /// How long a turn is at least; 0s does each work once a turn
        #[arg(long, value_parser = humantime::parse_duration, default_value = "250ms")]
        slice: Duration,
        /// Where to keep, for the time being, what volumes, index, catalog and gateway store: it must
        /// be on the disk that is meant [default: the system's directory for temporary files]
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
        /// Show no progress
        #[arg(long, short)]
        quiet: bool,
    },
    /// Print completions for a shell
    Completions {
        /// Which
        shell: clap_complete::Shell,
    },
}

/// How a dataset is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Read {
    /// By GET of whole shards.
    Shards,
    /// By range reads of single samples, in random order over all shards.
    Samples,
}

#[derive(Debug, Args)]
pub(crate) struct Common {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    #[command(flatten)]
    pub(crate) against: AgainstArgs,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Target")]
pub(crate) struct TargetArgs {
    /// Configuration file, such as the client.toml that a gateway writes
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Profile in the configuration file
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// The store, as https://HOST:PORT, or http://HOST:PORT on this machine
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// Access key id; requests are signed (SigV4, path-style)
    #[arg(long, value_name = "ID", requires = "secret_key")]
    pub(crate) access_key: Option<String>,
    /// Secret access key
    #[arg(long, value_name = "KEY", requires = "access_key")]
    pub(crate) secret_key: Option<String>,
    /// File that holds a Coffer access token, in place of a key
    #[arg(long, value_name = "FILE", conflicts_with = "access_key")]
    pub(crate) token_file: Option<PathBuf>,
    /// PEM file of the only authority to trust
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Trust any certificate: for peers that have made their own
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Version of HTTP: 1.1, 2 or 3; 2 and 3 over https:// only
    #[arg(long, value_name = "VERSION", default_value = "1.1")]
    pub(crate) http: Http,
    /// Region that signatures are scoped to
    #[arg(long)]
    pub(crate) region: Option<String>,
    /// Pools of connections that requests are dealt to; with HTTP/2 and 3, connections
    #[arg(long, default_value_t = 1)]
    pub(crate) connections: usize,
    /// Have signatures cover bodies: by default only over http://
    #[arg(long, value_name = "BOOL")]
    pub(crate) hash_bodies: Option<bool>,
    /// Have the server encrypt objects with this key (SSE-C): 32 bytes in base64
    #[arg(long, value_name = "KEY")]
    pub(crate) sse_customer_key: Option<CustomerKey>,
    /// The bucket, which is made if it is not there
    #[arg(long, default_value = "coffer-bench")]
    pub(crate) bucket: String,
    /// What the target is called in results
    #[arg(long, default_value = "A")]
    pub(crate) name: String,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Costs of the server (on this machine)")]
pub(crate) struct ServerArgs {
    /// A process of the server, whose processor time counts with that of its children; repeatable
    #[arg(long, value_name = "PID")]
    pub(crate) server_pid: Vec<u32>,
    /// A systemd unit of the server, in place of processes; repeatable
    #[arg(long, value_name = "UNIT")]
    pub(crate) server_unit: Vec<String>,
    /// A control group's directory (version 2), likewise; repeatable
    #[arg(long, value_name = "DIR")]
    pub(crate) server_cgroup: Vec<PathBuf>,
    /// A directory with the server's data, whose growth is measured; repeatable
    #[arg(long, value_name = "DIR")]
    pub(crate) server_dir: Vec<PathBuf>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "A second target, measured in turns with the first")]
pub(crate) struct AgainstArgs {
    /// The second store; what is not given for it is as for the first, but for credentials and costs
    #[arg(long, value_name = "URL")]
    pub(crate) against: Option<String>,
    /// Its configuration file
    #[arg(long, value_name = "FILE")]
    pub(crate) against_config: Option<PathBuf>,
    /// Its access key id
    #[arg(long, value_name = "ID", requires = "against_secret_key")]
    pub(crate) against_access_key: Option<String>,
    /// Its secret access key
    #[arg(long, value_name = "KEY", requires = "against_access_key")]
    pub(crate) against_secret_key: Option<String>,
    /// File that holds an access token for it
    #[arg(long, value_name = "FILE")]
    pub(crate) against_token_file: Option<PathBuf>,
    /// The only authority to trust for it
    #[arg(long, value_name = "FILE")]
    pub(crate) against_ca: Option<PathBuf>,
    /// Trust any certificate of it
    #[arg(long)]
    pub(crate) against_insecure: bool,
    /// Its version of HTTP
    #[arg(long, value_name = "VERSION")]
    pub(crate) against_http: Option<Http>,
    /// What it is called in results
    #[arg(long, default_value = "B")]
    pub(crate) against_name: String,
    /// As --server-pid
    #[arg(long, value_name = "PID")]
    pub(crate) against_server_pid: Vec<u32>,
    /// As --server-unit
    #[arg(long, value_name = "UNIT")]
    pub(crate) against_server_unit: Vec<String>,
    /// As --server-cgroup
    #[arg(long, value_name = "DIR")]
    pub(crate) against_server_cgroup: Vec<PathBuf>,
    /// As --server-dir
    #[arg(long, value_name = "DIR")]
    pub(crate) against_server_dir: Vec<PathBuf>,
}

/// How arrivals of an open loop are spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SpacingArg {
    /// At random, as from many independent users.
    Poisson,
    /// Evenly.
    Even,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct LoadArgs {
    /// Operations under way at a time [default: 16; with --rate 256]
    #[arg(long, short = 'c', alias = "readers", value_name = "N")]
    pub(crate) concurrency: Option<usize>,
    /// Begin so many operations per second, whether or not others have ended; latency counts from
    /// when an operation was to begin
    #[arg(long, value_name = "PER_SECOND")]
    pub(crate) rate: Option<f64>,
    /// How these are spaced
    #[arg(long, value_enum, default_value_t = SpacingArg::Poisson)]
    pub(crate) spacing: SpacingArg,
    /// How long each run is, without its warm-up
    #[arg(long, value_parser = humantime::parse_duration, default_value = "30s")]
    pub(crate) duration: Duration,
    /// End each run after so many operations instead
    #[arg(long, value_name = "N")]
    pub(crate) ops: Option<u64>,
    /// What is not counted at the beginning of each run
    #[arg(long, value_parser = humantime::parse_duration, default_value = "3s")]
    pub(crate) warm_up: Duration,
    /// Sizes of objects: 4KiB; 1KiB..16MiB, with all orders of magnitude alike; @FILE with lines of
    /// a weight and one of these [default: 1MiB; checkpoint 64MiB; multipart 64MiB; dataset
    /// 16KiB..256KiB]
    #[arg(long, value_name = "SIZES")]
    pub(crate) size: Option<String>,
    /// Objects that are there before [default: 256; list and delete 5000; dataset 16 shards]
    #[arg(long, value_name = "N")]
    pub(crate) objects: Option<u64>,
    /// Folders that objects are spread over
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) spread: u64,
    /// What sizes, contents, order and arrivals follow from
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Compare every byte that is read with what was stored
    #[arg(long)]
    pub(crate) check: bool,
    /// Try again so often; an operation's latency counts all attempts
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) retries: usize,
    /// Runs on each target; the median counts
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) repeat: usize,
    /// What the names of all objects begin with
    #[arg(long, default_value = "coffer-bench")]
    pub(crate) prefix: String,
    /// Leave the objects that must be there before, for the next call
    #[arg(long)]
    pub(crate) keep: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Print one JSON object, with everything
    #[arg(long)]
    pub(crate) json: bool,
    /// Write latency.png and time.png there
    #[arg(long, value_name = "DIR")]
    pub(crate) plots: Option<PathBuf>,
    /// Show no progress
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
